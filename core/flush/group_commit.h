// When cycles run, and who is answered by which (spec 04 section 8.6).
#pragma once

#include <optional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/flush/flusher.h"

namespace h2bd {

struct GroupCommitOptions {
  bool manual = false;                    // no thread: cycles run inside SyncTo and RunNow
  bool sync_runs_cycle = true;            // manual only; false: inside RunNow alone
  absl::Duration age = absl::Seconds(5);  // the oldest change starts a cycle; ZeroDuration: never
};

// Starts cycles because a Sync waits, because dirty data is old, or because memory is short; at
// most one runs and one is asked for (F-312). A Sync is answered by the first cycle whose cut
// covers it (F-311), with that cycle's outcome (F-313). Thread-safe.
class GroupCommit {
 public:
  using Done = absl::AnyInvocable<void(absl::StatusOr<SyncResult>)>;

  // `on_failed` runs once, when the volume fails; the flusher outlives the object.
  GroupCommit(Flusher& flusher, DirtyRegistry& dirty, Clock& clock,
              const GroupCommitOptions& options,
              absl::AnyInvocable<void(const absl::Status&)> on_failed);
  // Calls Stop.
  ~GroupCommit();
  GroupCommit(const GroupCommit&) = delete;
  GroupCommit& operator=(const GroupCommit&) = delete;

  // Calls `done` once everything up to `target` is durable, or with the error of the cycle that
  // should have made it so. Runs on the cycle's thread, or before SyncTo returns when nothing is to
  // be done. `fresh`: a cycle that begins later answers, although all may be durable: something
  // that was held is to be tried again.
  void SyncTo(OpSeq target, Done done, bool fresh = false) ABSL_LOCKS_EXCLUDED(mu_, cycle_mu_);
  // Wants a cycle soon; returns at once. After a failed cycle it waits for the back-off.
  void Request() ABSL_LOCKS_EXCLUDED(mu_);
  // Something became dirty while nothing was: the age starts to count.
  void NoteDirty() ABSL_LOCKS_EXCLUDED(mu_);
  // Runs one cycle on the calling thread.
  CycleResult RunNow(CycleReason reason) ABSL_LOCKS_EXCLUDED(mu_, cycle_mu_);
  // Ends the thread. Syncs that still wait get kFailedPrecondition, reason VOLUME_CLOSED.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_, cycle_mu_);

  OpSeq durable() const ABSL_LOCKS_EXCLUDED(mu_);
  // OK, or why the volume takes no more writes.
  absl::Status failure() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Waiter {
    OpSeq target;
    absl::Duration since;
    Done done;
    uint64_t first_cycle = 0;  // number of the first cycle that may answer
  };
  void Work();
  bool ShouldWake() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // How long the thread may sleep.
  absl::Duration NextDue() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether the next cycle tries disks again that the device could not read: in their own time, so
  // that the Syncs of others do not pay for each attempt, or because somebody asks for it.
  bool RetriesHeld(CycleReason reason) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Settle(const CycleResult& result, bool retried_held) ABSL_LOCKS_EXCLUDED(mu_);
  void Answer(Waiter& waiter, const absl::StatusOr<SyncResult>& result);

  Flusher& flusher_;
  DirtyRegistry& dirty_;
  Clock& clock_;
  const GroupCommitOptions options_;
  absl::AnyInvocable<void(const absl::Status&)> on_failed_;
  absl::Mutex cycle_mu_;  // held while a cycle runs; before mu_
  mutable absl::Mutex mu_;
  std::vector<Waiter> waiters_ ABSL_GUARDED_BY(mu_);
  OpSeq durable_ ABSL_GUARDED_BY(mu_);
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
  uint64_t cycles_begun_ ABSL_GUARDED_BY(mu_) = 0;
  bool sync_wanted_ ABSL_GUARDED_BY(mu_) = false;
  bool pressure_ ABSL_GUARDED_BY(mu_) = false;
  bool noted_dirty_ ABSL_GUARDED_BY(mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  int failed_in_a_row_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Duration retry_at_ ABSL_GUARDED_BY(mu_) = absl::ZeroDuration();
  int held_in_a_row_ ABSL_GUARDED_BY(mu_) = 0;  // cycles that left a disk out that may heal
  absl::Duration held_retry_at_ ABSL_GUARDED_BY(mu_) = absl::ZeroDuration();
  std::thread thread_;
};

}  // namespace h2bd
