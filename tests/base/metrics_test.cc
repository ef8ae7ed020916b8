#include "core/base/metrics.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace h2bd {
namespace {

TEST(Histogram, PutsAValueIntoTheBucketWhoseBoundHoldsIt) {
  LatencyHistogram histogram;
  histogram.Observe(absl::Microseconds(50));  // bounds are inclusive
  histogram.Observe(absl::Microseconds(51));
  histogram.Observe(absl::Minutes(2));
  const Histogram::Snapshot read = histogram.Read();
  EXPECT_EQ(read.buckets.front(), 1u);
  EXPECT_EQ(read.buckets[1], 1u);
  EXPECT_EQ(read.buckets.back(), 1u);
  EXPECT_EQ(read.count, 3u);
  EXPECT_NEAR(read.sum, 120.000101, 1e-9);
}

TEST(Histogram, BoundsAscendFrom50MicrosecondsTo60Seconds) {
  const auto bounds = LatencyBuckets();
  EXPECT_DOUBLE_EQ(bounds.front(), 50e-6);
  EXPECT_DOUBLE_EQ(bounds.back(), 60);
  for (size_t i = 1; i < bounds.size(); ++i) EXPECT_LT(bounds[i - 1], bounds[i]);
}

TEST(Metrics, LoseNothingBetweenThreads) {
  Counter counter;
  Gauge gauge;
  Histogram histogram(CountBuckets());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10000; ++i) {
        counter.Add(2);
        gauge.Add(1);
        gauge.Add(-1);
        histogram.Observe(3);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counter.value(), 80000u);
  EXPECT_EQ(gauge.value(), 0);
  EXPECT_EQ(histogram.Read().count, 40000u);
  EXPECT_DOUBLE_EQ(histogram.Read().sum, 120000);
}

}  // namespace
}  // namespace h2bd
