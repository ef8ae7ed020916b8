// absl::BlockingCounter for the ThreadSanitizer build only; see mutex.h beside this file.
#pragma once

#include "absl/synchronization/mutex.h"

namespace absl {
namespace for_tsan {

class BlockingCounter {
 public:
  explicit BlockingCounter(int initial_count) : count_(initial_count), done_(initial_count == 0) {}
  // True when this call brought the count to zero.
  bool DecrementCount() {
    MutexLock lock(&mu_);
    done_ = --count_ == 0;
    return done_;
  }
  void Wait() {
    MutexLock lock(&mu_);
    mu_.Await(Condition(&done_));
  }

 private:
  Mutex mu_;
  int count_ ABSL_GUARDED_BY(mu_);
  bool done_ ABSL_GUARDED_BY(mu_);
};

}  // namespace for_tsan

using for_tsan::BlockingCounter;

}  // namespace absl
