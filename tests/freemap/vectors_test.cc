// Golden vectors of spec 02.

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "core/media/check_code.h"
#include "core/media/placement.h"
#include "tests/freemap/test_volume.h"

namespace h2bd {
namespace {

struct Request {
  int number;
  int type;
  unsigned radix;
  uint64_t key;
  uint64_t address;
  int32_t linear;
  uint32_t avail;
  uint64_t allocator_free;
};

// Spec 02 section 3.7, Vector A.
constexpr Request kVectorA[] = {
    {1, 1, 10, 0x400, 0x1800000, 0x400, 0x3FC000, 0x2BFC000},
    {2, 1, 10, 0x401, 0x1800400, 0x800, 0x3FC000, 0x2BFC000},
    {3, 2, 12, 0, 0x1C00000, 0x1000, 0x3FC000, 0x2BF8000},
    {4, 2, 14, 0, 0x1C04000, 0x1000, 0x3F8000, 0x2BF4000},
    {5, 2, 14, 0, 0x1C08000, 0x1000, 0x3F4000, 0x2BF0000},
    {6, 2, 12, 0, 0x1C01000, 0x2000, 0x3F4000, 0x2BF0000},
    {7, 2, 16, 0, 0x1C10000, 0x2000, 0x3E4000, 0x2BE0000},
    {8, 2, 12, 0, 0x1C02000, 0x3000, 0x3E4000, 0x2BE0000},
    {9, 2, 12, 0, 0x1C03000, 0x4000, 0x3E4000, 0x2BE0000},
    {10, 2, 12, 0, 0x1C0C000, 0xD000, 0x3E0000, 0x2BDC000},
    {11, 3, 10, 0, 0x2000000, 0x400, 0x3FC000, 0x2BD8000},
    {12, 3, 13, 0, 0x2000400, 0x2400, 0x3FC000, 0x2BD8000},
    {13, 3, 13, 0x10000, 0x2004000, 0x6000, 0x3F8000, 0x2BD4000},
    {14, 3, 12, 0, 0x2006000, 0x7000, 0x3F8000, 0x2BD4000},
    {15, 3, 11, 0, 0x2007000, 0x7800, 0x3F8000, 0x2BD4000},
    {16, 3, 11, 0, 0x2007800, 0x8000, 0x3F8000, 0x2BD4000},
    {17, 3, 11, 0, 0x2008000, 0x8800, 0x3F4000, 0x2BD0000},
    {18, 3, 14, 0x4000, 0x200C000, 0x8800, 0x3F0000, 0x2BCC000},
    {19, 3, 14, 0, 0x2010000, 0x8800, 0x3EC000, 0x2BC8000},
    {20, 3, 15, 0x8000, 0x2018000, 0x8800, 0x3E4000, 0x2BC0000},
    {21, 3, 15, 0x10000, 0x2020000, 0x8800, 0x3DC000, 0x2BB8000},
    {22, 3, 15, 0x10000, 0x2028000, 0x8800, 0x3D4000, 0x2BB0000},
    {23, 3, 16, 0x10000, 0x2030000, 0x8800, 0x3C4000, 0x2BA0000},
    {24, 3, 16, 0x100000, 0x2100000, 0x8800, 0x3B4000, 0x2B90000},
    {25, 3, 16, 0x410000, 0x2040000, 0x8800, 0x3A4000, 0x2B80000},
    {26, 3, 16, 0x7F0000, 0x23F0000, 0x8800, 0x394000, 0x2B70000},
    {27, 4, 10, 0x8000000000000001, 0x2400000, 0x400, 0x3FC000, 0x2B6C000},
    {28, 4, 10, 0x8000000000000002, 0x2400400, 0x800, 0x3FC000, 0x2B6C000},
};

uint32_t LeafCrc(const FreemapLeafData& leaf) { return Icrc32(std::as_bytes(std::span(leaf))); }

TEST(FreemapVectors, AddressesOfVectorA) {
  TestVolume volume = TestVolume::VectorA();
  for (const Request& r : kVectorA) {
    SCOPED_TRACE(absl::StrCat("request ", r.number));
    const auto got = volume.freemap().Allocate(static_cast<BrefType>(r.type), r.radix, Key(r.key));
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_EQ(got->data_off.offset().v, r.address);
    EXPECT_EQ(got->data_off.radix(), r.radix);
  }
}

// The state after each request as well: the flush after it shows the leaf.
TEST(FreemapVectors, LeafOfVectorAAfterEachRequest) {
  TestVolume volume = TestVolume::VectorA();
  for (const Request& r : kVectorA) {
    SCOPED_TRACE(absl::StrCat("request ", r.number));
    const auto got = volume.freemap().Allocate(static_cast<BrefType>(r.type), r.radix, Key(r.key));
    ASSERT_TRUE(got.ok()) << got.status();
    const Freemap::Flushed flushed = volume.Commit();
    const BmapData segment = (*volume.Leaf(0))[r.address >> kSegRadix];
    EXPECT_EQ(segment.linear, r.linear);
    EXPECT_EQ(segment.avail, r.avail);
    EXPECT_EQ(segment.class_, r.type << 8 | 16);
    EXPECT_EQ(flushed.allocator_free, r.allocator_free);
  }
  EXPECT_EQ(LeafCrc(*volume.Leaf(0)), 0x47844E12u);
}

// Spec 02 section 3.2.
TEST(FreemapVectors, CompleteLeaves) {
  EXPECT_EQ(LeafCrc(InitialLeaf(0, kZoneSegBytes, kFreemapLeafSpan).data), 0x6C7AE4D5u);
  EXPECT_EQ(LeafCrc(InitialLeaf(0, kFreemapLeafSpan, 2 * kFreemapLeafSpan).data), 0x75055800u);

  TestVolume volume(
      FreemapHeader(kFreemapLeafSpan, kZoneSegBytes, kFreemapLeafSpan - kZoneSegBytes));
  ASSERT_TRUE(volume.freemap().Allocate(BrefType::kData, 16, Key(0)).ok());
  volume.Commit();
  EXPECT_EQ(LeafCrc(*volume.Leaf(0)), 0xCD711415u);
}

// Spec 02 section 12.2, commit 1: the allocations of a small tree.
TEST(FreemapVectors, WorkedExampleCommitOne) {
  TestVolume volume = TestVolume::VectorA();
  const struct {
    BrefType type;
    unsigned radix;
    uint64_t key, address;
  } steps[] = {{BrefType::kInode, 10, 0x400, 0x1800000}, {BrefType::kData, 16, 0, 0x1C00000},
               {BrefType::kInode, 10, 0x401, 0x1800400}, {BrefType::kData, 16, 0, 0x1C10000},
               {BrefType::kInode, 10, 0x402, 0x1800800}, {BrefType::kData, 12, 0, 0x1C20000},
               {BrefType::kInode, 10, 1, 0x1800C00},     {BrefType::kInode, 10, 1, 0x1801000},
               {BrefType::kIndirect, 12, 0, 0x2000000},  {BrefType::kInode, 10, 0, 0x1801400}};
  for (const auto& step : steps) {
    const auto got = volume.freemap().Allocate(step.type, step.radix, Key(step.key));
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_EQ(got->data_off.offset().v, step.address);
  }
  const Freemap::Flushed flushed = volume.Commit();
  EXPECT_EQ(flushed.allocator_free, 0x2BD4000u);
  EXPECT_EQ(flushed.blockset[0].data_off.raw, 0x1000Fu);
  EXPECT_EQ(LeafCrc(*volume.Leaf(0)), 0x2E302597u);
}

// Spec 02 section 1.4: ten commits of a volume with four header slots.
TEST(FreemapVectors, CopiesRotate) {
  TestVolume volume(FreemapHeader(9 * kGiB, 0x14400C00, 9 * kGiB - 9 * kZoneSegBytes - 320 * kMiB));
  for (const uint64_t slot : {1, 6, 11, 16, 21, 26, 31, 36, 1, 6}) {
    ASSERT_TRUE(volume.freemap().Allocate(BrefType::kData, 16, Key(0)).ok());
    EXPECT_EQ(volume.Commit().blockset[0].data_off.raw, slot * kPbufBytes | kFreemapBlockRadix);
  }
}

// Spec 01 section 13.5: the leaf blockref and the header fields of the sample volume.
TEST(FreemapVectors, BlockrefOfTheSampleVolume) {
  TestVolume volume(FreemapHeader(8 * kGiB, 0x14400C00, 0x1EA000000));
  for (int i = 0; i < 8; ++i)
    ASSERT_TRUE(volume.freemap().Allocate(BrefType::kInode, 10, Key()).ok());
  ASSERT_TRUE(volume.freemap().Allocate(BrefType::kData, 10, Key()).ok());
  ASSERT_TRUE(volume.freemap().Allocate(BrefType::kDirent, 10, Key()).ok());
  ASSERT_TRUE(volume.freemap().Allocate(BrefType::kIndirect, 12, Key()).ok());
  ASSERT_TRUE(volume.freemap().Allocate(BrefType::kIndirect, 12, Key()).ok());
  const Freemap::Flushed flushed = volume.Commit();
  const Blockref& leaf = flushed.blockset[0];
  EXPECT_EQ(flushed.allocator_free, 0x1E9FF0000u);
  EXPECT_EQ(leaf.type, BrefType::kFreemapLeaf);
  EXPECT_EQ(leaf.methods, 0x50);
  EXPECT_EQ(leaf.keybits, 30);
  EXPECT_EQ(leaf.mirror_tid, Tid(0x11));
  EXPECT_EQ(leaf.data_off.raw, 0x1000Fu);
  EXPECT_EQ(LoadAs<uint32_t>(leaf.check), 0xA696DE3Eu);
  EXPECT_EQ(leaf.freemap_bigmask(), 0xFFFFFFFFu);
  EXPECT_EQ(leaf.freemap_avail(), 0x2B800000u);
}

// Spec 02 section 1.6: a 2 TiB volume, first allocation in the zones named.
class TreeShape : public ::testing::Test {
 protected:
  TestVolume volume_{
      FreemapHeader(2 * kTiB, 0x14400C00, 2 * kTiB - 2048 * kZoneSegBytes - 320 * kMiB)};

  void AllocateIn(std::initializer_list<uint64_t> gib) {
    for (const uint64_t zone : gib) {
      const uint64_t address = zone * kGiB + 512 * kMiB;
      const auto marked = volume_.freemap().MarkAllocated(BlockAt(BrefType::kData, address, 16));
      ASSERT_TRUE(marked.ok()) << marked.status();
      EXPECT_TRUE(*marked);
    }
    volume_.Commit();
    ASSERT_EQ(volume_.Reopen(), absl::OkStatus());
  }
  static std::string Entry(const Blockref& bref) {
    return absl::StrCat(
        bref.type == BrefType::kFreemapNode ? "node " : "leaf ", bref.key.v / kGiB, "/",
        bref.keybits,
        bref.type == BrefType::kFreemapNode ? absl::StrCat("*", bref.data_count() / 32768) : "");
  }
  std::vector<std::string> Blockset() {
    std::vector<std::string> entries;
    for (const Blockref& bref : volume_.header().freemap_blockset) {
      if (!bref.empty()) entries.push_back(Entry(bref));
    }
    return entries;
  }
};

TEST_F(TreeShape, GrowsLikeTheReference) {
  using Shape = std::vector<std::string>;
  AllocateIn({0, 1, 2, 3});
  EXPECT_EQ(Blockset(), (Shape{"leaf 0/30", "leaf 1/30", "leaf 2/30", "leaf 3/30"}));
  AllocateIn({4});
  EXPECT_EQ(Blockset(), Shape{"node 0/38*5"});
  AllocateIn({256, 512, 768});
  EXPECT_EQ(Blockset(), (Shape{"node 0/38*5", "leaf 256/30", "leaf 512/30", "leaf 768/30"}));
  AllocateIn({1024});
  EXPECT_EQ(Blockset(), Shape{"node 0/46*5"});
  AllocateIn({1025});
  EXPECT_EQ(Blockset(), Shape{"node 0/46*6"});
  for (const uint64_t zone : {0, 4, 256, 512, 768, 1024, 1025}) {
    EXPECT_EQ((*volume_.Leaf(zone * kGiB))[128].chunk(0), ChunkState::kAllocated) << zone;
  }
  EXPECT_EQ(volume_.LeafBref(1025 * kGiB).freemap_avail(), kGiB - kZoneSegBytes);
}

}  // namespace
}  // namespace h2bd
