#include "core/freemap/bmap.h"

#include <gtest/gtest.h>

namespace h2bd {
namespace {

SpaceCounts SlowCount(const BmapData& segment) {
  SpaceCounts counts;
  for (int c = 0; c < kChunksPerSegment; c += 4) {
    int free = 0;
    for (int i = c; i < c + 4; ++i) {
      counts.free += segment.chunk(i) == ChunkState::kFree;
      counts.staged += segment.chunk(i) == ChunkState::kStaged;
      counts.used +=
          segment.chunk(i) == ChunkState::kAllocated || segment.chunk(i) == ChunkState::kReserved;
      free += segment.chunk(i) == ChunkState::kFree;
    }
    counts.groups += free == 4;
  }
  return counts;
}

TEST(Bmap, CountsLikeReadingChunkByChunk) {
  BmapData segment = BmapData::Free();
  EXPECT_EQ(CountSegment(segment), SlowCount(segment));
  uint64_t state = 1;
  for (int round = 0; round < 200; ++round) {
    for (uint64_t& word : segment.bitmapq) {
      state = state * 6364136223846793005 + 1442695040888963407;
      word = round % 3 == 0 ? state : state & (state >> 7) & (state >> 13);
    }
    EXPECT_EQ(CountSegment(segment), SlowCount(segment)) << round;
  }
}

TEST(Bmap, OnlyFreeChunksAreTaken) {
  for (const ChunkState taken :
       {ChunkState::kReserved, ChunkState::kStaged, ChunkState::kAllocated}) {
    BmapData segment = BmapData::Free();
    for (int c = 0; c < kChunksPerSegment; ++c) segment.set_chunk(c, taken);
    segment.set_chunk(77, ChunkState::kFree);
    segment.avail = kChunkBytes;
    EXPECT_FALSE(BmapAlloc(segment, BrefType::kData, 15, Key()).has_value());
    const auto pick = BmapAlloc(segment, BrefType::kData, 14, Key(0x10000));
    ASSERT_TRUE(pick.has_value());
    EXPECT_EQ(pick->offset, 77 * kChunkBytes);
    EXPECT_EQ(segment.avail, 0u);
  }
}

TEST(Bmap, RunsAreAligned) {
  BmapData segment = BmapData::Free();
  segment.set_chunk(0, ChunkState::kAllocated);
  segment.set_chunk(6, ChunkState::kAllocated);
  EXPECT_EQ(BmapAlloc(segment, BrefType::kIndirect, 15, Key())->offset, 2 * kChunkBytes);
  EXPECT_EQ(BmapAlloc(segment, BrefType::kIndirect, 16, Key())->offset, 8 * kChunkBytes);
  EXPECT_EQ(BmapAlloc(segment, BrefType::kIndirect, 15, Key())->offset, 4 * kChunkBytes);
  EXPECT_EQ(BmapAlloc(segment, BrefType::kIndirect, 14, Key())->offset, 1 * kChunkBytes);
}

TEST(Bmap, WishOfAnUnalignedKeyIsAligned) {
  BmapData segment = BmapData::Free();
  EXPECT_EQ(BmapAlloc(segment, BrefType::kData, 16, Key(7 * kChunkBytes))->offset, 4 * kChunkBytes);
  EXPECT_EQ(BmapAlloc(segment, BrefType::kData, 16, Key(255 * kChunkBytes))->offset,
            252 * kChunkBytes);
}

// A small block through the iterator makes a staged chunk allocated, and no space less.
TEST(Bmap, IteratorInAStagedChunk) {
  BmapData segment = BmapData::Free();
  segment.set_chunk(0, ChunkState::kStaged);
  segment.avail -= kChunkBytes;
  segment.linear = 0x400;
  const uint32_t avail = segment.avail;
  const auto pick = BmapAlloc(segment, BrefType::kInode, 10, Key());
  ASSERT_TRUE(pick.has_value());
  EXPECT_EQ(pick->offset, 0x400u);
  EXPECT_FALSE(pick->opened_chunk);
  EXPECT_EQ(segment.avail, avail);
  EXPECT_EQ(segment.chunk(0), ChunkState::kAllocated);
}

TEST(Bmap, IteratorIsOffAtChunkBoundariesAndOutside) {
  EXPECT_FALSE(LinearIsOpen(0));
  EXPECT_FALSE(LinearIsOpen(0x4000));
  EXPECT_FALSE(LinearIsOpen(kLinearOff));
  EXPECT_FALSE(LinearIsOpen(kLinearOff + 0x400));
  EXPECT_FALSE(LinearIsOpen(-0x400));
  EXPECT_TRUE(LinearIsOpen(0x400));
  EXPECT_TRUE(LinearIsOpen(kLinearOff - 0x400));
}

}  // namespace
}  // namespace h2bd
