// What a cycle tells its callers.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
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

// What went wrong, as far as an operator cares; the names are the values of the metric label.
enum class FlushError {
  kEio,    // a device failed
  kCheck,  // a block does not match its check code, or makes no sense
  kEnospc,
  kInternal,  // anything else
};
inline constexpr int kFlushErrors = 4;
absl::string_view Name(FlushError error);  // "eio", "check", …
FlushError FlushErrorOf(const absl::Status& status);

// Why a cycle was started.
enum class CycleReason {
  kSync,      // somebody waits for durability
  kAge,       // the oldest change was old enough
  kPressure,  // dirty memory was above its mark
  kRetry,     // the cycle before failed
  kRequest,   // a test or a tool asked for it
  kClose,     // the volume is being closed
};
inline constexpr int kCycleReasons = 6;
absl::string_view Name(CycleReason reason);  // "sync", "age", …

// What is remembered of a cycle that had something to do, and of how many.
inline constexpr size_t kRememberedCycles = 256;
struct CycleRecord {
  uint64_t number = 0;  // counts from 1 since the volume was opened
  CycleReason reason = CycleReason::kSync;
  absl::Time began;
  absl::Duration took;
  absl::Status status;  // why it failed
  OpSeq cut;            // everything up to this change was in it
  Tid mirror_tid;       // of the header that it made, or would have made
  int header_slot = 0;  // when it succeeded
  uint64_t disks = 0, data_blocks = 0, data_bytes = 0;  // stored, after compression
  std::array<absl::Duration, kFlushPhases> phases{};
};

// The cycle that made a Sync durable.
struct SyncResult {
  OpSeq durable_opseq;  // at least what was asked for
  Tid mirror_tid;       // of the header on media
  int header_slot = 0;
  bool ran_cycle = false;  // false: it was durable already, no I/O was done
  std::array<absl::Duration, kFlushPhases> phases{};
};

}  // namespace h2bd
