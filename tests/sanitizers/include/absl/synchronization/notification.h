// absl::Notification for the ThreadSanitizer build only; see mutex.h beside this file.
#pragma once

#include "absl/synchronization/mutex.h"

namespace absl {
namespace for_tsan {

class Notification {
 public:
  bool HasBeenNotified() const {
    MutexLock lock(&mu_);
    return notified_;
  }
  void WaitForNotification() const {
    MutexLock lock(&mu_);
    mu_.Await(Condition(&notified_));
  }
  bool WaitForNotificationWithTimeout(absl::Duration timeout) const {
    MutexLock lock(&mu_);
    return mu_.AwaitWithTimeout(Condition(&notified_), timeout);
  }
  bool WaitForNotificationWithDeadline(absl::Time deadline) const {
    MutexLock lock(&mu_);
    return mu_.AwaitWithDeadline(Condition(&notified_), deadline);
  }
  void Notify() {
    MutexLock lock(&mu_);
    notified_ = true;
  }

 private:
  mutable Mutex mu_;
  bool notified_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace for_tsan

using for_tsan::Notification;

}  // namespace absl
