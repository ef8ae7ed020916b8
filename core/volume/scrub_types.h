// What a scrub finds, as callers see it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/base/types.h"

namespace h2bd {

enum class ScrubKind {
  kHeader,
  kSuperRoot,
  kPfsRoot,
  kInode,
  kIndirect,
  kData,
  kDirent,  // the block of a long name
  kFreemapNode,
  kFreemapLeaf,
  kFreemapState,  // a block in use was marked free; it is marked as allocated at once
};
inline constexpr size_t kScrubKinds = 10;
absl::string_view Name(ScrubKind kind);  // "pfs-root"

struct ScrubFinding {
  ScrubKind kind{};
  int header_slot = 0;  // the header that leads there, or the slot itself
  bool older = false;   // only an older header leads there: nothing that is served is damaged
  std::string pfs;      // label; "" where it is of the volume as a whole
  Inum inum;            // the inode whose block or table it is; 0: none
  std::string disk;     // its name, where it has one in the root directory of the PFS
  // Bytes of the disk that cannot be read for it; of other kinds 0. For kFreemapLeaf and
  // kFreemapNode the part of the address space.
  uint64_t offset = 0, length = 0;
  std::string device;  // where the block lies
  uint64_t device_offset = 0;
  absl::Status error;

  std::string ToString() const;
};

struct ScrubReport {
  static constexpr size_t kFindings = 1000;  // the first that are kept
  absl::Time began = absl::InfinitePast();
  absl::Time ended = absl::InfiniteFuture();  // while it runs
  bool complete = false;                      // everything was read
  uint64_t blocks = 0, bytes = 0;
  uint64_t errors = 0;
  std::vector<ScrubFinding> findings;
};

}  // namespace h2bd
