#include "server/call_gate.h"

#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "server/status_map.h"

namespace h2bd {
namespace {

absl::Status Busy(absl::string_view what, uint64_t limit) {
  return WithReason(
      absl::ResourceExhaustedError(absl::StrCat("the server has ", limit, " ", what,
                                                " in flight, its limit; try again later")),
      kReasonServerBusy);
}

}  // namespace

absl::Status ShuttingDownError() {
  return WithReason(absl::UnavailableError("the server is shutting down"), kReasonShuttingDown);
}

absl::Status CallGate::EnterCall(uint64_t bytes) {
  absl::MutexLock lock(&mu_);
  if (draining_) return ShuttingDownError();
  if (calls_ >= limits_.max_calls) return Busy("calls", limits_.max_calls);
  if (calls_ > 0 && bytes > 0 && call_bytes_ + bytes > limits_.max_call_bytes) {
    return Busy("payload bytes", limits_.max_call_bytes);
  }
  ++calls_;
  call_bytes_ += bytes;
  return absl::OkStatus();
}

void CallGate::LeaveCall(uint64_t bytes) {
  absl::MutexLock lock(&mu_);
  H2_ASSERT(calls_ > 0 && call_bytes_ >= bytes);
  --calls_;
  call_bytes_ -= bytes;
}

absl::Status CallGate::EnterChannel() {
  absl::MutexLock lock(&mu_);
  if (draining_) return ShuttingDownError();
  if (channels_ >= limits_.max_channels) return Busy("Channel streams", limits_.max_channels);
  ++channels_;
  return absl::OkStatus();
}

void CallGate::LeaveChannel() {
  absl::MutexLock lock(&mu_);
  H2_ASSERT(channels_ > 0);
  --channels_;
}

void CallGate::Drain() {
  absl::MutexLock lock(&mu_);
  draining_ = true;
}

bool CallGate::WaitIdle(absl::Duration timeout) {
  absl::MutexLock lock(&mu_);
  return mu_.AwaitWithTimeout(absl::Condition(this, &CallGate::IdleLocked), timeout);
}

}  // namespace h2bd
