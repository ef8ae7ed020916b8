// A clock that stands still until a test moves it; wall time and monotonic time move apart.
#pragma once

#include <atomic>

#include "core/base/clock.h"

namespace h2bd {

class FakeClock final : public Clock {
 public:
  absl::Time WallNow() const override {
    return absl::UnixEpoch() + absl::Nanoseconds(wall_ns_.load(std::memory_order_relaxed));
  }
  absl::Duration MonotonicNow() const override {
    return absl::Nanoseconds(monotonic_ns_.load(std::memory_order_relaxed));
  }
  // Time passes.
  void Advance(absl::Duration by) {
    monotonic_ns_.fetch_add(absl::ToInt64Nanoseconds(by), std::memory_order_relaxed);
    JumpWall(by);
  }
  // Somebody sets the wall clock, forwards or back.
  void JumpWall(absl::Duration by) {
    wall_ns_.fetch_add(absl::ToInt64Nanoseconds(by), std::memory_order_relaxed);
  }

 private:
  std::atomic<int64_t> wall_ns_{1'700'000'000'000'000'000};
  std::atomic<int64_t> monotonic_ns_{1'000'000'000'000};
};

}  // namespace h2bd
