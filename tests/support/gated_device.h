// A device whose calls wait until the test lets them go, so that a test decides what happens while
// one is under way.
#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "tests/support/memory_device.h"

namespace h2bd {

// Holds reads before they return (they have read already), and Syncs before they begin.
// Thread-safe; `inner` outlives it.
class GatedDevice final : public ForwardingDevice {
 public:
  explicit GatedDevice(BlockDevice& inner) : ForwardingDevice(inner) {}
  absl::Status Read(ByteOff off, ByteSpan into) override {
    const absl::Status status = inner_.Read(off, into);
    reads_.Pass();
    return status;
  }
  absl::Status Sync() override {
    syncs_.Pass();
    return inner_.Sync();
  }

  class Gate {
   public:
    void Hold() { Set(true); }
    void LetGo() { Set(false); }
    // Until somebody stands before the gate.
    void AwaitHeld() {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(
          +[](Gate* gate) ABSL_EXCLUSIVE_LOCKS_REQUIRED(gate->mu_) {
            return gate->closed_ && gate->waiting_ > 0;
          },
          this));
    }

   private:
    friend class GatedDevice;
    void Set(bool closed) {
      absl::MutexLock lock(&mu_);
      closed_ = closed;
    }
    void Pass() {
      absl::MutexLock lock(&mu_);
      ++waiting_;
      mu_.Await(absl::Condition(
          +[](Gate* gate) ABSL_EXCLUSIVE_LOCKS_REQUIRED(gate->mu_) { return !gate->closed_; },
          this));
      --waiting_;
    }
    absl::Mutex mu_;
    bool closed_ ABSL_GUARDED_BY(mu_) = false;
    int waiting_ ABSL_GUARDED_BY(mu_) = 0;
  };
  Gate& reads() { return reads_; }
  Gate& syncs() { return syncs_; }

 private:
  Gate reads_, syncs_;
};

}  // namespace h2bd
