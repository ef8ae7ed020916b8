// absl::Mutex for the ThreadSanitizer build only.
//
// Debian's Abseil is built without ThreadSanitizer, so the sanitizer sees none of the
// synchronization inside its Mutex and would call every guarded access a race. This header stands
// before Abseil's own and gives the same interface over POSIX locks, which the sanitizer knows.
// The classes have other symbols than the library's, so that nothing is mixed up with its code; a
// Mutex has the library's size, so that classes in other headers which contain one keep their
// layout.
#pragma once

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <utility>

#include "absl/base/config.h"
#include "absl/base/const_init.h"
#include "absl/base/thread_annotations.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

// Other Abseil headers declare these two ahead, in Abseil's own namespace.
#define Mutex MutexForTsan
#define CondVar CondVarForTsan

namespace absl {
namespace for_tsan {

// A predicate over state that the mutex guards.
class Condition {
 public:
  Condition(bool (*function)(void*), void* argument)
      : holds_([function, argument] { return function(argument); }) {}
  template <typename T>
  Condition(bool (*function)(T*), T* argument)
      : holds_([function, argument] { return function(argument); }) {}
  template <typename T, typename U>
  Condition(T* object, bool (U::*method)())
      : holds_([object, method] { return (object->*method)(); }) {}
  template <typename T, typename U>
  Condition(const T* object, bool (U::*method)() const)
      : holds_([object, method] { return (object->*method)(); }) {}
  template <typename T, typename = decltype(std::declval<const T&>()())>
  explicit Condition(const T* functor) : holds_([functor] { return (*functor)(); }) {}
  explicit Condition(const bool* flag) : holds_([flag] { return *flag; }) {}

  bool Eval() const { return holds_(); }

 private:
  std::function<bool()> holds_;
};

}  // namespace for_tsan

using for_tsan::Condition;

ABSL_NAMESPACE_BEGIN

class ABSL_LOCKABLE Mutex {
 public:
  Mutex() = default;
  explicit constexpr Mutex(absl::ConstInitType) {}
  ~Mutex() { delete state_.load(std::memory_order_acquire); }
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { pthread_rwlock_wrlock(&state().lock); }
  bool TryLock() ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) {
    return pthread_rwlock_trywrlock(&state().lock) == 0;
  }
  void Unlock() ABSL_UNLOCK_FUNCTION() { Release(); }
  void ReaderLock() ABSL_SHARED_LOCK_FUNCTION() { pthread_rwlock_rdlock(&state().lock); }
  bool ReaderTryLock() ABSL_SHARED_TRYLOCK_FUNCTION(true) {
    return pthread_rwlock_tryrdlock(&state().lock) == 0;
  }
  void ReaderUnlock() ABSL_UNLOCK_FUNCTION() { Release(); }
  void WriterLock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { Lock(); }
  bool WriterTryLock() ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) { return TryLock(); }
  void WriterUnlock() ABSL_UNLOCK_FUNCTION() { Unlock(); }

  void AssertHeld() const ABSL_ASSERT_EXCLUSIVE_LOCK() {}
  void AssertReaderHeld() const ABSL_ASSERT_SHARED_LOCK() {}
  void AssertNotHeld() const {}

  // The caller holds the lock exclusively before and after.
  void Await(const Condition& condition) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    AwaitWithDeadline(condition, absl::InfiniteFuture());
  }
  bool AwaitWithTimeout(const Condition& condition, absl::Duration timeout) {
    return AwaitWithDeadline(condition, absl::Now() + timeout);
  }
  bool AwaitWithDeadline(const Condition& condition,
                         absl::Time deadline) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    while (!condition.Eval()) {
      if (!WaitForChange(deadline)) return condition.Eval();
    }
    return true;
  }
  void LockWhen(const Condition& condition) ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    Lock();
    Await(condition);
  }
  bool LockWhenWithTimeout(const Condition& condition, absl::Duration timeout)
      ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    Lock();
    return AwaitWithTimeout(condition, timeout);
  }
  bool LockWhenWithDeadline(const Condition& condition, absl::Time deadline)
      ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    Lock();
    return AwaitWithDeadline(condition, deadline);
  }

 private:
  friend class CondVar;

  // The lock alone, as condition variables take it.
  struct Lockable {
    pthread_rwlock_t& rwlock;
    void lock() { pthread_rwlock_wrlock(&rwlock); }
    void unlock() { pthread_rwlock_unlock(&rwlock); }
  };

  struct State {
    State() {
      pthread_rwlockattr_t attributes;
      pthread_rwlockattr_init(&attributes);
      // As with Abseil, readers that come and go must not keep a writer out for ever.
      pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
      pthread_rwlock_init(&lock, &attributes);
      pthread_rwlockattr_destroy(&attributes);
    }
    ~State() { pthread_rwlock_destroy(&lock); }
    pthread_rwlock_t lock;
    std::condition_variable_any changed;
    std::atomic<int> waiters{0};
  };

  // Made at the first use, so that a Mutex of static storage needs no constructor to run.
  State& state() {
    State* made = state_.load(std::memory_order_acquire);
    if (made != nullptr) return *made;
    State* fresh = new State;
    if (state_.compare_exchange_strong(made, fresh, std::memory_order_acq_rel)) return *fresh;
    delete fresh;
    return *made;
  }

  // Those who wait for a condition look at it again once the caller has given up the lock.
  void Wake() {
    State& s = state();
    if (s.waiters.load(std::memory_order_relaxed) > 0) s.changed.notify_all();
  }

  // Wakes before it unlocks: afterwards somebody may already have destroyed the mutex.
  void Release() {
    Wake();
    pthread_rwlock_unlock(&state().lock);
  }

  // Gives the lock up until somebody else has held it, or the deadline has passed (false).
  bool WaitForChange(absl::Time deadline) {
    Wake();
    State& s = state();
    s.waiters.fetch_add(1, std::memory_order_relaxed);
    const bool in_time = WaitOn(s.changed, deadline);
    s.waiters.fetch_sub(1, std::memory_order_relaxed);
    return in_time;
  }

  bool WaitOn(std::condition_variable_any& changed, absl::Time deadline) {
    Lockable lock{state().lock};
    if (deadline == absl::InfiniteFuture()) {
      changed.wait(lock);
      return true;
    }
    const absl::Duration left = deadline - absl::Now();
    return left > absl::ZeroDuration() &&
           changed.wait_for(lock, absl::ToChronoNanoseconds(left)) == std::cv_status::no_timeout;
  }

  std::atomic<State*> state_{nullptr};
};
static_assert(sizeof(Mutex) == sizeof(std::atomic<std::intptr_t>), "as large as Abseil's own");

class CondVar {
 public:
  void Wait(Mutex* mu) { WaitWithDeadline(mu, absl::InfiniteFuture()); }
  // True when the deadline passed first.
  bool WaitWithDeadline(Mutex* mu, absl::Time deadline) {
    mu->Wake();
    return !mu->WaitOn(changed_, deadline);
  }
  bool WaitWithTimeout(Mutex* mu, absl::Duration timeout) {
    return WaitWithDeadline(mu, absl::Now() + timeout);
  }
  void Signal() { changed_.notify_one(); }
  void SignalAll() { changed_.notify_all(); }

 private:
  std::condition_variable_any changed_;
};

ABSL_NAMESPACE_END

namespace for_tsan {

class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex* mu) ABSL_EXCLUSIVE_LOCK_FUNCTION(mu) : mu_(mu) { mu_->Lock(); }
  MutexLock(Mutex* mu, const Condition& condition) ABSL_EXCLUSIVE_LOCK_FUNCTION(mu) : mu_(mu) {
    mu_->LockWhen(condition);
  }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mu_->Unlock(); }
  MutexLock(const MutexLock&) = delete;

 private:
  Mutex* const mu_;
};
using WriterMutexLock = MutexLock;

class ABSL_SCOPED_LOCKABLE ReaderMutexLock {
 public:
  explicit ReaderMutexLock(Mutex* mu) ABSL_SHARED_LOCK_FUNCTION(mu) : mu_(mu) { mu_->ReaderLock(); }
  ~ReaderMutexLock() ABSL_UNLOCK_FUNCTION() { mu_->ReaderUnlock(); }
  ReaderMutexLock(const ReaderMutexLock&) = delete;

 private:
  Mutex* const mu_;
};

class ABSL_SCOPED_LOCKABLE ReleasableMutexLock {
 public:
  explicit ReleasableMutexLock(Mutex* mu) ABSL_EXCLUSIVE_LOCK_FUNCTION(mu) : mu_(mu) {
    mu_->Lock();
  }
  ~ReleasableMutexLock() ABSL_UNLOCK_FUNCTION() {
    if (mu_ != nullptr) mu_->Unlock();
  }
  void Release() ABSL_UNLOCK_FUNCTION() { std::exchange(mu_, nullptr)->Unlock(); }
  ReleasableMutexLock(const ReleasableMutexLock&) = delete;

 private:
  Mutex* mu_;
};

}  // namespace for_tsan

using for_tsan::MutexLock;
using for_tsan::ReaderMutexLock;
using for_tsan::ReleasableMutexLock;
using for_tsan::WriterMutexLock;

}  // namespace absl
