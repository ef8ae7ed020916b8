#include "core/flush/group_commit.h"

#include <algorithm>
#include <utility>

namespace h2bd {
namespace {

// Pause before a cycle that nobody waits for is tried again: 1 s, doubling up to 32 s.
absl::Duration Backoff(int failed_in_a_row) {
  return absl::Seconds(1 << std::clamp(failed_in_a_row - 1, 0, 5));
}

}  // namespace

GroupCommit::GroupCommit(Flusher& flusher, DirtyRegistry& dirty, Clock& clock,
                         const GroupCommitOptions& options,
                         absl::AnyInvocable<void(const absl::Status&)> on_failed)
    : flusher_(flusher),
      dirty_(dirty),
      clock_(clock),
      options_(options),
      on_failed_(std::move(on_failed)) {
  if (!options_.manual) thread_ = std::thread([this] { Work(); });
}

GroupCommit::~GroupCommit() { Stop(); }

void GroupCommit::SyncTo(OpSeq target, Done done, bool fresh) {
  {
    Waiter waiter{target, clock_.MonotonicNow(), std::move(done)};
    absl::ReleasableMutexLock lock(&mu_);
    if (target <= durable_ && !fresh) {
      SyncResult durable_already = flusher_.last_published();
      durable_already.durable_opseq = durable_;
      lock.Release();
      Answer(waiter, durable_already);
      return;
    }
    if (!failure_.ok()) {
      const absl::Status failure = failure_;
      lock.Release();
      Answer(waiter, failure);
      return;
    }
    if (stopping_) {
      lock.Release();
      Answer(waiter,
             WithReason(absl::FailedPreconditionError("the volume is closed"), kReasonClosed));
      return;
    }
    if (fresh) waiter.first_cycle = cycles_begun_ + 1;
    waiters_.push_back(std::move(waiter));
    sync_wanted_ = true;
  }
  if (options_.manual && options_.sync_runs_cycle) RunNow(CycleReason::kSync);
}

void GroupCommit::Request() {
  absl::MutexLock lock(&mu_);
  pressure_ = true;
}

void GroupCommit::NoteDirty() {
  absl::MutexLock lock(&mu_);
  noted_dirty_ = true;
}

bool GroupCommit::ShouldWake() const {
  return stopping_ || sync_wanted_ || noted_dirty_ || (pressure_ && failed_in_a_row_ == 0);
}

absl::Duration GroupCommit::NextDue() const {
  const absl::Duration now = clock_.MonotonicNow();
  absl::Duration due = absl::InfiniteDuration();
  const std::optional<absl::Duration> oldest = dirty_.OldestChange();
  if (oldest.has_value() && options_.age > absl::ZeroDuration()) due = *oldest + options_.age;
  // A held disk is tried again in its own time; the others do not wait for it.
  if (held_in_a_row_ > 0) due = std::min(due, held_retry_at_);
  if (failed_in_a_row_ > 0) due = retry_at_;
  return std::max(due - now, absl::ZeroDuration());
}

void GroupCommit::Work() {
  NameThisThread("h2bd-flush");
  for (;;) {
    std::optional<CycleReason> reason;
    {
      absl::MutexLock lock(&mu_);
      const bool woken =
          mu_.AwaitWithTimeout(absl::Condition(
                                   +[](GroupCommit* self) ABSL_EXCLUSIVE_LOCKS_REQUIRED(self->mu_) {
                                     return self->ShouldWake();
                                   },
                                   this),
                               NextDue());
      if (stopping_) return;
      if (sync_wanted_) {
        reason = CycleReason::kSync;
      } else if (pressure_ && failed_in_a_row_ == 0) {
        reason = CycleReason::kPressure;
      } else if (!woken && NextDue() == absl::ZeroDuration()) {
        const bool retry = failed_in_a_row_ > 0 || held_in_a_row_ > 0;
        reason = retry ? CycleReason::kRetry : CycleReason::kAge;
      }
      noted_dirty_ = false;
    }
    if (reason.has_value()) RunNow(*reason);
  }
}

CycleResult GroupCommit::RunNow(CycleReason reason) {
  absl::MutexLock cycle(&cycle_mu_);
  bool retry_held = false;
  {
    absl::MutexLock lock(&mu_);
    // What arrives from here on may be too late for the cut and asks for the next cycle.
    ++cycles_begun_;
    sync_wanted_ = false;
    pressure_ = false;
    retry_held = RetriesHeld(reason);
  }
  const CycleResult result = flusher_.RunCycle(reason, retry_held);
  Settle(result, retry_held);
  return result;
}

bool GroupCommit::RetriesHeld(CycleReason reason) const {
  if (reason == CycleReason::kClose || reason == CycleReason::kRequest) return true;
  if (clock_.MonotonicNow() >= held_retry_at_) return true;
  return std::any_of(waiters_.begin(), waiters_.end(),
                     [](const Waiter& waiter) { return waiter.first_cycle != 0; });
}

void GroupCommit::Settle(const CycleResult& result, bool retried_held) {
  std::vector<Waiter> answered;
  bool failed_now = false;
  {
    absl::MutexLock lock(&mu_);
    if (result.status.ok()) {
      durable_ = std::max(durable_, result.cut);
      flusher_.metrics().durable_opseq.Set(static_cast<int64_t>(durable_.v));
    }
    if (!result.try_again) {
      held_in_a_row_ = 0;
    } else if (retried_held || held_in_a_row_ == 0) {
      ++held_in_a_row_;
      held_retry_at_ = clock_.MonotonicNow() + Backoff(held_in_a_row_);
    }
    if (result.status.ok()) {
      failed_in_a_row_ = 0;
    } else {
      ++failed_in_a_row_;
      retry_at_ = clock_.MonotonicNow() + Backoff(failed_in_a_row_);
      if (result.failed_volume && failure_.ok()) {
        failure_ = result.status;
        failed_now = true;
      }
    }
    const uint64_t this_cycle = cycles_begun_;
    const auto stays =
        std::stable_partition(waiters_.begin(), waiters_.end(), [&](const Waiter& waiter) {
          const bool covered = waiter.target <= result.cut && waiter.first_cycle <= this_cycle;
          return !covered && !result.failed_volume;
        });
    std::move(stays, waiters_.end(), std::back_inserter(answered));
    waiters_.erase(stays, waiters_.end());
    if (!waiters_.empty()) sync_wanted_ = true;
  }
  if (failed_now) on_failed_(result.status);
  if (!answered.empty()) {
    flusher_.metrics().sync_group.Observe(static_cast<double>(answered.size()));
  }
  for (Waiter& waiter : answered) {
    Answer(waiter, result.status.ok() ? absl::StatusOr<SyncResult>(result.sync)
                                      : absl::StatusOr<SyncResult>(result.status));
  }
}

void GroupCommit::Answer(Waiter& waiter, const absl::StatusOr<SyncResult>& result) {
  (result.ok() ? flusher_.metrics().sync_ok : flusher_.metrics().sync_failed).Add();
  flusher_.metrics().sync_wait.Observe(clock_.MonotonicNow() - waiter.since);
  std::move(waiter.done)(result);
}

void GroupCommit::Stop() {
  std::vector<Waiter> abandoned;
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
    abandoned.swap(waiters_);
  }
  if (thread_.joinable()) thread_.join();
  for (Waiter& waiter : abandoned) {
    Answer(waiter,
           WithReason(absl::FailedPreconditionError("the volume is closed"), kReasonClosed));
  }
}

OpSeq GroupCommit::durable() const {
  absl::MutexLock lock(&mu_);
  return durable_;
}

absl::Status GroupCommit::failure() const {
  absl::MutexLock lock(&mu_);
  return failure_;
}

}  // namespace h2bd
