#include "core/base/random.h"

#include <gtest/gtest.h>

#include <set>

namespace h2bd {
namespace {

TEST(SeededRandom, OneSeedIsOneSequence) {
  SeededRandom a(7), b(7), c(8);
  std::set<uint64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t value = a.Next64();
    EXPECT_EQ(value, b.Next64());
    EXPECT_NE(value, c.Next64());
    EXPECT_TRUE(seen.insert(value).second);
  }
}

TEST(Uuid, SaysItsVersionAndVariantAndIsNew) {
  std::set<std::array<std::byte, 16>> seen;
  for (int i = 0; i < 100; ++i) {
    const auto uuid = NewUuid(SystemRandom());
    EXPECT_EQ(uuid[7] >> 4, std::byte{4});
    EXPECT_EQ(uuid[8] >> 6, std::byte{2});
    EXPECT_TRUE(seen.insert(uuid).second);
  }
}

}  // namespace
}  // namespace h2bd
