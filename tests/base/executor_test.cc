#include "core/base/executor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "absl/synchronization/notification.h"
#include "core/base/clock.h"

namespace h2bd {
namespace {

TEST(ThreadPool, RunsEverythingBeforeItIsGone) {
  std::atomic<int> ran{0};
  {
    ThreadPool pool("test", 3);
    EXPECT_EQ(pool.workers(), 3u);
    for (int i = 0; i < 1000; ++i) pool.Schedule([&ran] { ++ran; });
  }
  EXPECT_EQ(ran, 1000);
}

TEST(ParallelFor, CallsEachIndexOnce) {
  ThreadPool pool("test", 4);
  std::vector<std::atomic<int>> calls(10000);
  ParallelFor(pool, calls.size(), [&](size_t i) { ++calls[i]; });
  for (size_t i = 0; i < calls.size(); ++i) EXPECT_EQ(calls[i], 1) << i;
  ParallelFor(pool, 0, [](size_t) { FAIL(); });
}

TEST(ParallelFor, KeepsTheOrderWithOneWorker) {
  InlineExecutor inline_executor;
  std::vector<size_t> order;
  ParallelFor(inline_executor, 5, [&](size_t i) { order.push_back(i); });
  EXPECT_EQ(order, (std::vector<size_t>{0, 1, 2, 3, 4}));
}

// Spec 04 section 10, h2bd_flush_worker_busy_seconds_total.
TEST(ThreadPool, CountsHowLongEachWorkerRunsTasks) {
  // Before the pool: its tasks use them until it has joined its threads.
  absl::Notification stay, stays, looked;
  std::vector<absl::Duration> times;
  ThreadPool pool("test", 2);
  EXPECT_EQ(pool.BusyTimes(), std::vector<absl::Duration>(2, absl::ZeroDuration()));
  // One worker stays in its task until the end, so all others are the other one's.
  pool.Schedule([&] {
    stays.Notify();
    stay.WaitForNotification();
  });
  stays.WaitForNotification();
  const absl::Duration worked = absl::Milliseconds(2);
  pool.Schedule([&] {
    const absl::Duration began = SystemClock().MonotonicNow();
    while (SystemClock().MonotonicNow() - began < worked) {
    }
  });
  pool.Schedule([&] {
    times = pool.BusyTimes();
    looked.Notify();
  });
  looked.WaitForNotification();
  EXPECT_GE(std::max(times[0], times[1]), worked);
  EXPECT_EQ(std::min(times[0], times[1]), absl::ZeroDuration()) << "its task has not ended";
  stay.Notify();
  EXPECT_TRUE(InlineExecutor().BusyTimes().empty()) << "it has no workers of its own";
}

}  // namespace
}  // namespace h2bd
