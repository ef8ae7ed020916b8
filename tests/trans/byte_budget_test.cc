// Memory of unflushed data: the slope before the limit, the limit, and fairness (spec 04 F-280 to
// F-283, D-20).
#include "core/trans/byte_budget.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace h2bd {
namespace {

constexpr uint64_t kLimit = 1000 * 1000;
constexpr uint64_t kStart = kLimit / 2;
const absl::Time kNow = absl::InfinitePast();  // a deadline that has passed: never wait

class ByteBudgetTest : public ::testing::Test {
 protected:
  // What a disk does: charge, then hold.
  bool Take(BudgetAccount& payer, uint64_t bytes) {
    if (!budget_.Charge(bytes, kNow, &payer).ok()) return false;
    budget_.Attribute(payer, static_cast<int64_t>(bytes));
    return true;
  }
  std::atomic<int> pressed_{0};
  ByteBudget budget_{kLimit, kStart, SystemClock(), [this] { ++pressed_; }, /*throttle=*/true};
  BudgetAccount a_, b_;
};

TEST_F(ByteBudgetTest, PressureBeginsAtTheMark) {
  ASSERT_TRUE(Take(a_, kStart));
  EXPECT_EQ(pressed_, 0);
  ASSERT_TRUE(Take(a_, 1));
  EXPECT_EQ(pressed_, 1);
}

// P7: no wall. The delay is zero up to the slope, and grows with each byte on it.
TEST_F(ByteBudgetTest, TheDelayGrowsTowardsTheLimit) {
  budget_.NoteDrained(100 * 1000 * 1000, absl::Seconds(10));  // a slow device
  absl::Duration last = absl::ZeroDuration();
  bool slowed = false;
  for (uint64_t used = 0; used + 10000 <= kLimit; used += 10000) {
    const absl::Duration delay = budget_.Slowdown(10000, &a_);
    if (used <= kLimit * 3 / 4) {
      EXPECT_EQ(delay, absl::ZeroDuration()) << used;
    }
    EXPECT_GE(delay, last) << used;
    slowed |= delay > last;
    last = delay;
    ASSERT_TRUE(Take(a_, 10000));
  }
  EXPECT_TRUE(slowed);
  EXPECT_GE(last, absl::Milliseconds(10));
  EXPECT_LE(last, absl::Milliseconds(100));
}

TEST_F(ByteBudgetTest, AFasterDeviceSlowsWritersLess) {
  ASSERT_TRUE(Take(a_, kLimit * 9 / 10));
  budget_.NoteDrained(1 << 20, absl::Seconds(1));
  const absl::Duration slow = budget_.Slowdown(50000, &a_);
  for (int i = 0; i < 20; ++i) budget_.NoteDrained(uint64_t{1} << 30, absl::Milliseconds(1));
  EXPECT_LT(budget_.Slowdown(50000, &a_), slow);
}

// F-282: a disk that fills memory neither slows down nor stops one that holds little.
TEST_F(ByteBudgetTest, ABusyPayerLeavesRoomForTheOthers) {
  budget_.NoteDrained(1 << 20, absl::Seconds(1));
  ASSERT_TRUE(Take(b_, 1000));
  uint64_t taken = 0;
  while (Take(a_, 10000)) taken += 10000;
  EXPECT_LE(taken, kLimit - kLimit / 8);
  EXPECT_GT(budget_.Slowdown(10000, &a_), absl::ZeroDuration());
  EXPECT_EQ(budget_.Slowdown(10000, &b_), absl::ZeroDuration());
  EXPECT_TRUE(budget_.WouldWait(10000, &a_));
  EXPECT_FALSE(budget_.WouldWait(10000, &b_));
  EXPECT_TRUE(Take(b_, 10000));
  BudgetAccount fresh;
  EXPECT_TRUE(Take(fresh, 10000)) << "and one that holds nothing yet";
}

TEST_F(ByteBudgetTest, APayerAloneHasAllOfIt) {
  uint64_t taken = 0;
  while (Take(a_, 10000)) taken += 10000;
  EXPECT_EQ(taken, kLimit);
}

// A payer below the average passes those who wait at the limit.
TEST_F(ByteBudgetTest, WhoHoldsLittlePassesThoseWhoWait) {
  ASSERT_TRUE(Take(b_, 1000));
  while (Take(a_, 10000)) {
  }
  std::thread waiting(
      [&] { EXPECT_EQ(budget_.Charge(50000, absl::InfiniteFuture(), &a_), absl::OkStatus()); });
  while (!budget_.has_waiters()) std::this_thread::yield();
  EXPECT_TRUE(Take(b_, 10000));
  budget_.Release(200000, &a_);
  waiting.join();
  EXPECT_FALSE(budget_.has_waiters());
}

TEST_F(ByteBudgetTest, WhatIsReleasedIsTheirsNoMore) {
  ASSERT_TRUE(Take(a_, 5000));
  ASSERT_TRUE(Take(a_, 7000));
  budget_.Attribute(a_, -2000);  // a change that freed memory
  budget_.Release(2000);
  EXPECT_EQ(a_.bytes(), 10000u);
  budget_.Release(10000, &a_);
  EXPECT_EQ(a_.bytes(), 0u);
  EXPECT_EQ(budget_.used(), 0u);
}

TEST_F(ByteBudgetTest, OneChargeAboveTheLimitGoesThroughAlone) {
  EXPECT_EQ(budget_.Charge(3 * kLimit, kNow, &a_), absl::OkStatus());
  EXPECT_EQ(budget_.Charge(1, kNow, &b_).code(), absl::StatusCode::kDeadlineExceeded);
}

// A payer that no cycle can relieve: the others do not notice, and it never waits.
TEST_F(ByteBudgetTest, WhatIsSetAsideDoesNotCountForTheOthers) {
  ASSERT_TRUE(Take(a_, kLimit));
  std::thread waiting([&] {
    EXPECT_EQ(budget_.Charge(kLimit / 2, absl::InfiniteFuture(), &b_), absl::OkStatus());
    budget_.Attribute(b_, static_cast<int64_t>(kLimit / 2));
  });
  while (!budget_.has_waiters()) std::this_thread::yield();
  budget_.SetAside(a_);
  waiting.join();
  EXPECT_EQ(budget_.used(), kLimit / 2);
  EXPECT_EQ(budget_.aside(), kLimit);
  EXPECT_EQ(budget_.Charge(1, absl::InfiniteFuture(), &a_).code(),
            absl::StatusCode::kResourceExhausted);
  budget_.Attribute(a_, -1000);  // a change that freed memory
  budget_.Release(1000);
  EXPECT_TRUE(Take(a_, 500));
  EXPECT_EQ(budget_.aside(), kLimit - 500);
  EXPECT_EQ(budget_.used(), kLimit / 2);
  budget_.TakeBack(a_);
  EXPECT_EQ(budget_.used(), kLimit / 2 + kLimit - 500);
  EXPECT_EQ(budget_.aside(), 0u);
  budget_.Release(kLimit - 500, &a_);
  budget_.Release(kLimit / 2, &b_);
  EXPECT_EQ(budget_.used(), 0u);
}

// First come, first served: a small charge does not take what a large one waits for.
TEST_F(ByteBudgetTest, NewcomersWaitBehindThoseWhoWait) {
  ASSERT_TRUE(Take(a_, kLimit));
  std::atomic<bool> large_came{false};
  std::thread large([&] {
    EXPECT_EQ(budget_.Charge(kLimit / 2, absl::InfiniteFuture()), absl::OkStatus());
    large_came = true;
  });
  while (!budget_.has_waiters()) std::this_thread::yield();
  budget_.Release(kLimit / 4, &a_);
  EXPECT_EQ(budget_.Charge(1, absl::Now() + absl::Milliseconds(20)).code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(large_came);
  budget_.Release(kLimit / 4, &a_);
  large.join();
}

TEST_F(ByteBudgetTest, CloseWakesWhoWaits) {
  ASSERT_TRUE(Take(a_, kLimit));
  std::thread waiting([&] {
    EXPECT_EQ(budget_.Charge(1, absl::InfiniteFuture(), &a_).code(), absl::StatusCode::kAborted);
  });
  while (!budget_.has_waiters()) std::this_thread::yield();
  budget_.Close(absl::AbortedError("over"));
  waiting.join();
  EXPECT_EQ(budget_.Charge(1, kNow).code(), absl::StatusCode::kAborted);
}

}  // namespace
}  // namespace h2bd
