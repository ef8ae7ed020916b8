#include "core/base/executor.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "core/base/clock.h"
#include "core/base/status.h"

namespace h2bd {

ThreadPool::ThreadPool(const std::string& name, size_t threads) {
  H2_ASSERT(threads > 0);
  threads_.reserve(threads);
  for (size_t i = 0; i < threads; ++i) {
    std::atomic<int64_t>& busy_ns = busy_ns_.emplace_back(0);
    threads_.emplace_back([this, &busy_ns, thread_name = absl::StrCat(name, i)] {
      NameThisThread(thread_name);
      Work(busy_ns);
    });
  }
}

ThreadPool::~ThreadPool() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::Schedule(absl::AnyInvocable<void()> task) {
  absl::MutexLock lock(&mu_);
  queue_.push_back(std::move(task));
}

std::vector<absl::Duration> ThreadPool::BusyTimes() const {
  std::vector<absl::Duration> times;
  for (const std::atomic<int64_t>& busy_ns : busy_ns_) {
    times.push_back(absl::Nanoseconds(busy_ns.load(std::memory_order_relaxed)));
  }
  return times;
}

void ThreadPool::Work(std::atomic<int64_t>& busy_ns) {
  for (;;) {
    absl::AnyInvocable<void()> task;
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(
          +[](ThreadPool* pool) ABSL_EXCLUSIVE_LOCKS_REQUIRED(pool->mu_) {
            return pool->stopping_ || !pool->queue_.empty();
          },
          this));
      if (queue_.empty()) return;
      task = std::move(queue_.front());
      queue_.pop_front();
    }
    const absl::Duration began = SystemClock().MonotonicNow();
    task();
    task = nullptr;  // what it holds goes while it is still counted
    busy_ns.fetch_add(absl::ToInt64Nanoseconds(SystemClock().MonotonicNow() - began),
                      std::memory_order_relaxed);
  }
}

void ParallelFor(Executor& executor, size_t n, absl::FunctionRef<void(size_t)> body) {
  executor.RunAll(n, body);
}

void Executor::RunAll(size_t n, absl::FunctionRef<void(size_t)> body) {
  const size_t tasks = std::min(n, workers());
  if (tasks <= 1) {
    for (size_t i = 0; i < n; ++i) body(i);
    return;
  }
  std::atomic<size_t> next{0};
  absl::BlockingCounter running(static_cast<int>(tasks));
  for (size_t t = 0; t < tasks; ++t) {
    Schedule([&] {
      for (size_t i = next.fetch_add(1); i < n; i = next.fetch_add(1)) {
        body(i);
        LetOthersRun();
      }
      running.DecrementCount();
    });
  }
  running.Wait();
}

void NameThisThread(const std::string& name) {
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
}

void LetOthersRun() { sched_yield(); }

}  // namespace h2bd
