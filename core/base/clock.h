// Time behind a seam, so that a test can be its own clock.
#pragma once

#include "absl/time/time.h"

namespace h2bd {

// Thread-safe. Commit logic never depends on it (spec 04 section 11, row 24): it stamps inodes,
// measures latencies and decides when an old dirty generation is flushed.
class Clock {
 public:
  virtual ~Clock() = default;
  // Wall clock, for timestamps on media and in logs. May jump.
  virtual absl::Time WallNow() const = 0;
  // Monotonic time since an arbitrary start, for ages, deadlines and latencies.
  virtual absl::Duration MonotonicNow() const = 0;
};

// The machine's clocks.
Clock& SystemClock();

}  // namespace h2bd
