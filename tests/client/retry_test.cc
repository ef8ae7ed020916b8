#include "client/api/retry.h"

#include <gtest/gtest.h>

#include <vector>

#include "core/base/status.h"

namespace h2bd::client {
namespace {

class FakeClock final : public Clock {
 public:
  absl::Time WallNow() const override { return absl::UnixEpoch() + now; }
  absl::Duration MonotonicNow() const override { return now; }
  absl::Duration now;
};

class RetryTest : public testing::Test {
 protected:
  RetryEnv Env() {
    return {.clock = &clock_, .random = &random_, .sleep = [this](absl::Duration time) {
              slept_.push_back(time);
              clock_.now += time;
            }};
  }

  FakeClock clock_;
  SeededRandom random_{42};
  std::vector<absl::Duration> slept_;
};

TEST(RetryDelay, GrowsToItsLimitAndJitterOnlyShortensIt) {
  const RetryPolicy policy{.attempts_max = 10,
                           .delay_first = absl::Milliseconds(50),
                           .delay_max = absl::Milliseconds(300),
                           .multiplier = 2,
                           .jitter = 0.5};
  struct Case {
    int failures;
    double lot;
    absl::Duration delay;
  };
  for (const Case& c :
       {Case{1, 0, absl::Milliseconds(50)}, Case{2, 0, absl::Milliseconds(100)},
        Case{3, 0, absl::Milliseconds(200)}, Case{4, 0, absl::Milliseconds(300)},
        Case{60, 0, absl::Milliseconds(300)}, Case{2, 0.5, absl::Milliseconds(75)}}) {
    EXPECT_EQ(RetryDelay(policy, c.failures, c.lot), c.delay) << c.failures;
  }
}

TEST_F(RetryTest, TriesUntilItWorks) {
  int calls = 0;
  const absl::Status status = Retry({}, Env(), absl::InfiniteFuture(), [&] {
    return ++calls < 4 ? absl::UnavailableError("no") : absl::OkStatus();
  });
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(calls, 4);
  ASSERT_EQ(slept_.size(), 3u);
  for (size_t i = 0; i < slept_.size(); ++i) {
    const absl::Duration full = RetryDelay({}, static_cast<int>(i) + 1, 0);
    EXPECT_LE(slept_[i], full);
    EXPECT_GE(slept_[i], full / 2);
  }
}

TEST_F(RetryTest, GivesUpWhenTheAttemptsAreUsedUp) {
  int calls = 0;
  const absl::Status status = Retry({.attempts_max = 3}, Env(), absl::InfiniteFuture(), [&] {
    ++calls;
    return absl::UnavailableError("no");
  });
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_EQ(calls, 3);
}

TEST_F(RetryTest, DoesNotWaitPastTheDeadline) {
  int calls = 0;
  const absl::Time deadline = clock_.WallNow() + absl::Milliseconds(60);
  const absl::Status status = Retry({.jitter = 0}, Env(), deadline, [&] {
    ++calls;
    return absl::UnavailableError("no");
  });
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_EQ(calls, 2);  // at 0 and 50 ms; the next would be at 150 ms
  EXPECT_LT(clock_.WallNow(), deadline);
}

TEST_F(RetryTest, OnlyUnavailableIsTriedAgain) {
  for (int code = 1; code <= 16; ++code) {
    int calls = 0;
    const absl::Status status = Retry({.attempts_max = 2}, Env(), absl::InfiniteFuture(), [&] {
      ++calls;
      return absl::Status(static_cast<absl::StatusCode>(code), "no");
    });
    EXPECT_EQ(calls, absl::IsUnavailable(status) ? 2 : 1) << status;
  }
}

TEST_F(RetryTest, ABusyServerIsAskedAgain) {
  int calls = 0;
  const absl::Status status = Retry({}, Env(), absl::InfiniteFuture(), [&] {
    return ++calls == 1 ? WithReason(absl::ResourceExhaustedError("busy"), "SERVER_BUSY")
                        : absl::OkStatus();
  });
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(calls, 2);
}

TEST_F(RetryTest, SuccessInBetweenStartsTheCountAnew) {
  Retrier retrier({.attempts_max = 3, .jitter = 0}, Env(), absl::InfiniteFuture());
  const absl::Status no = absl::UnavailableError("no");
  EXPECT_EQ(retrier.NextDelay(no), absl::Milliseconds(50));
  EXPECT_EQ(retrier.NextDelay(no), absl::Milliseconds(100));
  retrier.Reset();
  EXPECT_EQ(retrier.NextDelay(no), absl::Milliseconds(50));
  EXPECT_EQ(retrier.NextDelay(no), absl::Milliseconds(100));
  EXPECT_EQ(retrier.NextDelay(no), std::nullopt);
}

}  // namespace
}  // namespace h2bd::client
