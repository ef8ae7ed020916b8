// Bounds on what is in flight, and the way to stop (P10).
#pragma once

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/config.h"

namespace h2bd {

// Everything that works for a client holds a place here. Thread-safe, never waits except in
// WaitIdle.
class CallGate {
 public:
  explicit CallGate(const LimitsConfig& limits) : limits_(limits) {}

  // A place for a call that holds `bytes` of payload. kResourceExhausted with reason SERVER_BUSY at
  // a limit (one call may always be in flight, whatever its size), kUnavailable with reason
  // SHUTTING_DOWN after Drain.
  absl::Status EnterCall(uint64_t bytes) ABSL_LOCKS_EXCLUDED(mu_);
  void LeaveCall(uint64_t bytes) ABSL_LOCKS_EXCLUDED(mu_);
  // The same for a Channel stream.
  absl::Status EnterChannel() ABSL_LOCKS_EXCLUDED(mu_);
  void LeaveChannel() ABSL_LOCKS_EXCLUDED(mu_);

  // From now on nothing enters.
  void Drain() ABSL_LOCKS_EXCLUDED(mu_);
  // Whether everything has left before `timeout` is over.
  bool WaitIdle(absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  bool IdleLocked() const ABSL_SHARED_LOCKS_REQUIRED(mu_) { return calls_ == 0 && channels_ == 0; }

  const LimitsConfig limits_;
  absl::Mutex mu_;
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
  uint32_t calls_ ABSL_GUARDED_BY(mu_) = 0;
  uint32_t channels_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t call_bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

// What a refused stream or call gets once the server drains.
absl::Status ShuttingDownError();

}  // namespace h2bd
