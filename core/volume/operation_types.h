// Long operations as callers see them.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/base/types.h"

namespace h2bd {

enum class OperationKind {
  kReclaim,  // a scan that finds blocks nobody reaches (bulkfree)
  kReap,     // frees the subtrees of what was deleted
  kScrub,    // reads everything and compares check codes
  kGrow,     // makes the volume larger
  kAttest,   // computes the root hash of a PFS
  kSizes,    // how much each snapshot holds alone
  kDiff,     // compares two snapshots as a whole
};
inline constexpr size_t kOperationKinds = 7;
absl::string_view Name(OperationKind kind);  // "reclaim"

enum class OperationState { kRunning, kDone, kFailed, kCancelled };
absl::string_view Name(OperationState state);  // "running"

struct OperationPace {
  // Bytes that it may read and write per second; 0: as fast as it can. In any case it slows down
  // while clients wait for the device or for memory.
  uint64_t bytes_per_second = 0;
};

struct OperationInfo {
  uint64_t id = 0;
  OperationKind kind = OperationKind::kReclaim;
  OperationState state = OperationState::kRunning;
  std::string what;              // on what it works
  uint64_t done = 0, total = 0;  // total 0: not known
  std::string unit;              // of both
  OperationPace pace;
  absl::Time began;
  absl::Time ended;     // InfiniteFuture while it runs
  absl::Duration left;  // guess; InfiniteDuration when nothing is known
  absl::Status status;  // kFailed: why
  std::string result;   // what came out, as far as it is known
};

}  // namespace h2bd
