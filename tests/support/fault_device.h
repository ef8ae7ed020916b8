// Devices that fail on purpose.
#pragma once

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "tests/support/memory_device.h"

namespace h2bd {

// Which calls fail, and how. One plan may serve all devices of a volume: it counts their calls
// together. A fault test counts `fail_at` up from 1 until reached() is false: each I/O of the
// operation has then failed once.
struct FaultPlan {
  enum class Effect {
    kNothing,  // the device did nothing: the common EIO
    kShort,    // the first half of the sectors was written, then it failed
    kWhole,  // everything was done, and an error came back nevertheless (spec 04 section 11, row 7)
  };
  uint64_t fail_at = 1;  // the n-th chosen call, from 1; 0: none
  bool sticky = false;   // and every chosen call after it
  bool reads = false;
  bool writes = true;
  bool syncs = true;
  Effect effect = Effect::kNothing;
  // Only transfers that touch [begin, end) of their device are chosen; a Sync touches everything.
  uint64_t begin = 0;
  uint64_t end = UINT64_MAX;
};

// Counts and decides. Thread-safe.
class FaultPoint {
 public:
  explicit FaultPoint(const FaultPlan& plan) : plan_(plan) {}
  // True when this call must fail.
  bool HitTransfer(bool write, ByteOff off, uint64_t bytes);
  bool HitSync();
  // Whether the n-th call happened.
  bool reached() const;
  uint64_t calls() const;  // chosen ones so far
  // The same device later: the count starts again.
  void Reset(const FaultPlan& plan);
  FaultPlan::Effect effect() const;

 private:
  bool CountLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  mutable absl::Mutex mu_;
  FaultPlan plan_ ABSL_GUARDED_BY(mu_);
  uint64_t calls_ ABSL_GUARDED_BY(mu_) = 0;
};

// Passes calls on to `inner` until `point` says otherwise; then kUnavailable, "injected fault".
// Batches are taken apart, so that each of their transfers counts. Put it above a RecordingDevice:
// then the log holds what truly reached the device. Thread-safe as far as `inner` is; both
// arguments outlive it.
class FaultDevice final : public ForwardingDevice {
 public:
  FaultDevice(BlockDevice& inner, FaultPoint& point) : ForwardingDevice(inner), point_(point) {}
  absl::Status Read(ByteOff off, ByteSpan into) override;
  absl::Status Write(ByteOff off, ConstByteSpan from) override;
  absl::Status Sync() override;

 private:
  FaultPoint& point_;
};

}  // namespace h2bd
