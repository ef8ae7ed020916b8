#include "core/base/executor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

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

}  // namespace
}  // namespace h2bd
