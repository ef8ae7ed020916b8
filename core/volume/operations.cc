#include "core/volume/operations.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/executor.h"

namespace h2bd {
namespace {

// How long an operation without work sleeps when nobody wakes it.
constexpr absl::Duration kIdle = absl::Seconds(1);
// A pace does not save up more than this for a burst.
constexpr absl::Duration kBurst = absl::Milliseconds(100);

absl::Status UnknownOperation(uint64_t id) {
  return absl::NotFoundError(absl::StrCat("operation ", id, " is not known"));
}

absl::Status ClosedError() {
  return WithReason(absl::FailedPreconditionError("the volume is closed"), kReasonClosed);
}

}  // namespace

absl::string_view Name(OperationKind kind) {
  static constexpr std::array<absl::string_view, kOperationKinds> kNames = {
      "reclaim", "reap", "scrub", "grow", "attest", "sizes", "diff"};
  return kNames[static_cast<size_t>(kind)];
}

absl::string_view Name(OperationState state) {
  static constexpr std::array<absl::string_view, 4> kNames = {"running", "done", "failed",
                                                              "cancelled"};
  return kNames[static_cast<size_t>(state)];
}

absl::Duration OperationPacer::After(uint64_t bytes, bool clients_wait, absl::Duration now) {
  if (clients_wait) {
    rate_ = std::max(std::min(kFloor, Ceiling()), rate_ / 2);
  } else {
    rate_ = rate_ > Ceiling() / 2 ? Ceiling() : rate_ * 2;
  }
  const absl::Duration cost =
      absl::Seconds(static_cast<double>(bytes) / static_cast<double>(rate_));
  next_ = std::max(next_, now - kBurst) + cost;
  return std::max(next_ - now, absl::ZeroDuration());
}

Operations::Operations(Clock& clock, Logger& logger, OperationsOptions options)
    : clock_(clock), logger_(logger), options_(std::move(options)) {
  if (!options_.manual) thread_ = std::thread([this] { Work(); });
}

Operations::~Operations() { Stop(); }

absl::StatusOr<uint64_t> Operations::Start(std::unique_ptr<LongOperation> operation,
                                           OperationPace pace) {
  const OperationKind kind = operation->kind();
  OperationInfo info{.kind = kind,
                     .what = operation->what(),
                     .unit = operation->unit(),
                     .began = clock_.WallNow(),
                     .ended = absl::InfiniteFuture(),
                     .left = absl::InfiniteDuration()};
  absl::MutexLock lock(&mu_);
  if (stopping_) return ClosedError();
  for (const auto& other : running_) {
    if (other->info.kind == kind) {
      return absl::AlreadyExistsError(absl::StrCat("operation ", other->info.id, " (", Name(kind),
                                                   " of ", other->info.what,
                                                   ") runs; one of a kind at a time"));
    }
  }
  info.id = ++last_id_;
  logger_.Info("a long operation begins", {{"operation", absl::StrCat(info.id)},
                                           {"kind", std::string(Name(kind))},
                                           {"what", info.what}});
  const absl::Duration now = clock_.MonotonicNow();
  running_.push_back(std::make_shared<Running>(Running{.operation = std::move(operation),
                                                       .info = std::move(info),
                                                       .pacer = OperationPacer(pace),
                                                       .due = now,
                                                       .since = now}));
  changed_.SignalAll();
  return last_id_;
}

std::shared_ptr<Operations::Running> Operations::FindRunning(uint64_t id) const {
  for (const auto& running : running_) {
    if (running->info.id == id) return running;
  }
  return nullptr;
}

const OperationInfo* Operations::FindEnded(uint64_t id) const {
  for (const OperationInfo& info : ended_) {
    if (info.id == id) return &info;
  }
  return nullptr;
}

absl::Status Operations::Cancel(uint64_t id) {
  absl::MutexLock lock(&mu_);
  if (const auto running = FindRunning(id)) {
    running->cancel = true;
    running->due = clock_.MonotonicNow();
    changed_.SignalAll();
    return absl::OkStatus();
  }
  return FindEnded(id) != nullptr ? absl::OkStatus() : UnknownOperation(id);
}

absl::Status Operations::SetPace(uint64_t id, OperationPace pace) {
  absl::MutexLock lock(&mu_);
  if (const auto running = FindRunning(id)) {
    running->pacer = OperationPacer(pace);
    running->due = std::min(running->due, clock_.MonotonicNow() + kIdle);
    changed_.SignalAll();
    return absl::OkStatus();
  }
  if (FindEnded(id) == nullptr) return UnknownOperation(id);
  return absl::FailedPreconditionError(absl::StrCat("operation ", id, " has ended"));
}

void Operations::Wake(OperationKind kind) {
  absl::MutexLock lock(&mu_);
  for (const auto& running : running_) {
    if (running->info.kind != kind) continue;
    running->woken = true;
    if (running->idle) running->due = clock_.MonotonicNow();
    changed_.SignalAll();
  }
}

OperationInfo Operations::InfoOf(const Running& running) const {
  OperationInfo info = running.info;
  info.pace = running.pacer.pace();
  const absl::Duration elapsed = clock_.MonotonicNow() - running.since;
  if (info.done > 0 && info.total >= info.done) {
    info.left =
        elapsed * (static_cast<double>(info.total - info.done) / static_cast<double>(info.done));
  }
  return info;
}

std::vector<OperationInfo> Operations::List() const {
  absl::MutexLock lock(&mu_);
  std::vector<OperationInfo> list(ended_.begin(), ended_.end());
  for (const auto& running : running_) list.push_back(InfoOf(*running));
  std::sort(list.begin(), list.end(),
            [](const OperationInfo& a, const OperationInfo& b) { return a.id < b.id; });
  return list;
}

absl::StatusOr<OperationInfo> Operations::Get(uint64_t id) const {
  absl::MutexLock lock(&mu_);
  if (const auto running = FindRunning(id)) return InfoOf(*running);
  if (const OperationInfo* info = FindEnded(id)) return *info;
  return UnknownOperation(id);
}

absl::StatusOr<OperationInfo> Operations::Wait(uint64_t id, absl::Time deadline) {
  const auto not_yet = [id] {
    return absl::DeadlineExceededError(
        absl::StrCat("the deadline passed before operation ", id, " ended; it goes on"));
  };
  for (;;) {
    {
      absl::MutexLock lock(&mu_);
      while (!options_.manual && FindRunning(id) != nullptr) {
        if (changed_.WaitWithDeadline(&mu_, deadline) && FindRunning(id) != nullptr) {
          return not_yet();
        }
      }
      if (const OperationInfo* info = FindEnded(id)) return *info;
      if (FindRunning(id) == nullptr) return UnknownOperation(id);
    }
    if (!RunStep()) return not_yet();
  }
}

absl::Duration Operations::UntilDue() const {
  absl::Duration due = absl::InfiniteDuration();
  for (const auto& running : running_) due = std::min(due, running->due);
  return due - clock_.MonotonicNow();
}

std::shared_ptr<Operations::Running> Operations::NextTurn(uint64_t before_turn) {
  const absl::Duration now = clock_.MonotonicNow();
  std::shared_ptr<Running> next;
  for (const auto& running : running_) {
    if (running->last_turn >= before_turn) continue;
    if (!options_.manual && running->due > now) continue;
    if (next == nullptr || running->last_turn < next->last_turn) next = running;
  }
  if (next != nullptr) next->last_turn = ++turns_;
  return next;
}

void Operations::Work() {
  NameThisThread("h2bd-bg");
  for (;;) {
    {
      absl::MutexLock lock(&mu_);
      while (!stopping_) {
        const absl::Duration wait = UntilDue();
        if (wait <= absl::ZeroDuration()) break;
        changed_.WaitWithTimeout(&mu_, wait);
      }
      if (stopping_) return;
    }
    absl::MutexLock step(&step_mu_);
    std::shared_ptr<Running> turn;
    {
      absl::MutexLock lock(&mu_);
      turn = NextTurn(UINT64_MAX);
    }
    if (turn != nullptr) TakeTurn(*turn);
  }
}

bool Operations::RunStep() {
  H2_ASSERT(options_.manual);
  absl::MutexLock step(&step_mu_);
  uint64_t first_turn = 0;
  {
    absl::MutexLock lock(&mu_);
    first_turn = turns_ + 1;
  }
  for (;;) {
    std::shared_ptr<Running> turn;
    {
      absl::MutexLock lock(&mu_);
      turn = NextTurn(first_turn);
    }
    if (turn == nullptr) return false;
    if (TakeTurn(*turn)) return true;
  }
}

bool Operations::TakeTurn(Running& turn) {
  const OperationKind kind = turn.operation->kind();
  bool cancel = false;
  {
    absl::MutexLock lock(&mu_);
    cancel = turn.cancel;
    turn.woken = false;
  }
  if (cancel) {
    turn.operation->Cancelled();
    End(turn, OperationState::kCancelled, absl::OkStatus());
    return true;
  }
  StepBudget budget(options_.manual ? nullptr : &clock_);
  const absl::Duration began = clock_.MonotonicNow();
  const absl::StatusOr<OperationProgress> progress = turn.operation->Step(budget);
  metrics_of(kind).step.Observe(clock_.MonotonicNow() - began);
  metrics_of(kind).bytes.Add(budget.bytes());
  if (!progress.ok()) {
    End(turn, OperationState::kFailed, progress.status());
    return true;
  }
  {
    absl::MutexLock lock(&mu_);
    Note(turn, *progress, budget.bytes());
  }
  if (progress->next == OperationProgress::Next::kFinished) {
    End(turn, OperationState::kDone, absl::OkStatus());
  }
  return progress->next != OperationProgress::Next::kNothing;
}

void Operations::Note(Running& turn, const OperationProgress& progress, uint64_t bytes) {
  turn.info.done = progress.done;
  turn.info.total = progress.total;
  if (!progress.result.empty()) turn.info.result = progress.result;
  const absl::Duration now = clock_.MonotonicNow();
  const absl::Duration pause = turn.pacer.After(bytes, options_.clients_wait(), now);
  turn.idle = progress.next == OperationProgress::Next::kNothing && !turn.woken;
  turn.due = now + (turn.idle ? std::max(pause, kIdle) : pause);
  if (turn.cancel) turn.due = now;
}

void Operations::End(Running& turn, OperationState state, const absl::Status& status) {
  KindMetrics& metrics = metrics_of(turn.operation->kind());
  switch (state) {
    case OperationState::kDone:
      metrics.done.Add();
      break;
    case OperationState::kCancelled:
      metrics.cancelled.Add();
      break;
    case OperationState::kFailed:
    case OperationState::kRunning:
      metrics.failed.Add();
      break;
  }
  turn.operation.reset();  // before anybody is told: what it holds is free then
  absl::MutexLock lock(&mu_);
  OperationInfo info = InfoOf(turn);
  info.state = state;
  info.status = status;
  info.ended = clock_.WallNow();
  info.left = absl::ZeroDuration();
  logger_.Write(state == OperationState::kFailed ? LogSeverity::kWarning : LogSeverity::kInfo,
                "a long operation ended",
                {{"operation", absl::StrCat(info.id)},
                 {"kind", std::string(Name(info.kind))},
                 {"what", info.what},
                 {"state", std::string(Name(state))},
                 {"status", status.ToString()},
                 {"result", info.result}});
  std::erase_if(running_, [&](const auto& running) { return running.get() == &turn; });
  ended_.push_back(std::move(info));
  if (ended_.size() > kRemembered) ended_.pop_front();
  changed_.SignalAll();
}

void Operations::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
    changed_.SignalAll();
  }
  if (thread_.joinable()) thread_.join();
  absl::MutexLock step(&step_mu_);
  for (;;) {
    std::shared_ptr<Running> running;
    {
      absl::MutexLock lock(&mu_);
      if (running_.empty()) return;
      running = running_.back();
    }
    End(*running, OperationState::kFailed, ClosedError());
  }
}

void Operations::Describe(MetricVisitor& visitor) const {
  std::array<double, kOperationKinds> ratio = {};
  std::array<double, kOperationKinds> seconds = {};
  {
    absl::MutexLock lock(&mu_);
    for (const auto& running : running_) {
      const OperationInfo& info = running->info;
      const auto kind = static_cast<size_t>(info.kind);
      seconds[kind] = absl::ToDoubleSeconds(clock_.MonotonicNow() - running->since);
      if (info.total == 0) continue;
      ratio[kind] = static_cast<double>(info.done) / static_cast<double>(info.total);
    }
  }
  for (size_t i = 0; i < kOperationKinds; ++i) {
    const std::string kind(Name(static_cast<OperationKind>(i)));
    const KindMetrics& metrics = metrics_[i];
    visitor.OnGauge("h2bd_operation_progress_ratio",
                    "Part of the running long operation that is done; 0 when none runs or its size "
                    "is not known.",
                    {{"kind", kind}}, ratio[i]);
    visitor.OnGauge("h2bd_operation_running_seconds",
                    "For how long the long operation has been running; 0 when none runs.",
                    {{"kind", kind}}, seconds[i]);
    visitor.OnHistogram("h2bd_operation_step_seconds", "Duration of a step of a long operation.",
                        {{"kind", kind}}, metrics.step);
    visitor.OnCounter("h2bd_operation_bytes_total",
                      "Bytes that long operations have read or written.", {{"kind", kind}},
                      static_cast<double>(metrics.bytes.value()));
    visitor.OnCounter("h2bd_operation_errors_total", "Long operations that ended with an error.",
                      {{"kind", kind}}, static_cast<double>(metrics.failed.value()));
    const auto ended = [&](const char* result, const Counter& counter) {
      visitor.OnCounter("h2bd_operations_total", "Long operations that ended, by how.",
                        {{"kind", kind}, {"result", result}}, static_cast<double>(counter.value()));
    };
    ended("done", metrics.done);
    ended("failed", metrics.failed);
    ended("cancelled", metrics.cancelled);
  }
}

}  // namespace h2bd
