// What a cycle tells its callers.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/base/types.h"

namespace h2bd {

// Phases of a cycle in their order (spec 04 section 6.1); the names are the values of the metric
// label.
enum class FlushPhase {
  kCut,
  kInodes,  // data blocks, tables and inodes
  kPfsRoots,
  kSuperRoot,
  kFreemap,
  kHeaderImage,
  kWriteout,
  kBarrier1,
  kHeader,
  kBarrier2,
};
inline constexpr int kFlushPhases = 10;
absl::string_view Name(FlushPhase phase);  // "cut", "inodes", …

// The cycle that made a Sync durable.
struct SyncResult {
  OpSeq durable_opseq;  // at least what was asked for
  Tid mirror_tid;       // of the header on media
  int header_slot = 0;
  bool ran_cycle = false;  // false: it was durable already, no I/O was done
  std::array<absl::Duration, kFlushPhases> phases{};
};

}  // namespace h2bd
