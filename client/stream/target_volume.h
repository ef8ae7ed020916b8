// Where a stream is applied: the disks of one PFS, as the receiver asks for them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/stream/format.h"
#include "client/stream/receive_state.h"

namespace h2bd::stream {

// Disks are named by their paths in the PFS. Used by one thread at a time. Errors end the
// receiving, which can go on later.
class TargetVolume {
 public:
  virtual ~TargetVolume() = default;

  // Paths of all disks, of the PFS as it is now or of its snapshot with this pfs_fsid.
  virtual absl::StatusOr<std::vector<std::string>> Disks() = 0;
  virtual absl::StatusOr<std::vector<std::string>> DisksOf(const Uuid& snapshot) = 0;
  virtual absl::StatusOr<bool> HasSnapshot(const Uuid& snapshot) = 0;
  // Paths of the disks that are not as in the snapshot: changed, new, renamed or gone.
  virtual absl::StatusOr<std::vector<std::string>> ChangedSince(const Uuid& snapshot) = 0;

  virtual absl::Status Create(const std::string& path, uint64_t size_bytes,
                              const DiskSettings& settings) = 0;
  // Makes `path` a copy of `from` as it is in the snapshot; nullopt: as it is now.
  virtual absl::Status Clone(const std::optional<Uuid>& snapshot, const std::string& from,
                             const std::string& path, const DiskSettings& settings) = 0;
  virtual absl::Status Resize(const std::string& path, uint64_t size_bytes) = 0;
  // May return before it is done, or failed: then the next Sync gives the error.
  virtual absl::Status Write(const std::string& path, uint64_t offset, ConstByteSpan bytes) = 0;
  virtual absl::Status Punch(const std::string& path, uint64_t offset, uint64_t bytes) = 0;
  // OK: everything before survives power loss.
  virtual absl::Status Sync() = 0;
  virtual absl::Status Remove(const std::string& path) = 0;  // OK when there is none
  // All of them, at one instant where the volume can; otherwise one after another, so that a
  // second call after a crash finishes what the first began: a `from` that is gone is done.
  virtual absl::Status Replace(const std::vector<Replacement>& replacements) = 0;
  // Of the whole PFS, durable. OK when there is one of that name and fsid.
  virtual absl::Status TakeSnapshot(const std::string& name, const Uuid& fsid) = 0;
  // Of a disk as it is now (core/digest).
  virtual absl::StatusOr<Sha256Digest> Attest(const std::string& path) = 0;

  // Bytes kept for a stream, where neither the PFS nor its snapshots show them. Saved as one, and
  // durable when it returns; that says nothing of the disks.
  virtual absl::StatusOr<std::optional<std::string>> LoadState(const Uuid& stream) = 0;
  virtual absl::Status SaveState(const Uuid& stream, absl::string_view bytes) = 0;
  virtual absl::Status DropState(const Uuid& stream) = 0;  // OK when there is none
};

}  // namespace h2bd::stream
