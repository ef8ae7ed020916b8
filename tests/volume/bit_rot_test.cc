// Bit rot in each kind of block: scrub names the disk and the range, other disks are served, and no
// wrong byte is ever returned.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "absl/strings/str_cat.h"
#include "core/fsck/check.h"
#include "core/media/placement.h"
#include "core/volhdr/volume_set.h"
#include "tests/fsck/image_editor.h"
#include "tests/support/fixtures.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

using Node = ImageEditor::Node;

constexpr uint64_t kBig = 64 * kGiB;  // tables of several levels
constexpr uint64_t kStep = 8 * kMiB;
const std::string kLong(100, 'n');  // a name with a block of its own

std::string TextAt(const std::string& disk, uint64_t offset) {
  return absl::StrCat(disk, " at ", offset, ".");
}

// Where a disk has something. "big" is filled at its beginning and thinly behind.
std::vector<uint64_t> Places(const std::string& disk) {
  std::vector<uint64_t> places;
  for (uint64_t i = 0; i < 200; ++i) places.push_back(i * 64 * kKiB);
  if (disk == "big") {
    for (uint64_t i = 4; i < 600; ++i) places.push_back(i * kStep);
    for (uint64_t i = 5; i < 64; ++i) places.push_back(i * kGiB);
  }
  return places;
}

// Made once: four slots, two disks that matter and one with a long name.
const SparseImage& Volumes() {
  static const SparseImage image = [] {
    MemoryDevice memory(*FormattedImage(8 * kGiB));
    const auto volume = OpenOn(memory, ManualOptions());
    H2_ASSERT(volume.ok());
    for (int round = 0; round < 4; ++round) {
      for (const std::string name : {"big", "other", kLong.c_str()}) {
        const DiskName disk{"DATA", name};
        if (round == 0) H2_ASSERT((*volume)->CreateDisk(disk, {.size_bytes = kBig}).ok());
        const auto ref = (*volume)->OpenDisk(disk);
        H2_ASSERT(ref.ok());
        const std::vector<uint64_t> places = Places(name);
        for (size_t i = static_cast<size_t>(round); i < places.size(); i += 4) {
          H2_ASSERT(WriteText(**volume, *ref, places[i], TextAt(name, places[i])).ok());
        }
      }
      H2_ASSERT((*volume)->RunCycle().ok());
    }
    H2_ASSERT((*volume)->Close().ok());
    return memory.Snapshot();
  }();
  return image;
}

int NewestSlot(const SparseImage& image) {
  MemoryDevice memory(image);
  return *BestSlot(ProbeHeaders(memory));
}

struct Case {
  friend void PrintTo(const Case& test, std::ostream* out) { *out << test.name; }
  const char* name;
  ScrubKind kind;
  // The block that rots. nullptr: the header slot that is not the newest.
  std::function<bool(const ImageEditor&, const Node&)> pick;
  bool names_disk = false;  // "big"
};

const InodeData* InodeOf(const ImageEditor& e, const Node& node) {
  return node.inode < 0 ? nullptr : &*e.nodes()[static_cast<size_t>(node.inode)].data;
}
bool OfBig(const ImageEditor& e, const Node& node) {
  const InodeData* inode = InodeOf(e, node);
  return inode != nullptr && inode->meta.type == ObjectType::kRegfile &&
         e.ChildrenOf(node.inode).size() > 0 && inode->meta.inum.v == kInodeStart;
}

std::vector<Case> Cases() {
  const auto of_type = [](BrefType type) {
    return
        [type](const ImageEditor& e, const Node& n) { return n.bref.type == type && OfBig(e, n); };
  };
  const auto indirect = [](unsigned least, unsigned most) {
    return [=](const ImageEditor& e, const Node& n) {
      return n.bref.type == BrefType::kIndirect && OfBig(e, n) && n.bref.keybits >= least &&
             n.bref.keybits <= most;
    };
  };
  return {
      {"data", ScrubKind::kData, of_type(BrefType::kData), true},
      {"indirect_lowest", ScrubKind::kIndirect, indirect(16, 23), true},
      {"indirect_middle", ScrubKind::kIndirect, indirect(24, 31), true},
      {"indirect_top", ScrubKind::kIndirect, indirect(32, 63), true},
      {"inode", ScrubKind::kInode,
       [](const ImageEditor&, const Node& n) {
         return n.bref.type == BrefType::kInode && n.data->meta.inum.v == kInodeStart;
       },
       true},
      {"pfs_root", ScrubKind::kPfsRoot,
       [](const ImageEditor&, const Node& n) {
         return n.bref.type == BrefType::kInode && n.data->meta.pfsroot() &&
                n.data->name() == "DATA";
       }},
      {"super_root", ScrubKind::kSuperRoot,
       [](const ImageEditor&, const Node& n) {
         return n.bref.type == BrefType::kInode && n.parent < 0;
       }},
      {"dirent", ScrubKind::kDirent,
       [](const ImageEditor&, const Node& n) {
         return n.bref.type == BrefType::kDirent && n.bref.data_off.radix() != 0;
       }},
      {"freemap_leaf", ScrubKind::kFreemapLeaf,
       [](const ImageEditor&, const Node& n) { return n.bref.type == BrefType::kFreemapLeaf; }},
      {"header", ScrubKind::kHeader, nullptr},
  };
}

void Flip(MemoryDevice& memory, uint64_t off) {
  AlignedBuffer sector(512);
  const ByteOff at(RoundDown(off, 512));
  ASSERT_EQ(memory.Read(at, sector.span()), absl::OkStatus());
  sector.span()[off % 512] ^= std::byte{0x10};
  ASSERT_EQ(memory.Write(at, sector.span()), absl::OkStatus());
}

ScrubReport RunScrub(Volume& volume) {
  const auto id = volume.StartScrub();
  EXPECT_TRUE(id.ok()) << id.status();
  if (!id.ok()) return {};
  const auto info = volume.WaitOperation(*id, {});
  EXPECT_TRUE(info.ok() && info->state == OperationState::kDone) << info.status();
  return volume.LastScrub();
}

std::string TextOf(const ScrubReport& report) {
  std::string text = absl::StrCat(report.errors, " errors\n");
  for (const ScrubFinding& finding : report.findings)
    absl::StrAppend(&text, finding.ToString(), "\n");
  return text;
}

// Each place of the disk gives its text or DATA_LOSS; returns for how many it is DATA_LOSS.
int ReadEverywhere(Volume& volume, const std::string& name, uint64_t from, uint64_t length) {
  const auto disk = volume.OpenDisk({"DATA", name});
  if (!disk.ok()) {
    EXPECT_EQ(disk.status().code(), absl::StatusCode::kDataLoss) << disk.status();
    return -1;
  }
  int lost = 0;
  for (const uint64_t place : Places(name)) {
    const std::string expected = TextAt(name, place);
    std::string text(expected.size(), ' ');
    const absl::Status read = volume.Read(
        *disk, place, ByteSpan(reinterpret_cast<std::byte*>(text.data()), text.size()), {});
    const bool damaged = place >= from && place < from + length;
    if (read.ok()) {
      EXPECT_EQ(text, expected);
      EXPECT_FALSE(damaged) << place;
    } else {
      EXPECT_EQ(read.code(), absl::StatusCode::kDataLoss) << read;
      EXPECT_TRUE(damaged) << place;
      ++lost;
    }
  }
  return lost;
}

TEST(BitRot, AGoodVolumeHasNone) {
  MemoryDevice memory(Volumes());
  const auto volume = OpenOn(memory, ManualOptions());
  ASSERT_TRUE(volume.ok()) << volume.status();
  const ScrubReport report = RunScrub(**volume);
  EXPECT_EQ(report.errors, 0u) << TextOf(report);
  EXPECT_TRUE(report.complete);
  EXPECT_GT(report.blocks, 1000u);
  // Nothing is left out: as many blocks as all headers lead to, each once.
  const uint64_t again = RunScrub(**volume).blocks;
  EXPECT_EQ(again, report.blocks);
}

class BitRotOf : public testing::TestWithParam<Case> {};

TEST_P(BitRotOf, IsNamedAndStaysWhereItIs) {
  const Case& test = GetParam();
  const SparseImage& image = Volumes();
  const ImageEditor editor(image, NewestSlot(image));
  uint64_t rotten = HeaderSlotOffset((NewestSlot(image) + 2) % kVolumeHeaderSlots).v + 0x5000;
  uint64_t key = 0, length = 0;
  if (test.pick != nullptr) {
    const Node* found = nullptr;
    for (const Node& node : editor.nodes()) {
      if (test.pick(editor, node)) found = &node;
    }
    if (found == nullptr && test.kind == ScrubKind::kFreemapNode)
      GTEST_SKIP() << "no node so small";
    ASSERT_NE(found, nullptr);
    rotten = found->bref.data_off.offset().v + 40;
    key = found->bref.key.v;
    length = found->bref.last_key().v - key + 1;
  }
  MemoryDevice memory(image);
  const auto volume = OpenOn(memory, ManualOptions());
  ASSERT_TRUE(volume.ok()) << volume.status();
  Flip(memory, rotten);

  const ScrubReport report = RunScrub(**volume);
  ASSERT_EQ(report.errors, 1u) << TextOf(report);
  const ScrubFinding& finding = report.findings.front();
  EXPECT_EQ(finding.kind, test.kind) << finding.ToString();
  EXPECT_EQ(finding.older, test.kind == ScrubKind::kHeader);
  EXPECT_EQ(finding.device, "memory");
  EXPECT_EQ(finding.device_offset, RoundDown(rotten, test.pick == nullptr ? kPbufBytes : 1024));
  EXPECT_EQ(finding.disk, test.names_disk ? "big" : "") << finding.ToString();
  if (test.kind == ScrubKind::kData || test.kind == ScrubKind::kIndirect) {
    EXPECT_EQ(finding.pfs, "DATA");
    EXPECT_EQ(finding.offset, key);
    EXPECT_EQ(finding.length, std::min(length, kBig - key));
  }

  // The other disk is served whole, the damaged one but for its range.
  EXPECT_EQ(ReadEverywhere(**volume, "other", 0, 0), 0);
  const bool of_range = test.kind == ScrubKind::kData || test.kind == ScrubKind::kIndirect;
  const int lost = ReadEverywhere(**volume, "big", of_range ? key : 0, of_range ? length : 0);
  if (of_range) {
    EXPECT_GT(lost, 0);
  } else if (test.kind == ScrubKind::kInode) {
    EXPECT_LE(lost, 0) << "its block may be in memory still";
  } else {
    EXPECT_EQ(lost, 0);
  }
  EXPECT_EQ(RunScrub(**volume).errors, 1u) << "it stays told until it is gone";
  if (test.kind != ScrubKind::kInode) return;
  MemoryDevice cold(memory.Snapshot());
  const auto reopened = OpenOn(cold, ManualOptions());
  ASSERT_TRUE(reopened.ok()) << reopened.status();
  EXPECT_EQ(ReadEverywhere(**reopened, "big", 0, 0), -1);
  EXPECT_EQ(ReadEverywhere(**reopened, "other", 0, 0), 0);
}

std::string NameOf(const testing::TestParamInfo<Case>& test) { return test.param.name; }
INSTANTIATE_TEST_SUITE_P(EachKind, BitRotOf, testing::ValuesIn(Cases()), NameOf);

// A freemap node, which only large volumes have.
TEST(BitRot, AFreemapNodeIsNamed) {
  if (!SharedDir().has_value()) return SkipLoudly("bit rot in a freemap node");
  const SparseImage image = *LoadFixture("f15-freemap-node");
  const ImageEditor editor(image, NewestSlot(image));
  const Node& node = editor.nodes()[static_cast<size_t>(editor.Find(BrefType::kFreemapNode))];
  MemoryDevice memory(image);
  VolumeOptions read_only = ManualOptions();
  read_only.read_only = true;
  const auto volume = OpenOn(memory, read_only);
  ASSERT_TRUE(volume.ok()) << volume.status();
  EXPECT_EQ(RunScrub(**volume).errors, 0u) << TextOf((*volume)->LastScrub());
  Flip(memory, node.bref.data_off.offset().v + 40);
  const ScrubReport report = RunScrub(**volume);
  ASSERT_GE(report.errors, 1u);
  const ScrubFinding& finding = report.findings.front();
  EXPECT_EQ(finding.kind, ScrubKind::kFreemapNode) << finding.ToString();
  EXPECT_EQ(finding.offset, node.bref.key.v);
  EXPECT_EQ(finding.device_offset, node.bref.data_off.offset().v);
}

// I-06: a block in use that the freemap calls free is told, and marked before anybody gets it.
TEST(BitRot, ABlockInUseThatIsFreeInTheFreemapIsMarked) {
  const SparseImage& image = Volumes();
  ImageEditor editor(image, NewestSlot(image));
  const Node& data = editor.nodes()[static_cast<size_t>(editor.Find(
      [&](const Node& n) { return n.bref.type == BrefType::kData && OfBig(editor, n); }))];
  const uint64_t off = data.bref.data_off.offset().v;
  editor.EditLeaf(editor.Find([&](const Node& n) {
    return n.bref.type == BrefType::kFreemapLeaf && n.bref.Contains(Key(off));
  }),
                  [&](FreemapLeafData& leaf) {
                    BmapData& segment = leaf[off % kFreemapLeafSpan / kSegBytes];
                    segment.set_chunk(static_cast<int>(off % kSegBytes / kChunkBytes),
                                      ChunkState::kFree);
                    segment.avail += kChunkBytes;
                  });
  MemoryDevice memory(editor.image());
  {
    const auto volume = OpenOn(memory, ManualOptions());
    ASSERT_TRUE(volume.ok()) << volume.status();
    const ScrubReport report = RunScrub(**volume);
    EXPECT_GE(report.errors, 1u);
    for (const ScrubFinding& finding : report.findings) {
      EXPECT_EQ(finding.kind, ScrubKind::kFreemapState) << finding.ToString();
      EXPECT_EQ(finding.disk, "big");
    }
    ASSERT_TRUE((*volume)->CreateDisk({"DATA", "new"}, {.size_bytes = kGiB}).ok());
    ASSERT_EQ((*volume)->RunCycle(), absl::OkStatus());
    EXPECT_EQ(RunScrub(**volume).errors, 0u);
    ASSERT_EQ((*volume)->Close(), absl::OkStatus());
  }
  BlockDevice* devices[] = {&memory};
  CheckOptions newest;
  newest.slot = BestSlot(ProbeHeaders(memory));
  const CheckReport report = CheckDevices(devices, newest);
  EXPECT_EQ(report.count(FindingCode::kFreemapUnmarked), 0u) << report.ToString();
}

// Writes and cycles between the steps: headers go, blocks move, and nothing of it is damage.
TEST(BitRot, AScrubAmongWritesFindsNothing) {
  MemoryDevice memory(Volumes());
  const auto volume = OpenOn(memory, ManualOptions());
  ASSERT_TRUE(volume.ok()) << volume.status();
  const auto id = (*volume)->StartScrub();
  ASSERT_TRUE(id.ok()) << id.status();
  EXPECT_EQ((*volume)->StartScrub().status().code(), absl::StatusCode::kAlreadyExists);
  const auto disk = (*volume)->OpenDisk({"DATA", "big"});
  int steps = 0;
  for (; (*volume)->RunBackgroundStep(); ++steps) {
    ASSERT_EQ(WriteText(**volume, *disk, static_cast<uint64_t>(steps) * kStep, "changed"),
              absl::OkStatus());
    ASSERT_EQ((*volume)->RunCycle(), absl::OkStatus());
  }
  EXPECT_GT(steps, 2);
  const auto info = (*volume)->GetOperation(*id);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->state, OperationState::kDone) << info->status;
  EXPECT_EQ((*volume)->LastScrub().errors, 0u) << TextOf((*volume)->LastScrub());
  EXPECT_TRUE((*volume)->LastScrub().complete);
}

}  // namespace
}  // namespace h2bd
