// Memory of accepted but unflushed data, in bytes, with back-pressure (spec 04 section 7.4, F-280
// to F-282).
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/metrics.h"
#include "core/base/status.h"

namespace h2bd {

// What one payer (a disk) holds of a budget. Belongs to the payer; the budget's lock guards
// changes.
class BudgetAccount {
 public:
  uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  friend class ByteBudget;
  std::atomic<uint64_t> bytes_{0};
  std::atomic<bool> aside_{false};
};

// From `start` on cycles run. From halfway between `start` and `limit` on, whoever holds more than
// the average payer is slowed down, the more the nearer the limit and the slower the device, so
// that writers meet a slope and not a wall. At the limit they wait; what is left above seven
// eighths of it is for payers that hold less than the average, so one busy disk cannot stop the
// others (F-282).
//
// Thread-safe. Newcomers do not overtake those who wait, but for payers below the average, who wait
// among themselves. Nobody holds a lock while waiting.
class ByteBudget {
 public:
  // `on_pressure` runs (without the budget's lock) whenever a charge leaves more than `start_bytes`
  // in use and whenever somebody has to wait; it starts a cycle. `throttle`: the slope; without it
  // there is the limit only (for tests that run cycles by hand).
  ByteBudget(uint64_t limit_bytes, uint64_t start_bytes, Clock& clock,
             absl::AnyInvocable<void() const> on_pressure, bool throttle = false);

  // Takes `bytes`, waiting while that would exceed the limit. One caller may always exceed an
  // unused budget, so no single charge waits for ever. `payer` (or null: nobody's, treated as above
  // the average) is who will hold it. kDeadlineExceeded at `deadline`; kFailedPrecondition after
  // Close.
  absl::Status Charge(uint64_t bytes, absl::Time deadline, const BudgetAccount* payer = nullptr)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Takes `bytes` without waiting or failing, for what has been let in already.
  void ChargeUnchecked(uint64_t bytes) ABSL_LOCKS_EXCLUDED(mu_);
  // Of what was charged, `payer` holds `bytes` more (or less).
  void Attribute(BudgetAccount& payer, int64_t bytes) ABSL_LOCKS_EXCLUDED(mu_);
  // No cycle can free what this payer holds: it does not count for the others any more. All such
  // payers together may hold `limit` besides; beyond that they get kResourceExhausted and never
  // wait. TakeBack ends it.
  void SetAside(BudgetAccount& payer) ABSL_LOCKS_EXCLUDED(mu_);
  void TakeBack(BudgetAccount& payer) ABSL_LOCKS_EXCLUDED(mu_);
  uint64_t aside() const { return aside_.load(std::memory_order_relaxed); }
  // Gives bytes back, of `payer` where they were attributed, and wakes waiters.
  void Release(uint64_t bytes, BudgetAccount* payer = nullptr) ABSL_LOCKS_EXCLUDED(mu_);
  // A cycle has made `bytes` durable in `took`: how fast memory becomes free.
  void NoteDrained(uint64_t bytes, absl::Duration took);
  // Whether Charge(bytes) would wait or be slowed down now.
  bool WouldWait(uint64_t bytes, const BudgetAccount* payer = nullptr) const;
  bool has_waiters() const { return waiting_ != 0 || waiting_below_ != 0; }
  // Everybody who waits, now or later, gets `status`.
  void Close(absl::Status status) ABSL_LOCKS_EXCLUDED(mu_);

  uint64_t used() const { return used_.load(std::memory_order_relaxed); }
  uint64_t limit() const { return limit_; }
  // How long a charge of `bytes` is slowed down at the present fill; zero below the slope.
  absl::Duration Slowdown(uint64_t bytes, const BudgetAccount* payer) const;
  const LatencyHistogram& waits() const { return waits_; }
  const LatencyHistogram& slowdowns() const { return slowdowns_; }

 private:
  bool BelowAverage(const BudgetAccount* payer) const;
  uint64_t LimitOf(bool below_average) const;
  bool Fits(uint64_t bytes, bool below_average) const {
    const uint64_t used = used_.load(std::memory_order_relaxed);
    return used == 0 || used + bytes <= LimitOf(below_average);
  }
  void SlowDown(uint64_t bytes, absl::Time deadline, const BudgetAccount* payer)
      ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status AwaitRoom(uint64_t bytes, absl::Time deadline, const BudgetAccount* payer)
      ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status ChargeAside(uint64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AttributeLocked(BudgetAccount& payer, int64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void PressIfAbove(uint64_t used);

  const uint64_t limit_;
  const uint64_t start_;
  const uint64_t slope_begins_;
  const bool throttle_;
  Clock& clock_;
  const absl::AnyInvocable<void() const> on_pressure_;
  mutable absl::Mutex mu_;
  std::atomic<uint64_t> used_{0};
  std::atomic<uint64_t> payers_{0};  // that hold anything
  std::atomic<uint64_t> aside_{0};
  std::atomic<uint64_t> waiting_{0}, waiting_below_{0};
  // Who waits, first come first; an entry is the address of something of its own.
  std::deque<const void*> queue_ ABSL_GUARDED_BY(mu_), queue_below_ ABSL_GUARDED_BY(mu_);
  std::atomic<double> seconds_per_byte_;
  absl::Status closed_ ABSL_GUARDED_BY(mu_);
  LatencyHistogram waits_, slowdowns_;
};

}  // namespace h2bd
