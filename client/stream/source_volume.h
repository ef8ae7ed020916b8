// What is sent: a snapshot, or its difference to an older one, as the sender asks for it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/stream/format.h"

namespace h2bd::stream {

// A disk of the snapshot that is new or differs from the base, or one that only the base has.
struct SourceDisk {
  enum class Kind { kNew, kOfBase, kRemoved };
  Kind kind = Kind::kNew;
  std::string path;       // in the snapshot; empty when removed
  std::string base_path;  // in the base; empty when new
  uint64_t size_bytes = 0;
  DiskSettings settings;
};

// Starts at a multiple of kBlockBytes and ends at one, or at the end of the disk.
struct ChangedRange {
  uint64_t offset = 0;
  uint64_t length = 0;  // not 0
  bool is_hole = false;
};

// Both snapshots stay as they are. Used by one thread at a time. Errors end the sending, which can
// go on later.
class SourceVolume {
 public:
  virtual ~SourceVolume() = default;

  // All but the stream's uuid.
  virtual absl::StatusOr<Identity> Identify() = 0;
  // In the same order whenever the same snapshots are asked for: tokens name disks by their place.
  virtual absl::StatusOr<std::vector<SourceDisk>> Disks() = 0;
  // Some of the ranges of `disk` (not a removed one) that differ from the base, ascending, from
  // the first one that lies at `offset` or above on; empty: no more. Of a new disk all that is
  // not zeros. More than what differs is allowed.
  virtual absl::StatusOr<std::vector<ChangedRange>> Changes(const SourceDisk& disk,
                                                            uint64_t offset) = 0;
  // Gives all of [offset, offset + length) in ascending pieces, each but the last a multiple of
  // kBlockBytes. An error of `visit` ends it and is returned.
  virtual absl::Status Read(const SourceDisk& disk, uint64_t offset, uint64_t length,
                            absl::FunctionRef<absl::Status(ConstByteSpan)> visit) = 0;
  // The value for END: of the PFS, or of the one disk (core/digest). All zeros: not wanted.
  virtual absl::StatusOr<Sha256Digest> Attest() = 0;
};

}  // namespace h2bd::stream
