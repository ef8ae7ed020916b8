#include "core/trans/byte_budget.h"

#include <utility>

namespace h2bd {

ByteBudget::ByteBudget(uint64_t limit_bytes, uint64_t start_bytes, Clock& clock,
                       absl::AnyInvocable<void() const> on_pressure)
    : limit_(limit_bytes),
      start_(start_bytes),
      clock_(clock),
      on_pressure_(std::move(on_pressure)) {}

absl::Status ByteBudget::Charge(uint64_t bytes, absl::Time deadline) {
  uint64_t used = 0;
  {
    absl::MutexLock lock(&mu_);
    if (!closed_.ok()) return closed_;
    if (waiting_ == 0 && Fits(bytes)) {
      used = used_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
    }
  }
  if (used != 0) {
    PressIfAbove(used);
    return absl::OkStatus();
  }

  const absl::Duration began = clock_.MonotonicNow();
  ++waiting_;
  on_pressure_();
  absl::MutexLock lock(&mu_);
  struct Turn {
    ByteBudget* budget;
    uint64_t bytes;
    bool Come() const ABSL_NO_THREAD_SAFETY_ANALYSIS {
      return !budget->closed_.ok() || budget->Fits(bytes);
    }
  } turn{this, bytes};
  const bool came = mu_.AwaitWithDeadline(absl::Condition(&turn, &Turn::Come), deadline);
  --waiting_;
  waits_.Observe(clock_.MonotonicNow() - began);
  if (!closed_.ok()) return closed_;
  if (!came) {
    return absl::DeadlineExceededError(
        "waited for memory: unflushed data is at its limit and the deadline has passed");
  }
  used_.fetch_add(bytes, std::memory_order_relaxed);
  return absl::OkStatus();
}

void ByteBudget::ChargeUnchecked(uint64_t bytes) {
  PressIfAbove(used_.fetch_add(bytes, std::memory_order_relaxed) + bytes);
}

void ByteBudget::Release(uint64_t bytes) {
  absl::MutexLock lock(&mu_);  // unlocking it evaluates the conditions of those who wait
  const uint64_t before = used_.fetch_sub(bytes, std::memory_order_relaxed);
  H2_ASSERT(before >= bytes);
}

bool ByteBudget::WouldWait(uint64_t bytes) const {
  const uint64_t used = used_.load(std::memory_order_relaxed);
  return waiting_ != 0 || (used != 0 && used + bytes > limit_);
}

void ByteBudget::Close(absl::Status status) {
  absl::MutexLock lock(&mu_);
  if (closed_.ok()) closed_ = std::move(status);
}

void ByteBudget::PressIfAbove(uint64_t used) {
  if (used > start_) on_pressure_();
}

}  // namespace h2bd
