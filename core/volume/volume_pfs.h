// How a call about PFSs waits for its change; shared by volume_pfs.cc and volume_snapshots.cc.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "core/volume/volume_impl.h"

namespace h2bd {

// For the asynchronous calls: `queue` gets a callback and does not use it when it gives an error.
template <class T, class Queue>
void Volume::Impl::RunChange(absl::AnyInvocable<void(absl::StatusOr<T>)> done, Queue queue) {
  auto shared = std::make_shared<absl::AnyInvocable<void(absl::StatusOr<T>)>>(std::move(done));
  const absl::StatusOr<Queued> queued =
      queue([shared](absl::StatusOr<T> result) { (*shared)(std::move(result)); });
  if (queued.ok()) {
    BeginChange(*queued);
  } else {
    (*shared)(queued.status());
  }
}

template <class T, class Queue>
absl::StatusOr<T> Volume::Impl::WaitForChange(Queue queue, absl::Time deadline) {
  // Outlives this call when the deadline passes and a cycle has the change.
  struct Waiting {
    absl::Mutex mu;
    std::optional<absl::StatusOr<T>> answer ABSL_GUARDED_BY(mu);
    absl::Status cycle ABSL_GUARDED_BY(mu);
    bool Answered() const ABSL_SHARED_LOCKS_REQUIRED(mu) { return answer.has_value(); }
  };
  auto waiting = std::make_shared<Waiting>();
  H2_ASSIGN_OR_RETURN(const Queued queued, queue([waiting](absl::StatusOr<T> result) {
                        absl::MutexLock lock(&waiting->mu);
                        waiting->answer = std::move(result);
                      }));
  commit->SyncTo(queued.seq, [waiting](const absl::StatusOr<SyncResult>& result) {
    absl::MutexLock lock(&waiting->mu);
    waiting->cycle = result.status();
  });
  absl::Status why = absl::DeadlineExceededError("the deadline passed before a cycle was done");
  {
    absl::MutexLock lock(&waiting->mu);
    if (options.manual_cycles && options.sync_runs_cycle) {
      // The cycle was run on this thread; if it has failed, nobody runs another one.
      if (!waiting->Answered()) why = waiting->cycle;
    } else {
      waiting->mu.AwaitWithDeadline(absl::Condition(waiting.get(), &Waiting::Answered), deadline);
    }
    if (waiting->Answered()) return *std::move(waiting->answer);
  }
  H2_ASSERT(!why.ok());
  changes->Withdraw(queued.id, why);
  absl::MutexLock lock(&waiting->mu);
  if (waiting->Answered()) return *std::move(waiting->answer);
  return Annotate(why, "not known to be durable, and visible with the next cycle that succeeds");
}

}  // namespace h2bd
