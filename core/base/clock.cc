#include "core/base/clock.h"

#include <ctime>

#include "absl/time/clock.h"

namespace h2bd {
namespace {

class MachineClock final : public Clock {
 public:
  absl::Time WallNow() const override { return absl::Now(); }
  absl::Duration MonotonicNow() const override {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return absl::Seconds(now.tv_sec) + absl::Nanoseconds(now.tv_nsec);
  }
};

}  // namespace

Clock& SystemClock() {
  static MachineClock clock;
  return clock;
}

}  // namespace h2bd
