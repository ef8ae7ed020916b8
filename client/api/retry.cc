#include "client/api/retry.h"

#include <algorithm>
#include <cmath>

#include "core/base/status.h"

namespace h2bd::client {

absl::Duration RetryDelay(const RetryPolicy& policy, int failures, double lot) {
  const absl::Duration full =
      std::min(policy.delay_max, policy.delay_first * std::pow(policy.multiplier, failures - 1));
  return full * (1 - policy.jitter * lot);
}

bool IsRetryable(const absl::Status& status) {
  return absl::IsUnavailable(status) || ReasonOf(status) == kReasonServerBusy;
}

std::optional<absl::Duration> Retrier::NextDelay(const absl::Status& status) {
  ++failures_;
  if (!IsRetryable(status) || failures_ >= policy_.attempts_max) return std::nullopt;
  const double lot = static_cast<double>(env_.random->Next64() >> 11) * 0x1p-53;
  const absl::Duration delay = RetryDelay(policy_, failures_, lot);
  if (env_.clock->WallNow() + delay >= deadline_) return std::nullopt;
  return delay;
}

absl::Status Retry(const RetryPolicy& policy, const RetryEnv& env, absl::Time deadline,
                   absl::FunctionRef<absl::Status()> attempt) {
  Retrier retrier(policy, env, deadline);
  while (true) {
    absl::Status status = attempt();
    if (status.ok()) return status;
    const std::optional<absl::Duration> delay = retrier.NextDelay(status);
    if (!delay.has_value()) return status;
    env.sleep(*delay);
  }
}

}  // namespace h2bd::client
