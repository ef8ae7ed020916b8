#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "core/media/decode.h"
#include "core/media/placement.h"
#include "tests/media/sample_volume.h"

namespace h2bd {
namespace {

absl::Status Decode(const FreemapLeafData& leaf) {
  return DecodeFreemapLeaf(std::as_bytes(std::span(leaf))).status();
}

TEST(DecodeFreemapLeaf, AcceptsAndReturnsTheBytes) {
  const auto leaf = SampleFreemapLeaf();
  (*leaf)[82].linear = 0x3c00;                      // any KiB
  (*leaf)[82].class_ = 0x0311;                      // old media: another low byte
  (*leaf)[83].set_chunk(255, ChunkState::kStaged);  // after the first pass of a bulkfree
  (*leaf)[84].linear = kLinearOff;
  const auto decoded = DecodeFreemapLeaf(std::as_bytes(std::span(*leaf)));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(**decoded, *leaf);
}

TEST(DecodeFreemapLeaf, RejectsEachBadField) {
  struct Case {
    const char* message;
    std::function<void(BmapData&)> damage;
  };
  for (const Case& c : {
           Case{"linear=0xfffffc00, legal", [](BmapData& b) { b.linear = -1024; }},
           Case{"linear=0x400400, legal", [](BmapData& b) { b.linear = kLinearOff + 1024; }},
           Case{"linear=0x200, legal", [](BmapData& b) { b.linear = 512; }},
           Case{"avail=0x404000, legal", [](BmapData& b) { b.avail = 0x404000; }},
           Case{"avail=0x400, legal", [](BmapData& b) { b.avail = 1024; }},
           Case{"bitmap word=0x1, legal", [](BmapData& b) { b.bitmapq[0] = 1; }},
           Case{"bitmap word=0x4000000000000000, legal",
                [](BmapData& b) { b.bitmapq[7] = uint64_t{1} << 62; }},
       }) {
    for (const size_t segment : {size_t{0}, size_t{100}, size_t{255}}) {
      NewLeaf leaf = InitialLeaf(0, 0x14400c00, kSampleTotalSize);
      c.damage(leaf.data[segment]);
      const absl::Status status = Decode(leaf.data);
      EXPECT_TRUE(absl::IsDataLoss(status)) << c.message;
      EXPECT_THAT(std::string(status.message()), testing::HasSubstr(c.message));
      EXPECT_THAT(std::string(status.message()),
                  testing::HasSubstr("segment " + std::to_string(segment)));
    }
  }
}

TEST(BmapData, ChunksLieWhereTheReferencePutsThem) {
  BmapData segment = BmapData::Free();
  EXPECT_EQ(segment.CountFree(), kChunksPerSegment);
  segment.set_chunk(0, ChunkState::kAllocated);
  segment.set_chunk(33, ChunkState::kStaged);
  segment.set_chunk(255, ChunkState::kAllocated);
  EXPECT_EQ(segment.bitmapq[0], 3u);
  EXPECT_EQ(segment.bitmapq[1], 8u);
  EXPECT_EQ(segment.bitmapq[7], uint64_t{3} << 62);
  EXPECT_EQ(segment.CountFree(), kChunksPerSegment - 3);
  segment.set_chunk(0, ChunkState::kFree);
  EXPECT_EQ(segment.chunk(0), ChunkState::kFree);
  EXPECT_EQ(segment.chunk(33), ChunkState::kStaged);
  EXPECT_EQ(BmapData::Reserved().CountFree(), 0);
}

}  // namespace
}  // namespace h2bd
