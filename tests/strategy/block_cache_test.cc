#include "core/strategy/block_cache.h"

#include <gtest/gtest.h>

namespace h2bd {
namespace {

constexpr DiskId kDisk{Key(1), Inum(1024)};
constexpr DiskId kOther{Key(1), Inum(1025)};

SharedBytes Block(char fill) {
  AlignedBuffer bytes(65536);
  std::memset(bytes.data(), fill, bytes.size());
  return std::make_shared<const AlignedBuffer>(std::move(bytes));
}

TEST(BlockCache, FindsWhatWasPutAndForgetsWhatWasErased) {
  BlockCache cache(64 * kMiB);
  for (uint64_t i = 0; i < 100; ++i) cache.Put(kDisk, i, Block('a'));
  cache.Put(kOther, 5, Block('b'));
  cache.Put(kDisk, 7, Block('c'));
  EXPECT_EQ(cache.Find(kDisk, 7)->data()[0], std::byte{'c'});
  EXPECT_EQ(cache.Find(kDisk, 8)->data()[0], std::byte{'a'});
  EXPECT_EQ(cache.Find(kDisk, 100), nullptr);
  cache.Erase(kDisk, 5, 50);
  EXPECT_NE(cache.Find(kDisk, 4), nullptr);
  EXPECT_EQ(cache.Find(kDisk, 5), nullptr);
  EXPECT_EQ(cache.Find(kDisk, 49), nullptr);
  EXPECT_NE(cache.Find(kDisk, 50), nullptr);
  EXPECT_NE(cache.Find(kOther, 5), nullptr);
  cache.Erase(kDisk, 0, UINT64_MAX);
  cache.Erase(kOther, 0, UINT64_MAX);
  EXPECT_EQ(cache.bytes(), 0u);
}

TEST(BlockCache, StaysWithinItsBudget) {
  BlockCache cache(16 * kMiB);
  for (uint64_t i = 0; i < 2000; ++i) {
    cache.Put(kDisk, i, Block('a'));
    if (i % 3 == 0) cache.Find(kDisk, i);
    ASSERT_LE(cache.bytes(), 16 * kMiB);
  }
  EXPECT_GT(cache.bytes(), 12 * kMiB);
}

TEST(BlockCache, AScanDoesNotWashOutWhatIsUsedOften) {
  BlockCache cache(64 * kMiB);
  for (uint64_t i = 0; i < 100; ++i) {
    cache.Put(kDisk, i, Block('h'));
    cache.Find(kDisk, i);
  }
  for (uint64_t i = 0; i < 10000; ++i) cache.Put(kOther, i, Block('s'));
  int kept = 0;
  for (uint64_t i = 0; i < 100; ++i) kept += cache.Find(kDisk, i) != nullptr;
  EXPECT_EQ(kept, 100);
}

}  // namespace
}  // namespace h2bd
