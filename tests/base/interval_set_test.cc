#include "core/base/interval_set.h"

#include <gtest/gtest.h>

#include <bitset>

#include "core/base/random.h"
#include "tests/support/fixtures.h"

namespace h2bd {
namespace {

using Parts = std::vector<std::pair<uint64_t, uint64_t>>;

TEST(IntervalSet, JoinsWhatTouches) {
  IntervalSet set;
  set.Add(10, 20);
  set.Add(30, 40);
  set.Add(20, 30);
  EXPECT_EQ(set.intervals().size(), 1u);
  EXPECT_TRUE(set.Covers(10, 40));
  set.Add(5, 5);
  EXPECT_FALSE(set.Contains(5));
}

TEST(IntervalSet, ReachesTheEndOfTheKeySpace) {
  IntervalSet set;
  set.Add(100, UINT64_MAX);
  EXPECT_TRUE(set.Contains(UINT64_MAX - 1));
  set.Remove(200, UINT64_MAX);
  EXPECT_EQ(set.Within(0, UINT64_MAX), (Parts{{100, 200}}));
}

TEST(IntervalSet, EqualsASetOfBits) {
  constexpr uint64_t kSize = 200;
  SeededRandom rng(TestSeed());
  for (int round = 0; round < 200; ++round) {
    IntervalSet set;
    std::bitset<kSize> model;
    for (int step = 0; step < 60; ++step) {
      const uint64_t begin = rng.Next64() % kSize;
      const uint64_t end = begin + rng.Next64() % (kSize - begin + 1);
      const bool add = rng.Next64() % 3 != 0;
      add ? set.Add(begin, end) : set.Remove(begin, end);
      for (uint64_t i = begin; i < end; ++i) model[i] = add;

      const uint64_t from = rng.Next64() % kSize;
      const uint64_t to = from + rng.Next64() % (kSize - from + 1);
      uint64_t inside = 0, outside = 0;
      for (uint64_t i = from; i < to; ++i) model[i] ? ++inside : ++outside;
      EXPECT_EQ(set.Covers(from, to), outside == 0);
      EXPECT_EQ(set.Overlaps(from, to), inside != 0);
      uint64_t within = 0, gaps = 0;
      for (const auto& [a, b] : set.Within(from, to)) within += b - a;
      for (const auto& [a, b] : set.Gaps(from, to)) gaps += b - a;
      EXPECT_EQ(within, inside);
      EXPECT_EQ(gaps, outside);
      for (uint64_t i = 0; i < kSize; ++i) ASSERT_EQ(set.Contains(i), model[i]) << i;
    }
    uint64_t last_end = 0;
    for (const auto& [a, b] : set.intervals()) {
      EXPECT_LT(a, b);
      EXPECT_TRUE(last_end == 0 || a > last_end) << "intervals that touch are one";
      last_end = b;
    }
  }
}

}  // namespace
}  // namespace h2bd
