// A device whose calls wait until the test lets them go, so that a test decides what happens while
// one is under way.
#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/device/block_device.h"

namespace h2bd {

// Holds reads before they return (they have read already), and Syncs before they begin.
// Thread-safe; `inner` outlives it.
class GatedDevice final : public BlockDevice {
 public:
  explicit GatedDevice(BlockDevice& inner) : inner_(inner) {}
  absl::Status Read(ByteOff off, ByteSpan into) override {
    const absl::Status status = inner_.Read(off, into);
    reads_.Pass();
    return status;
  }
  absl::Status Write(ByteOff off, ConstByteSpan from) override { return inner_.Write(off, from); }
  absl::Status Sync() override {
    syncs_.Pass();
    return inner_.Sync();
  }
  uint64_t size_bytes() const override { return inner_.size_bytes(); }
  uint32_t sector_bytes() const override { return inner_.sector_bytes(); }
  bool read_only() const override { return inner_.read_only(); }
  const std::string& name() const override { return inner_.name(); }

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
  BlockDevice& inner_;
  Gate reads_, syncs_;
};

}  // namespace h2bd
