// Memory of accepted but unflushed data, in bytes, with back-pressure (spec 04 section 7.4, F-280,
// F-281).
#pragma once

#include <atomic>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/metrics.h"
#include "core/base/status.h"

namespace h2bd {

// Thread-safe. Newcomers do not overtake those who wait, and nobody holds a lock while waiting.
class ByteBudget {
 public:
  // `on_pressure` runs (without the budget's lock) whenever a charge leaves more than `start_bytes`
  // in use and whenever somebody has to wait; it starts a cycle.
  ByteBudget(uint64_t limit_bytes, uint64_t start_bytes, Clock& clock,
             absl::AnyInvocable<void() const> on_pressure);

  // Takes `bytes`, waiting while that would exceed the limit. One caller may always exceed an
  // unused budget, so no single charge waits for ever. kDeadlineExceeded at `deadline`;
  // kFailedPrecondition after Close.
  absl::Status Charge(uint64_t bytes, absl::Time deadline) ABSL_LOCKS_EXCLUDED(mu_);
  // Takes `bytes` without waiting or failing, for what has been let in already.
  void ChargeUnchecked(uint64_t bytes) ABSL_LOCKS_EXCLUDED(mu_);
  // Gives bytes back and wakes waiters.
  void Release(uint64_t bytes) ABSL_LOCKS_EXCLUDED(mu_);
  // Whether Charge(bytes) would wait now.
  bool WouldWait(uint64_t bytes) const;
  bool has_waiters() const { return waiting_ != 0; }
  // Everybody who waits, now or later, gets `status`.
  void Close(absl::Status status) ABSL_LOCKS_EXCLUDED(mu_);

  uint64_t used() const { return used_.load(std::memory_order_relaxed); }
  uint64_t limit() const { return limit_; }
  const LatencyHistogram& waits() const { return waits_; }

 private:
  bool Fits(uint64_t bytes) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const uint64_t used = used_.load(std::memory_order_relaxed);
    return used == 0 || used + bytes <= limit_;
  }
  void PressIfAbove(uint64_t used);

  const uint64_t limit_;
  const uint64_t start_;
  Clock& clock_;
  const absl::AnyInvocable<void() const> on_pressure_;
  mutable absl::Mutex mu_;
  std::atomic<uint64_t> used_{0};
  std::atomic<uint64_t> waiting_{0};
  absl::Status closed_ ABSL_GUARDED_BY(mu_);
  LatencyHistogram waits_;
};

}  // namespace h2bd
