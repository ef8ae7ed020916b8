// The checker's ways of working: older headers, strict mode, options, devices that fail, what one
// edit of an image cannot make.
#include "core/fsck/check.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/media/dirhash.h"
#include "core/media/placement.h"
#include "core/volhdr/header_ring.h"
#include "tests/fsck/image_editor.h"
#include "tests/fsck/volume_fixture.h"
#include "tests/support/fixtures.h"

namespace h2bd {
namespace {

using Node = ImageEditor::Node;
constexpr char kF01[] = "f01-basic-2g", kF02[] = "f02-default-8g-slot3";

class CheckTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!SharedDir().has_value()) {
      SkipLoudly("the checker over the reference's images");
      GTEST_SKIP();
    }
  }
};

// Blocks of slot 2 of f02 in chunks that the newest header, in slot 3, does not use.
std::vector<Node> BlocksOfOlderHeaderOnly() {
  const SparseImage& image = CachedFixture(kF02);
  std::set<uint64_t> newest;
  const ImageEditor in_slot_3(image, 3), in_slot_2(image, 2);
  for (const Node& node : in_slot_3.nodes()) {
    for (uint64_t at = RoundDown(node.bref.data_off.offset().v, kChunkBytes);
         at < node.bref.data_off.end().v; at += kChunkBytes) {
      newest.insert(at);
    }
  }
  std::vector<Node> only;
  for (const Node& node : in_slot_2.nodes()) {
    const bool topology = node.bref.type <= BrefType::kDirent && node.bref.data_off.radix() != 0;
    const uint64_t chunk = RoundDown(node.bref.data_off.offset().v, kChunkBytes);
    if (topology && !newest.contains(chunk)) only.push_back(node);
  }
  return only;
}

TEST_F(CheckTest, DamageUnderAnOlderHeaderIsAWarningOfItsOwnUnlessStrict) {
  const std::vector<Node> blocks = BlocksOfOlderHeaderOnly();
  ASSERT_FALSE(blocks.empty());
  SparseImage image = CachedFixture(kF02);
  const std::vector<std::byte> rubbish(64, std::byte{0x99});
  image.Write(blocks.front().bref.data_off.offset().v, rubbish);
  MemoryDevice device(image);

  const CheckReport report = CheckImage(device);
  EXPECT_EQ(report.errors, 0u) << report.ToString();
  EXPECT_GT(report.warnings, 0u);
  for (const Finding& finding : report.findings) {
    if (finding.severity == Severity::kNote) continue;
    EXPECT_TRUE(finding.old_slot) << report.ToString();
    EXPECT_NE(finding.slot, 3) << report.ToString();
  }

  CheckOptions strict;
  strict.all_slots_strict = true;
  EXPECT_GT(CheckImage(device, strict).count(FindingCode::kCheckCode), 0u);
  EXPECT_GT(CheckImage(device, strict).errors, 0u);

  CheckOptions newest_only;
  newest_only.slot = 3;
  EXPECT_TRUE(CheckImage(device, newest_only).clean());
}

TEST_F(CheckTest, ChunkFreedUnderAnOlderHeaderIsNoted) {
  const std::vector<Node> blocks = BlocksOfOlderHeaderOnly();
  ASSERT_FALSE(blocks.empty());
  const uint64_t off = blocks.front().bref.data_off.offset().v;
  ImageEditor editor(CachedFixture(kF02), 3);
  const int leaf = editor.Find([&](const Node& node) {
    return node.bref.type == BrefType::kFreemapLeaf && node.bref.Contains(Key(off));
  });
  editor.EditLeaf(leaf, [&](FreemapLeafData& data) {
    BmapData& segment = data[off % kFreemapLeafSpan / kSegBytes];
    segment.set_chunk(static_cast<int>(off % kSegBytes / kChunkBytes), ChunkState::kFree);
    segment.avail += kChunkBytes;
  });
  MemoryDevice device(editor.image());
  EXPECT_EQ(CheckImage(device).count(FindingCode::kFreedUnderOldSlot), 1u);
}

TEST_F(CheckTest, LeakedChunksAreCounted) {
  ImageEditor editor(CachedFixture(kF01));
  MemoryDevice before(editor.image());
  editor.EditLeaf(editor.Find(BrefType::kFreemapLeaf), [](FreemapLeafData& leaf) {
    leaf[255].set_chunk(7, ChunkState::kAllocated);
    leaf[255].avail -= kChunkBytes;
  });
  MemoryDevice after(editor.image());
  const CheckReport report = CheckImage(after);
  EXPECT_EQ(report.leaked_bytes, CheckImage(before).leaked_bytes + kChunkBytes);
  EXPECT_EQ(report.count(FindingCode::kFreemapLeak), 1u);
}

TEST_F(CheckTest, TheSameDamageIsToldOnceForAllHeaders) {
  // A block that all generations share: the oldest header of f15 holds it too.
  const SparseImage& good = CachedFixture("f15-freemap-node");
  const ImageEditor newest(good, 0);
  const int inode = newest.FindInode([](const InodeData& data, const Node&) {
    return data.meta.size > kGiB && data.meta.type == ObjectType::kRegfile;
  });
  SparseImage image = good;
  const std::vector<std::byte> rubbish(2, std::byte{0x99});  // its version
  image.Write(newest.nodes()[static_cast<size_t>(inode)].bref.data_off.offset().v, rubbish);
  MemoryDevice device(image);
  CheckOptions options;
  options.read_data = false;
  const CheckReport report = CheckImage(device, options);
  EXPECT_GT(report.findings.size(), 0u);
  std::set<std::pair<std::string, std::string>> told;
  for (const Finding& f : report.findings) {
    EXPECT_TRUE(told.emplace(f.place, f.text).second) << f.place << ": " << f.text;
  }
}

TEST_F(CheckTest, ShadowOfAOneSlotVolumeIsUsedAndReported) {
  const ImageEditor editor(CachedFixture(kF01));
  const std::optional<ByteOff> place = HeaderRing::ShadowPlace(editor.header());
  ASSERT_TRUE(place.has_value());
  SparseImage image = editor.image();
  image.Write(place->v, std::as_bytes(std::span(&editor.header(), 1)));
  image.Write(0x300, std::vector<std::byte>(64, std::byte{1}));
  MemoryDevice device(image);
  const CheckReport report = CheckImage(device);
  EXPECT_EQ(report.count(FindingCode::kHeaderShadow), 1u) << report.ToString();
  EXPECT_EQ(report.errors, 0u) << report.ToString();
  EXPECT_EQ(report.slots.size(), 1u);
}

TEST_F(CheckTest, DeviceThatIsTooSmall) {
  const SparseImage& good = CachedFixture(kF01);
  SparseImage cut(good.size() - 64 * kMiB);
  for (const auto& [number, page] : good.pages()) {
    const uint64_t off = number * SparseImage::kPage;
    if (off < cut.size()) cut.Write(off, page->span());
  }
  MemoryDevice device(cut);
  EXPECT_GT(CheckImage(device).count(FindingCode::kVolumeSet), 0u);
}

TEST_F(CheckTest, TheSameDeviceTwiceAndNoneAtAll) {
  MemoryDevice device(CachedFixture(kF01));
  BlockDevice* const twice[] = {&device, &device};
  EXPECT_GT(CheckDevices(twice).count(FindingCode::kVolumeSet), 0u);
  EXPECT_GT(CheckDevices({}).errors, 0u);
}

// Fails reads that touch one place.
class BadSector final : public ForwardingDevice {
 public:
  BadSector(BlockDevice& inner, uint64_t off) : ForwardingDevice(inner), off_(off) {}
  absl::Status Read(ByteOff off, ByteSpan into) override {
    if (off.v <= off_ && off_ < off.v + into.size()) return absl::UnavailableError("bad sector");
    return inner_.Read(off, into);
  }
  bool read_only() const override { return true; }

 private:
  const uint64_t off_;
};

TEST_F(CheckTest, OneBadSectorCostsOneBlock) {
  MemoryDevice device(CachedFixture(kF01));
  const ImageEditor editor(CachedFixture(kF01));
  const int inode = editor.FindInode([](const InodeData& data, const Node&) {
    return data.meta.type == ObjectType::kRegfile && data.meta.directdata();
  });
  BadSector bad(device, editor.nodes()[static_cast<size_t>(inode)].bref.data_off.offset().v);
  BlockDevice* const devices[] = {&bad};
  const CheckReport report = CheckDevices(devices);
  // The inode lies in a buffer full of other inodes; those stay readable.
  EXPECT_EQ(report.count(FindingCode::kRead), 1u) << report.ToString();
}

TEST_F(CheckTest, FindingsAreBoundedButCountsAreNot) {
  ImageEditor editor(CachedFixture("f06-indirect"));
  editor.EditLeaf(editor.Find(BrefType::kFreemapLeaf), [](FreemapLeafData& leaf) {
    for (BmapData& segment : leaf) segment = BmapData::Free();
  });
  MemoryDevice device(editor.image());
  CheckOptions options;
  options.findings_max = 10;
  const CheckReport report = CheckImage(device, options);
  EXPECT_EQ(report.findings.size(), 10u);
  EXPECT_GT(report.errors, 1000u);
}

TEST_F(CheckTest, ProgressComesAndEndsAtWhatWasCounted) {
  MemoryDevice device(CachedFixture("f06-indirect"));
  CheckOptions options;
  int calls = 0;
  CheckProgress last;
  options.progress = [&](const CheckProgress& progress) {
    EXPECT_GE(progress.blocks_done, last.blocks_done);
    last = progress;
    ++calls;
  };
  const CheckReport report = CheckImage(device, options);
  EXPECT_GT(calls, 2);
  EXPECT_LE(last.bytes_done, report.slots[0].blocks.bytes);
  EXPECT_GT(last.bytes_total, 0u);
}

// Directories of the legacy form, each in the one before, deeper than any recursion should go.
TEST_F(CheckTest, DepthIsBounded) {
  constexpr uint64_t kBase = 1536 * kMiB;
  constexpr uint64_t kDirectories = 600;
  ImageEditor editor(CachedFixture(kF01));
  const auto link = [&](uint64_t i) {
    Blockref bref;
    bref.type = BrefType::kInode;
    bref.set_methods(CheckMethod::kDisabled, CompMethod::kNone);
    bref.key = Dirhash("deep");
    bref.data_off = DataOff::Make(ByteOff(kBase + i * kInodeBytes), kInodeRadix);
    return bref;
  };
  for (uint64_t i = 0; i < kDirectories; ++i) {
    InodeData inode;
    inode.meta.type = ObjectType::kDirectory;
    inode.meta.inum = Inum(100000 + i);
    inode.set_name("deep");
    inode.set_blockset(0, link(i + 1));
    editor.Smash(kBase + i * kInodeBytes, std::as_bytes(std::span(&inode, 1)));
  }
  const int empty_directory = editor.FindInode([](const InodeData& data, const Node&) {
    return data.meta.type == ObjectType::kDirectory && data.meta.inum.v >= kInodeStart &&
           data.blockset(3).empty() && data.blockset(0).type != BrefType::kIndirect;
  });
  editor.AddBref(empty_directory, link(0));
  MemoryDevice device(editor.image());
  EXPECT_EQ(CheckImage(device).count(FindingCode::kDepth), 1u);
}

TEST_F(CheckTest, DirectoryThatHoldsItselfEndsTheWalk) {
  ImageEditor editor(CachedFixture(kF01));
  constexpr uint64_t kPlace = 1536 * kMiB;
  Blockref self;
  self.type = BrefType::kInode;
  self.set_methods(CheckMethod::kDisabled, CompMethod::kNone);
  self.data_off = DataOff::Make(ByteOff(kPlace), kInodeRadix);
  InodeData inode;
  inode.meta.type = ObjectType::kDirectory;
  inode.meta.inum = Inum(100000);
  inode.set_name("deep");
  for (int i = 0; i < kBlocksetCount; ++i) {
    self.key = Key(Dirhash("deep").v + static_cast<uint64_t>(i));
    inode.set_blockset(i, self);
  }
  editor.Smash(kPlace, std::as_bytes(std::span(&inode, 1)));
  const int directory = editor.FindInode([](const InodeData& data, const Node&) {
    return data.meta.type == ObjectType::kDirectory && data.meta.inum.v >= kInodeStart &&
           data.blockset(3).empty() && data.blockset(0).type != BrefType::kIndirect;
  });
  editor.AddBref(directory, self);
  MemoryDevice device(editor.image());
  EXPECT_GT(CheckImage(device).errors, 0u);
}

TEST(FindingNames, AreDistinctAndForMachines) {
  std::set<std::string> names;
  for (size_t i = 0; i < kFindingCodes; ++i) {
    const std::string name(Name(static_cast<FindingCode>(i)));
    EXPECT_TRUE(names.insert(name).second) << name;
    EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz-"), std::string::npos) << name;
  }
}

}  // namespace
}  // namespace h2bd
