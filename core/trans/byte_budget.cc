#include "core/trans/byte_budget.h"

#include <algorithm>
#include <utility>

namespace h2bd {
namespace {

// Before the first cycle has shown it: 1 GB/s.
constexpr double kSecondsPerByteAtFirst = 1e-9;
// No single charge is slowed down longer; whoever needs more waits at the limit.
constexpr absl::Duration kSlowdownMax = absl::Milliseconds(100);
// Shorter ones cost more than they gain.
constexpr absl::Duration kSlowdownMin = absl::Microseconds(50);

}  // namespace

ByteBudget::ByteBudget(uint64_t limit_bytes, uint64_t start_bytes, Clock& clock,
                       absl::AnyInvocable<void() const> on_pressure, bool throttle)
    : limit_(limit_bytes),
      start_(start_bytes),
      slope_begins_(start_bytes + (limit_bytes - std::min(limit_bytes, start_bytes)) / 2),
      throttle_(throttle),
      clock_(clock),
      on_pressure_(std::move(on_pressure)),
      seconds_per_byte_(kSecondsPerByteAtFirst) {}

bool ByteBudget::BelowAverage(const BudgetAccount* payer) const {
  if (payer == nullptr) return false;
  const uint64_t holds = payer->bytes();
  // One that holds nothing yet is a payer as soon as it is let in.
  const uint64_t payers = payers_.load(std::memory_order_relaxed) + (holds == 0);
  return payers > 1 && holds < used() / payers;
}

uint64_t ByteBudget::LimitOf(bool below_average) const {
  const bool shared = payers_.load(std::memory_order_relaxed) > 1;
  return below_average || !shared ? limit_ : limit_ - limit_ / 8;
}

absl::Duration ByteBudget::Slowdown(uint64_t bytes, const BudgetAccount* payer) const {
  const uint64_t in_use = used();
  if (!throttle_ || in_use <= slope_begins_ || BelowAverage(payer)) return absl::ZeroDuration();
  if (payer != nullptr && payer->aside_) return absl::ZeroDuration();
  const uint64_t room = std::max<uint64_t>(1, limit_ - std::min(limit_ - 1, in_use));
  const double steepness = static_cast<double>(in_use - slope_begins_) / static_cast<double>(room);
  const double seconds =
      static_cast<double>(bytes) * seconds_per_byte_.load(std::memory_order_relaxed) * steepness;
  const absl::Duration wanted = std::min(absl::Seconds(seconds), kSlowdownMax);
  return wanted < kSlowdownMin ? absl::ZeroDuration() : wanted;
}

void ByteBudget::SlowDown(uint64_t bytes, absl::Time deadline, const BudgetAccount* payer) {
  const absl::Duration wanted = Slowdown(bytes, payer);
  const absl::Duration left = deadline - clock_.WallNow();
  if (wanted == absl::ZeroDuration() || left <= absl::ZeroDuration()) return;
  on_pressure_();
  const absl::Duration began = clock_.MonotonicNow();
  absl::MutexLock lock(&mu_);
  const auto relieved = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return !closed_.ok() || used() <= slope_begins_;
  };
  mu_.AwaitWithTimeout(absl::Condition(&relieved), std::min(wanted, left));
  slowdowns_.Observe(clock_.MonotonicNow() - began);
}

absl::Status ByteBudget::ChargeAside(uint64_t bytes) {
  if (aside() + bytes > limit_) {
    return absl::ResourceExhaustedError(
        "disks whose changes cannot be stored hold as much memory as they may; repair or delete "
        "one");
  }
  used_.fetch_add(bytes, std::memory_order_relaxed);  // until it is attributed
  return absl::OkStatus();
}

absl::Status ByteBudget::Charge(uint64_t bytes, absl::Time deadline, const BudgetAccount* payer) {
  SlowDown(bytes, deadline, payer);
  uint64_t used = 0;
  {
    absl::MutexLock lock(&mu_);
    if (!closed_.ok()) return closed_;
    if (payer != nullptr && payer->aside_) return ChargeAside(bytes);
    const bool below = BelowAverage(payer);
    const bool others_wait = (below ? waiting_below_ : waiting_) != 0;
    if (!others_wait && Fits(bytes, below)) {
      used = used_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
    }
  }
  if (used == 0) return AwaitRoom(bytes, deadline, payer);
  PressIfAbove(used);
  return absl::OkStatus();
}

absl::Status ByteBudget::AwaitRoom(uint64_t bytes, absl::Time deadline,
                                   const BudgetAccount* payer) {
  const absl::Duration began = clock_.MonotonicNow();
  const bool below = BelowAverage(payer);
  std::atomic<uint64_t>& waiting = below ? waiting_below_ : waiting_;
  ++waiting;
  on_pressure_();
  absl::MutexLock lock(&mu_);
  std::deque<const void*>& queue = below ? queue_below_ : queue_;
  queue.push_back(&began);
  const auto come = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    const bool aside = payer != nullptr && payer->aside_;
    return !closed_.ok() || aside || (queue.front() == &began && Fits(bytes, BelowAverage(payer)));
  };
  const bool came = mu_.AwaitWithDeadline(absl::Condition(&come), deadline);
  queue.erase(std::find(queue.begin(), queue.end(), &began));
  --waiting;
  waits_.Observe(clock_.MonotonicNow() - began);
  if (!closed_.ok()) return closed_;
  if (!came) {
    return absl::DeadlineExceededError(
        "waited for memory: unflushed data is at its limit and the deadline has passed");
  }
  if (payer != nullptr && payer->aside_) return ChargeAside(bytes);
  used_.fetch_add(bytes, std::memory_order_relaxed);
  return absl::OkStatus();
}

void ByteBudget::ChargeUnchecked(uint64_t bytes) {
  PressIfAbove(used_.fetch_add(bytes, std::memory_order_relaxed) + bytes);
}

void ByteBudget::AttributeLocked(BudgetAccount& payer, int64_t bytes) {
  if (bytes == 0) return;
  const auto delta = static_cast<uint64_t>(bytes);  // modulo 2^64, as unsigned arithmetic is
  const uint64_t before = payer.bytes_.fetch_add(delta, std::memory_order_relaxed);
  H2_ASSERT(bytes > 0 || before >= static_cast<uint64_t>(-bytes));
  if (before == 0) payers_.fetch_add(1, std::memory_order_relaxed);
  if (before + delta == 0) payers_.fetch_sub(1, std::memory_order_relaxed);
  if (!payer.aside_) return;
  used_.fetch_sub(delta, std::memory_order_relaxed);
  aside_.fetch_add(delta, std::memory_order_relaxed);
}

void ByteBudget::Attribute(BudgetAccount& payer, int64_t bytes) {
  absl::MutexLock lock(&mu_);
  AttributeLocked(payer, bytes);
}

void ByteBudget::SetAside(BudgetAccount& payer) {
  absl::MutexLock lock(&mu_);  // unlocking it evaluates the conditions of those who wait
  if (payer.aside_.exchange(true)) return;
  used_.fetch_sub(payer.bytes(), std::memory_order_relaxed);
  aside_.fetch_add(payer.bytes(), std::memory_order_relaxed);
}

void ByteBudget::TakeBack(BudgetAccount& payer) {
  absl::MutexLock lock(&mu_);
  if (!payer.aside_.exchange(false)) return;
  used_.fetch_add(payer.bytes(), std::memory_order_relaxed);
  aside_.fetch_sub(payer.bytes(), std::memory_order_relaxed);
}

void ByteBudget::Release(uint64_t bytes, BudgetAccount* payer) {
  absl::MutexLock lock(&mu_);  // unlocking it evaluates the conditions of those who wait
  if (payer != nullptr) AttributeLocked(*payer, -static_cast<int64_t>(bytes));
  const uint64_t before = used_.fetch_sub(bytes, std::memory_order_relaxed);
  H2_ASSERT(before >= bytes);
}

void ByteBudget::NoteDrained(uint64_t bytes, absl::Duration took) {
  constexpr uint64_t kWorthMeasuring = 1 << 20;
  if (bytes < kWorthMeasuring) return;
  const double now = absl::ToDoubleSeconds(took) / static_cast<double>(bytes);
  const double before = seconds_per_byte_.load(std::memory_order_relaxed);
  seconds_per_byte_.store((before + now) / 2, std::memory_order_relaxed);
}

bool ByteBudget::WouldWait(uint64_t bytes, const BudgetAccount* payer) const {
  if (payer != nullptr && payer->aside_) return false;  // it is refused or goes through
  const bool below = BelowAverage(payer);
  return (below ? waiting_below_ : waiting_) != 0 || !Fits(bytes, below) ||
         Slowdown(bytes, payer) > absl::ZeroDuration();
}

void ByteBudget::Close(absl::Status status) {
  absl::MutexLock lock(&mu_);
  if (closed_.ok()) closed_ = std::move(status);
}

void ByteBudget::PressIfAbove(uint64_t used) {
  if (used > start_) on_pressure_();
}

}  // namespace h2bd
