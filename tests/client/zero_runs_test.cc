#include "client/api/zero_runs.h"

#include <gtest/gtest.h>

#include "core/base/random.h"
#include "core/base/types.h"

namespace h2bd::client {
namespace {

TEST(SplitZeroRuns, WholeGranulesOnly) {
  AlignedBuffer bytes = AlignedBuffer::Zeroed(64);
  bytes.span()[20] = std::byte{1};
  // At offset 8 with granules of 16: [8,16) cannot be whole, [16,32) holds the one, [32,64) is
  // zero, [64,72) is cut.
  const std::vector<ZeroRun> expected = {{8, 24, false}, {32, 32, true}, {64, 8, false}};
  EXPECT_EQ(SplitZeroRuns(bytes.span(), 8, 16), expected);
}

TEST(SplitZeroRuns, NothingGivesNothing) { EXPECT_TRUE(SplitZeroRuns({}, 5, 16).empty()); }

TEST(SplitZeroRuns, CoversItsInputAndTellsTheTruth) {
  SeededRandom random(7);
  for (int round = 0; round < 300; ++round) {
    const uint64_t granule = uint64_t{1} << (4 + random.Next64() % 4);
    const uint64_t offset = random.Next64() % 500;
    AlignedBuffer bytes = AlignedBuffer::Zeroed(random.Next64() % 1000);
    for (int ones = static_cast<int>(random.Next64() % 6); ones > 0 && !bytes.empty(); --ones) {
      bytes.span()[random.Next64() % bytes.size()] = std::byte{1};
    }
    uint64_t at = offset;
    bool previous_zero = false;
    for (const ZeroRun& run : SplitZeroRuns(bytes.span(), offset, granule)) {
      ASSERT_EQ(run.offset, at);
      ASSERT_GT(run.length, 0u);
      ASSERT_TRUE(at == offset || run.is_zero != previous_zero);
      previous_zero = run.is_zero;
      if (run.is_zero) {
        ASSERT_TRUE(IsAllZero(bytes.span().subspan(at - offset, run.length)));
        ASSERT_EQ(run.offset % granule, 0u);
        ASSERT_EQ(run.length % granule, 0u);
      }
      at += run.length;
    }
    ASSERT_EQ(at, offset + bytes.size());
  }
}

}  // namespace
}  // namespace h2bd::client
