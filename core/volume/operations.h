// Long operations: work of seconds to hours that goes on behind the clients' backs, one bounded
// step at a time (reclaim, scrub, attest ...). One background thread for all of them.
#pragma once

#include <algorithm>
#include <array>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/metrics.h"
#include "core/base/status.h"
#include "core/volume/operation_types.h"

namespace h2bd {

// What one step may do: 64 tables, 8 MiB or 20 ms, whichever ends first. The step itself counts and
// asks; it may exceed it by the piece of work that it has begun.
class StepBudget {
 public:
  static constexpr uint64_t kTables = 64;
  static constexpr uint64_t kBytes = 8 * kMiB;
  static constexpr absl::Duration kTime = absl::Milliseconds(20);

  // `clock` null: tables and bytes only, so that steps do not depend on time.
  explicit StepBudget(const Clock* clock)
      : clock_(clock), began_(clock == nullptr ? absl::ZeroDuration() : clock->MonotonicNow()) {}
  // A table of `bytes` was read, or data.
  void Table(uint64_t bytes) { ++tables_, bytes_ += bytes; }
  void Data(uint64_t bytes) { bytes_ += bytes; }
  bool Spent() const {
    return tables_ >= kTables || bytes_ >= kBytes ||
           (clock_ != nullptr && clock_->MonotonicNow() - began_ >= kTime);
  }
  uint64_t bytes() const { return bytes_; }

 private:
  const Clock* clock_;
  const absl::Duration began_;
  uint64_t tables_ = 0, bytes_ = 0;
};

// How far an operation is, after a step.
struct OperationProgress {
  enum class Next {
    kMore,      // call Step again
    kNothing,   // there is nothing to do now; Step is called again after a wake or a second
    kFinished,  // all done
  };
  Next next = Next::kMore;
  uint64_t done = 0;
  uint64_t total = 0;  // 0: not known; else `done` of a finished operation equals it
  std::string result;  // for people and scripts; what is set last stays
};

// One kind of work. All calls come from one thread at a time.
class LongOperation {
 public:
  virtual ~LongOperation() = default;
  virtual OperationKind kind() const = 0;
  // On what it works, e.g. "PFS DATA"; and in what `done` and `total` count, e.g. "bytes". Called
  // once, when it is started.
  virtual std::string what() const = 0;
  virtual std::string unit() const = 0;
  // A bounded piece of the work; ends soon after `budget` is spent. Returns holding no lock. An
  // error ends the operation.
  virtual absl::StatusOr<OperationProgress> Step(StepBudget& budget) = 0;
  // Called instead of a further Step when somebody has cancelled it. Not called when the volume
  // closes: what wants to go on after a restart must have seen to that.
  virtual void Cancelled() {}
};

// How fast an operation goes: a token bucket whose rate is what the caller has set, halved while
// clients need the device, down to kFloor. Not thread-safe.
class OperationPacer {
 public:
  static constexpr uint64_t kFloor = 1 * kMiB;  // bytes per second that are left to it
  // Without a limit, the rate from which halving starts, and above which it has no effect.
  static constexpr uint64_t kFull = 4 * kGiB;

  explicit OperationPacer(OperationPace pace) : pace_(pace), rate_(Ceiling()) {}
  const OperationPace& pace() const { return pace_; }
  // A step has moved `bytes` and ended at `now`. Returns how long the next one waits.
  absl::Duration After(uint64_t bytes, bool clients_wait, absl::Duration now);

 private:
  uint64_t Ceiling() const { return pace_.bytes_per_second == 0 ? kFull : pace_.bytes_per_second; }

  OperationPace pace_;
  uint64_t rate_;
  absl::Duration next_ = absl::ZeroDuration();  // when what was moved is paid for
};

struct OperationsOptions {
  bool manual = false;  // no thread: steps run inside RunStep and Wait, without any pace
  // Whether clients wait for what operations use, too. Any thread.
  absl::AnyInvocable<bool() const> clients_wait = [] { return false; };
};

// The operations of a volume: those that run, in turns of one step each, and the last that ended.
// At most one of a kind runs. Thread-safe.
class Operations {
 public:
  static constexpr size_t kRemembered = 64;  // ended operations that List still shows

  Operations(Clock& clock, Logger& logger, OperationsOptions options);
  // Calls Stop.
  ~Operations();
  Operations(const Operations&) = delete;
  Operations& operator=(const Operations&) = delete;

  // Gives its id: from 1, never used again while the volume is open. kAlreadyExists when one of the
  // kind runs, kFailedPrecondition with reason VOLUME_CLOSED after Stop.
  absl::StatusOr<uint64_t> Start(std::unique_ptr<LongOperation> operation, OperationPace pace = {})
      ABSL_LOCKS_EXCLUDED(mu_);
  // The operation ends before its next step. OK when it has ended already; kNotFound for an id that
  // is not known.
  absl::Status Cancel(uint64_t id) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status SetPace(uint64_t id, OperationPace pace) ABSL_LOCKS_EXCLUDED(mu_);
  // There is something to do for an operation of this kind that had nothing.
  void Wake(OperationKind kind) ABSL_LOCKS_EXCLUDED(mu_);

  // By id; those that ended before the last kRemembered are forgotten.
  std::vector<OperationInfo> List() const ABSL_LOCKS_EXCLUDED(mu_);
  absl::StatusOr<OperationInfo> Get(uint64_t id) const ABSL_LOCKS_EXCLUDED(mu_);
  // Waits until it has ended; with `manual` by running steps, as long as there is something to do.
  // kDeadlineExceeded when the deadline passes or (manual) nothing is to do; it goes on.
  absl::StatusOr<OperationInfo> Wait(uint64_t id, absl::Time deadline) ABSL_LOCKS_EXCLUDED(mu_);

  // Runs a step of the next operation that has something to do, on the caller's thread (`manual`
  // only). False when none has.
  bool RunStep() ABSL_LOCKS_EXCLUDED(mu_, step_mu_);
  // Waits for the step that runs and ends all operations with reason VOLUME_CLOSED. Idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_, step_mu_);

  void Describe(MetricVisitor& visitor) const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Running {
    std::unique_ptr<LongOperation> operation;  // used by whoever holds step_mu_
    OperationInfo info;
    OperationPacer pacer;
    absl::Duration due;      // when its next step may run
    absl::Duration since;    // when it was started
    uint64_t last_turn = 0;  // operations take turns
    bool cancel = false;
    bool idle = false;   // its last step had nothing to do
    bool woken = false;  // since its last step began
  };
  struct KindMetrics {
    LatencyHistogram step;
    Counter bytes, done, failed, cancelled;
  };

  void Work();
  // Of those that are due (all of them with `manual`) the one whose turn is longest ago.
  std::shared_ptr<Running> NextTurn(uint64_t before_turn) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Duration UntilDue() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether there was something to do.
  bool TakeTurn(Running& turn) ABSL_EXCLUSIVE_LOCKS_REQUIRED(step_mu_) ABSL_LOCKS_EXCLUDED(mu_);
  void Note(Running& turn, const OperationProgress& progress, uint64_t bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void End(Running& turn, OperationState state, const absl::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(step_mu_) ABSL_LOCKS_EXCLUDED(mu_);
  std::shared_ptr<Running> FindRunning(uint64_t id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  const OperationInfo* FindEnded(uint64_t id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  OperationInfo InfoOf(const Running& running) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  KindMetrics& metrics_of(OperationKind kind) { return metrics_[static_cast<size_t>(kind)]; }

  Clock& clock_;
  Logger& logger_;
  const OperationsOptions options_;
  absl::Mutex step_mu_;  // held while a step runs; before mu_
  mutable absl::Mutex mu_;
  absl::CondVar changed_;  // something is due, or has ended
  uint64_t last_id_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t turns_ ABSL_GUARDED_BY(mu_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::shared_ptr<Running>> running_ ABSL_GUARDED_BY(mu_);
  std::deque<OperationInfo> ended_ ABSL_GUARDED_BY(mu_);
  std::array<KindMetrics, kOperationKinds> metrics_;
  std::thread thread_;
};

}  // namespace h2bd
