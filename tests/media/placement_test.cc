#include "core/media/placement.h"

#include <gtest/gtest.h>

#include "core/media/check_code.h"

namespace h2bd {
namespace {

uint32_t LeafCrc(const FreemapLeafData& leaf) { return Icrc32(std::as_bytes(std::span(leaf))); }

TEST(HeaderSlots, NextSlotWrapsAndStaysOnTheVolume) {  // spec 04 F-119
  struct Case {
    int slot;
    uint64_t volume_bytes;
    int next;
    const char* why;
  };
  for (const Case& c :
       {Case{0, 8 * kGiB, 1, "the next slot"}, Case{3, 8 * kGiB, 0, "four slots, then around"},
        Case{3, 8 * kTiB, 0, "never more than four"}, Case{0, 2 * kGiB, 0, "one slot"},
        Case{0, 24 * kMiB, 0, "the smallest volume"}, Case{0, 4 * kGiB, 1, "two slots"},
        Case{1, 4 * kGiB, 0, "two slots, then around"},
        Case{2, 6 * kGiB, 0, "three slots, then around"},
        Case{1, 4 * kGiB + kZoneSegBytes, 2, "a whole segment just fits"},
        Case{1, 4 * kGiB + kZoneSegBytes - 1, 0, "one byte less does not"},
        Case{-1, 8 * kGiB, 0, "before the first"}}) {
    EXPECT_EQ(NextHeaderSlot(c.slot, c.volume_bytes), c.next) << c.why;
  }
}

TEST(HeaderSlots, CountAndPlaces) {
  EXPECT_EQ(HeaderSlotCount(32 * kMiB), 1);
  EXPECT_EQ(HeaderSlotCount(2 * kGiB), 1);
  EXPECT_EQ(HeaderSlotCount(2 * kGiB + 8 * kMiB), 2);
  EXPECT_EQ(HeaderSlotCount(6 * kGiB), 3);
  EXPECT_EQ(HeaderSlotCount(8 * kGiB), 4);
  EXPECT_EQ(HeaderSlotCount(kMaxVolumeBytes), 4);
  EXPECT_EQ(HeaderSlotOffset(3).v, 0x180000000u);
}

TEST(FreemapPlace, Levels) {
  for (unsigned keybits = 0; keybits < 256; ++keybits) {
    const int level = keybits == 30   ? 0
                      : keybits == 38 ? 1
                      : keybits == 46 ? 2
                      : keybits == 54 ? 3
                      : keybits == 62 ? 4
                                      : -1;
    EXPECT_EQ(FreemapLevel(keybits), level) << keybits;
  }
}

TEST(FreemapPlace, BlocksOfTheReference) {  // spec 01 section 2.2, spec 02 section 1.3
  EXPECT_EQ(FreemapBlockPlace(Key(0), 30, 0).raw, 0x1000fu);
  EXPECT_EQ(FreemapBlockPlace(Key(0), 30, 1).raw, 0x6000fu);
  EXPECT_EQ(FreemapBlockPlace(Key(0), 30, 2).raw, 0xb000fu);
  EXPECT_EQ(FreemapBlockPlace(Key(0), 30, 3).raw, 0x10000fu);
  EXPECT_EQ(FreemapBlockPlace(Key(3 * kGiB), 30, 0).raw, 3 * kGiB + 0x1000f);
  EXPECT_EQ(FreemapBlockPlace(Key(256 * kGiB), 38, 0).raw, 256 * kGiB + 0x2000f);
  EXPECT_EQ(FreemapBlockPlace(Key(0), 62, 7).raw, 40u * 65536 + 15);
}

TEST(FreemapPlace, CopyComesBackFromThePlaceAndFromNothingElse) {
  for (const unsigned keybits : {30u, 38u, 46u, 54u, 62u}) {
    const Key key(uint64_t{1} << 62);
    for (int copy = 0; copy < kFreemapCopies; ++copy) {
      const DataOff place = FreemapBlockPlace(key, keybits, copy);
      EXPECT_EQ(FreemapCopyOf(place, key, keybits), copy);
      EXPECT_EQ(FreemapCopyOf(DataOff{place.raw + 65536}, key, keybits), -1);
      EXPECT_EQ(FreemapCopyOf(DataOff{place.raw + 1024}, key, keybits), -1);
      EXPECT_EQ(FreemapCopyOf(DataOff{place.raw ^ 1}, key, keybits), -1) << "another radix";
      EXPECT_EQ(FreemapCopyOf(place, Key(0), keybits), -1) << "another range";
    }
  }
  EXPECT_EQ(FreemapCopyOf(FreemapBlockPlace(Key(0), 30, 0), Key(0), 31), -1);
}

TEST(Areas, Defaults) {  // spec 01 sections 2.3, 2.4 and 13.2
  struct Case {
    uint64_t total, boot, aux;
  };
  for (const Case& c :
       {Case{32 * kMiB, 8 * kMiB, 8 * kMiB}, Case{1000 * kMiB, 32 * kMiB, 32 * kMiB},
        Case{2 * kGiB, 64 * kMiB, 64 * kMiB}, Case{8 * kGiB, 64 * kMiB, 256 * kMiB},
        Case{0x199000000, 64 * kMiB, 256 * kMiB}}) {
    EXPECT_EQ(DefaultAreas(c.total).boot, c.boot) << c.total;
    EXPECT_EQ(DefaultAreas(c.total).aux, c.aux) << c.total;
  }
}

TEST(Areas, AllocatorSizes) {  // spec 01 section 13.2
  struct Case {
    uint64_t total, allocator_size;
  };
  for (const Case& c : {Case{32 * kMiB, 0xc00000}, Case{2 * kGiB, 0x77800000},
                        Case{8 * kGiB, 0x1ea000000}, Case{0x199000000, 0x183400000}}) {
    const AreaSizes areas = DefaultAreas(c.total);
    EXPECT_EQ(c.total - ReservedBytes(c.total) - areas.boot - areas.aux, c.allocator_size);
  }
  EXPECT_EQ(ReservedBytes(kMaxVolumeBytes), (uint64_t{1} << 33) * kZoneSegBytes);
}

TEST(InitialLeaf, GoldenCrcs) {  // spec 02 section 3.2
  NewLeaf leaf = InitialLeaf(kGiB, 0x8400c00, 4 * kGiB);
  EXPECT_EQ(leaf.usable_segments, 255);
  EXPECT_EQ(LeafCrc(leaf.data), 0x6c7ae4d5u) << "segment 0 reserved, all others free";

  leaf.data[1].class_ = FreemapClass(BrefType::kData);
  leaf.data[1].avail = 0x3f0000;
  for (int c = 0; c < 4; ++c) leaf.data[1].set_chunk(c, ChunkState::kAllocated);
  EXPECT_EQ(LeafCrc(leaf.data), 0xcd711415u);
  EXPECT_EQ(leaf.data[1].CountFree() * kChunkBytes, leaf.data[1].avail);

  const NewLeaf none = InitialLeaf(0, kGiB, 2 * kGiB);
  EXPECT_EQ(none.usable_segments, 0);
  EXPECT_EQ(LeafCrc(none.data), 0x75055800u) << "all 256 segments reserved";
}

TEST(InitialLeaf, SmallVolume) {  // spec 02 section 3.7, vector A: 64 MiB, segments 6..15 usable
  const NewLeaf leaf = InitialLeaf(0, 0x1400c00, 64 * kMiB);
  EXPECT_EQ(leaf.usable_segments, 10);
  for (size_t i = 0; i < leaf.data.size(); ++i) {
    EXPECT_EQ(leaf.data[i], i >= 6 && i <= 15 ? BmapData::Free() : BmapData::Reserved()) << i;
  }
}

TEST(InitialLeaf, SegmentOfAnUnalignedEndIsReserved) {
  // The last zone of the three-volume example: 8 MiB, of which 4 are the zone's own reserve.
  EXPECT_EQ(InitialLeaf(6 * kGiB, 0x14400c00, 6 * kGiB + 8 * kMiB).usable_segments, 1);
  EXPECT_EQ(InitialLeaf(0, kMiB, 10 * kMiB).usable_segments, 1) << "4..8 MiB, 8..10 is no segment";
}

TEST(CheckPlacement, TableOfPlaces) {  // spec 01 section 2.5
  constexpr uint64_t kTotal = 2 * kGiB;
  struct Case {
    uint64_t off;
    unsigned radix;
    bool legal;
    const char* why;
  };
  for (const Case& c : {
           Case{0x14800000 & (kGiB - 1), 10, true, "an inode"},
           Case{4 * kMiB, 16, true, "newfs places its inodes below allocator_beg"},
           Case{0x8001c00, 13, true, "8 KiB need not be aligned to their size"},
           Case{0x8002000, 13, true, "up to the end of the cell"},
           Case{0x8002400, 13, false, "8 KiB over the end of the 16 KiB cell"},
           Case{0x8003c00, 10, true, "the last KiB of a cell"},
           Case{0x8004000, 14, true, "16 KiB in their cell"},
           Case{0x8004400, 14, false, "16 KiB off their cell"},
           Case{0x8004000, 15, true, "32 KiB need only 16 KiB alignment"},
           Case{0x800c000, 15, false, "32 KiB over the end of the 64 KiB buffer"},
           Case{0x8010000, 16, true, "a whole buffer"},
           Case{0x8014000, 16, false, "64 KiB over two buffers"},
           Case{0x8000200 & ~uint64_t{63}, 10, false, "half a KiB"},
           Case{0x8000040, 10, false, "not on the 1 KiB grid"},
           Case{0, 16, false, "the volume header"},
           Case{0x10000, 15, false, "freemap slots"},
           Case{4 * kMiB - 1024, 10, false, "end of the reserved segment"},
           Case{kGiB, 10, false, "reserved segment of the second GiB"},
           Case{kGiB + 4 * kMiB, 10, true, "first KiB after it"},
           Case{kTotal - 65536, 16, true, "ends with the address space"},
           Case{kTotal - 1024, 10, true, "ends with the address space"},
           Case{kTotal, 10, false, "outside"},
           Case{kTotal + 8 * kMiB, 10, false, "far outside"},
           Case{~uint64_t{0} << 16, 16, false, "wraps"},
           Case{0x8000000, 9, false, "radix below 10"},
           Case{0x8000000, 0, false, "no block"},
           Case{0x8000000, 17, false, "radix above 16"},
           Case{0x8000000, 63, false, "radix above 16"},
       }) {
    const absl::Status status = CheckPlacement(DataOff{c.off | c.radix}, kTotal);
    EXPECT_EQ(status.ok(), c.legal) << c.why << ": " << status;
    if (!c.legal) {
      EXPECT_TRUE(absl::IsDataLoss(status)) << c.why;
    }
  }
}

TEST(CheckPlacement, MessageNamesFieldFoundAndLegal) {
  EXPECT_EQ(CheckPlacement(DataOff{kGiB | 10}, 2 * kGiB).message(),
            "corrupt placement data_off=0x4000000a: offset=0x40000000, legal: outside the first 4 "
            "MiB of each GiB");
}

TEST(RadixFor, IsTheSmallestThatHolds) {
  EXPECT_EQ(RadixFor(0), 0u);
  EXPECT_EQ(RadixFor(1), 10u);
  EXPECT_EQ(RadixFor(1024), 10u);
  EXPECT_EQ(RadixFor(1025), 11u);
  EXPECT_EQ(RadixFor(65535), 16u);
  EXPECT_EQ(RadixFor(65536), 16u);
}

}  // namespace
}  // namespace h2bd
