// When a failed call is tried again, and how long to wait before.
//
// Only kUnavailable is tried again: the server was not reached, or the connection broke, or its
// device had a passing error. Every other code tells the caller something that a second try does
// not change. Whether a call may be repeated at all is decided where the call is made (client.h
// says it for each).
#pragma once

#include <functional>
#include <optional>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/random.h"

namespace h2bd::client {

struct RetryPolicy {
  int attempts_max = 6;  // 1: never again. About 1.5 s altogether with the delays below
  absl::Duration delay_first = absl::Milliseconds(50);
  absl::Duration delay_max = absl::Seconds(2);
  double multiplier = 2;
  double jitter = 0.5;  // the part of a delay that is drawn by lot: 0 none, 1 all of it
};

// The wait after the `failures`-th failed attempt (from 1). `lot` lies in [0, 1).
absl::Duration RetryDelay(const RetryPolicy& policy, int failures, double lot);

// With kResourceExhausted: the server did nothing, because it had too many calls.
inline constexpr char kReasonServerBusy[] = "SERVER_BUSY";

bool IsRetryable(const absl::Status& status);

// Where retries get time and chance from. All outlive the client.
struct RetryEnv {
  Clock* clock = &SystemClock();
  RandomSource* random = &SystemRandom();
  std::function<void(absl::Duration)> sleep = [](absl::Duration time) { absl::SleepFor(time); };
};

// The state of one operation that may be tried several times.
class Retrier {
 public:
  Retrier(const RetryPolicy& policy, const RetryEnv& env, absl::Time deadline)
      : policy_(policy), env_(env), deadline_(deadline) {}

  // After a failed attempt: how long to wait before the next one. None when `status` is not worth
  // it, the attempts are used up, or the wait would pass the deadline.
  std::optional<absl::Duration> NextDelay(const absl::Status& status);
  // Something succeeded in between: the next failure counts as the first again.
  void Reset() { failures_ = 0; }

 private:
  const RetryPolicy policy_;
  const RetryEnv env_;
  const absl::Time deadline_;
  int failures_ = 0;
};

// Calls `attempt` until it gives OK or no further attempt is due; gives its last status.
absl::Status Retry(const RetryPolicy& policy, const RetryEnv& env, absl::Time deadline,
                   absl::FunctionRef<absl::Status()> attempt);

}  // namespace h2bd::client
