// Bits flip at random in good images, in half of the cases with the check codes above made right
// again. Whatever comes of it: everything can be opened, read, digested and checked without a crash
// or a hang, and what the checker does not notice does no harm. Meant for the address and
// undefined-behaviour sanitizers.
//
// H2BD_BITFLIP_IMAGES sets the number of images (500), H2BD_SEED the seed.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "absl/strings/numbers.h"
#include "core/base/random.h"
#include "core/fsck/media_reader.h"
#include "core/fsck/tree_digest.h"
#include "core/media/placement.h"
#include "tests/fsck/image_editor.h"
#include "tests/fsck/volume_fixture.h"
#include "tests/support/fixtures.h"

namespace h2bd {
namespace {

// Small ones, and none whose digest takes seconds. f13 holds data without check codes.
constexpr const char* kImages[] = {
    "f01-basic-2g",  "f04-autozero-sha192", "f05-zlib-levels",
    "f06-indirect",  "f07-bigdir",          "f08-pfs-snapshot",
    "f10-destroyed", "f11-bulkfree",        "f13-check-none-disabled",
    "f14-format-1"};
constexpr char kUnchecked[] = "f13-check-none-disabled";

int ImagesWanted() {
  int count = 500;
  if (const char* given = std::getenv("H2BD_BITFLIP_IMAGES"); given != nullptr) {
    EXPECT_TRUE(absl::SimpleAtoi(given, &count)) << "H2BD_BITFLIP_IMAGES=" << given;
  }
  return count;
}

struct Outcome {
  CheckReport report;
  std::string digest;  // "" when there is none
};

// Reads all that can be reached by any means; every error is allowed.
void ReadEverything(MediaReader& reader) {
  const absl::StatusOr<std::vector<MediaPfs>> all = reader.ListPfs();
  if (!all.ok()) return;
  for (const MediaPfs& pfs : *all) {
    const auto read_inode = [&](const InodeData& inode) -> absl::StatusOr<bool> {
      reader.ListDirectory(inode).status().IgnoreError();
      reader.ReadLink(inode).status().IgnoreError();
      reader
          .ForEachBlock(inode,
                        [&](uint64_t off, ConstByteSpan bytes) {
                          EXPECT_LE(off + bytes.size(), inode.meta.size);
                          return absl::OkStatus();
                        })
          .IgnoreError();
      return true;
    };
    reader.ForEachInode(pfs, read_inode).IgnoreError();
    reader.ListDirectory(pfs.root).status().IgnoreError();
    reader.Lookup(pfs, "data/half-random").status().IgnoreError();
  }
}

Outcome Examine(const SparseImage& image) {
  MemoryDevice device(image);
  Outcome outcome;
  outcome.report = CheckImage(device);
  absl::StatusOr<VolumeSet> set = OpenSet(device);
  if (!set.ok()) return outcome;
  for (int slot = 0; slot < kVolumeHeaderSlots; ++slot) {
    absl::StatusOr<MediaReader> older = MediaReader::Open(*set, slot);
    if (older.ok()) ReadEverything(*older);
  }
  absl::StatusOr<MediaReader> reader = MediaReader::Open(*set);
  if (!reader.ok()) return outcome;
  outcome.digest = TreeDigest(*reader).value_or("");
  return outcome;
}

const Outcome& BaselineOf(const std::string& name) {
  static auto& baselines = *new std::map<std::string, Outcome>();
  const auto it = baselines.find(name);
  if (it != baselines.end()) return it->second;
  return baselines.emplace(name, Examine(CachedFixture(name))).first->second;
}

class Flipper {
 public:
  Flipper(const SparseImage& image, uint64_t seed)
      : random_(seed), editor_(image, BestSlotOf(image)) {}

  // Whether check codes were mended, so that damage may look like content.
  bool Flip() {
    const bool mended = Below(2) == 0;
    if (mended) FlipAndMend();
    for (uint64_t flips = mended ? Below(2) : 1 + Below(8); flips > 0; --flips) FlipRaw();
    return mended;
  }
  const SparseImage& image() const { return editor_.image(); }

 private:
  static int BestSlotOf(const SparseImage& image) {
    MemoryDevice device(image);
    const std::optional<int> best = BestSlot(ProbeHeaders(device));
    H2_ASSERT(best.has_value());
    return *best;
  }
  uint64_t Below(uint64_t bound) { return random_.Next64() % bound; }
  void FlipBit(ByteSpan bytes) {
    const uint64_t bit = Below(bytes.size() * 8);
    bytes[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
  }

  // A node of a type chosen first, so that the few freemap leaves have their share.
  int AnyNode() {
    const auto type = static_cast<BrefType>(1 + Below(6));
    std::vector<int> candidates;
    for (size_t i = 0; i < editor_.nodes().size(); ++i) {
      if (editor_.nodes()[i].bref.type == type) candidates.push_back(static_cast<int>(i));
    }
    if (candidates.empty()) return static_cast<int>(Below(editor_.nodes().size()));
    return candidates[Below(candidates.size())];
  }

  void FlipAndMend() {
    if (Below(10) == 0) {
      editor_.EditHeader([&](VolumeData& header) {
        FlipBit(std::as_writable_bytes(std::span(&header, 1)).first(0x1000));
      });
      return;
    }
    const int node = AnyNode();
    const bool has_block = editor_.nodes()[static_cast<size_t>(node)].bref.data_off.radix() != 0;
    if (has_block && Below(2) == 0) {
      editor_.EditBlock(node, [&](ByteSpan block) {
        for (uint64_t flips = 1 + Below(3); flips > 0; --flips) FlipBit(block);
      });
    } else {
      editor_.EditBref(node,
                       [&](Blockref& b) { FlipBit(std::as_writable_bytes(std::span(&b, 1))); });
    }
  }

  // In a header, in a block that is in use, or anywhere that was ever written.
  void FlipRaw() {
    uint64_t off = 0, bytes = 0;
    const DataOff block = editor_.nodes()[static_cast<size_t>(AnyNode())].bref.data_off;
    const uint64_t choice = Below(10);
    if (choice == 0) {
      off = HeaderSlotOffset(static_cast<int>(Below(4))).v;
      bytes = 0x1000;
    } else if (choice < 8 && block.radix() != 0) {
      off = block.offset().v;
      bytes = block.bytes();
    } else {
      auto page = editor_.image().pages().begin();
      std::advance(page, static_cast<ptrdiff_t>(Below(editor_.image().pages().size())));
      off = page->first * SparseImage::kPage;
      bytes = SparseImage::kPage;
    }
    if (off + bytes > editor_.image().size()) return;
    std::vector<std::byte> content(bytes);
    editor_.image().Read(off, content);
    FlipBit(content);
    editor_.Smash(off, content);
  }

  SeededRandom random_;
  ImageEditor editor_;
};

TEST(Bitflip, NothingCrashesAndNothingHarmfulGoesUnnoticed) {
  if (!SharedDir().has_value()) {
    SkipLoudly("bit flips in the reference's images");
    return;
  }
  const uint64_t seed = TestSeed();
  SeededRandom random(seed);
  int noticed = 0;
  const int wanted = ImagesWanted();
  for (int i = 0; i < wanted; ++i) {
    const std::string name = kImages[random.Next64() % std::size(kImages)];
    SCOPED_TRACE(testing::Message() << "H2BD_SEED=" << seed << ", image " << i << " from " << name);
    const Outcome& before = BaselineOf(name);
    Flipper flipper(CachedFixture(name), random.Next64());
    const bool mended = flipper.Flip();
    const Outcome after = Examine(flipper.image());
    const bool same_findings = after.report.errors == before.report.errors &&
                               after.report.warnings == before.report.warnings;
    noticed += !same_findings;
    // Without the check codes' help contents may change unseen.
    if (same_findings && !mended && name != kUnchecked) {
      EXPECT_EQ(after.digest, before.digest) << after.report.ToString(Severity::kNote);
    }
  }
  EXPECT_GT(noticed, wanted / 4) << "the flips hit nothing, so the test shows nothing";
}

}  // namespace
}  // namespace h2bd
