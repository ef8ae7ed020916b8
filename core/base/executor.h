// Where work runs, behind a seam: a pool of threads in the server, the caller's own thread in a
// deterministic test.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace h2bd {

// Thread-safe. Tasks must not wait for tasks that were scheduled later.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual void Schedule(absl::AnyInvocable<void()> task) = 0;
  // How many tasks can run at the same time; 1 means that order is the order of Schedule.
  virtual size_t workers() const = 0;
  // How long each worker has run tasks; empty where the callers' threads run them.
  virtual std::vector<absl::Duration> BusyTimes() const { return {}; }
  // ParallelFor; another order of the calls than this one's is legal, too.
  virtual void RunAll(size_t n, absl::FunctionRef<void(size_t)> body);
};

// Runs each task inside Schedule.
class InlineExecutor final : public Executor {
 public:
  void Schedule(absl::AnyInvocable<void()> task) override { task(); }
  size_t workers() const override { return 1; }
};

// A fixed number of threads, FIFO. The destructor runs what is queued, then joins.
class ThreadPool final : public Executor {
 public:
  // `name` is at most 15 bytes, as the kernel shows threads.
  ThreadPool(const std::string& name, size_t threads);
  ~ThreadPool() override;
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  void Schedule(absl::AnyInvocable<void()> task) override;
  size_t workers() const override { return threads_.size(); }
  std::vector<absl::Duration> BusyTimes() const override;

 private:
  void Work(std::atomic<int64_t>& busy_ns);
  absl::Mutex mu_;
  std::deque<absl::AnyInvocable<void()>> queue_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<std::atomic<int64_t>> busy_ns_;  // of each thread
  std::vector<std::thread> threads_;
};

// Calls body(i) for i in [0, n) on the executor and returns when all have returned. In order on
// an executor with one worker. Must not be called from a task of the same executor.
void ParallelFor(Executor& executor, size_t n, absl::FunctionRef<void(size_t)> body);

// Names the calling thread for debuggers and top; at most 15 bytes.
void NameThisThread(const std::string& name);

// Called between the pieces of work in bulk. A client's thread that has woken up runs at once then;
// otherwise it may wait until the kernel's next tick, for milliseconds, while all processors are
// busy. Less than a microsecond when nobody waits.
void LetOthersRun();

}  // namespace h2bd
