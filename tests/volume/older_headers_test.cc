// Older headers of the ring that another implementation has left: what their own freemaps do not
// tell is not written over either while they may be mounted (spec 04 I-02, P8; spec 02 rule 0.7).
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/media/placement.h"
#include "tests/fsck/image_editor.h"
#include "tests/support/fixtures.h"
#include "tests/volume/device_stack.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

constexpr uint64_t kVolumeBytes = 8 * kGiB;  // four header slots
constexpr uint64_t kDiskBytes = 3 * kMiB;

class WarningLogger final : public Logger {
 public:
  void Write(LogSeverity severity, absl::string_view message,
             std::initializer_list<LogField> fields) override {
    if (severity != LogSeverity::kWarning) return;
    std::string line(message);
    for (const auto& [name, value] : fields) absl::StrAppend(&line, " ", name, "=", value);
    warnings.push_back(line);
  }
  bool Warned(absl::string_view about) const {
    return std::any_of(warnings.begin(), warnings.end(),
                       [&](const std::string& line) { return absl::StrContains(line, about); });
  }
  std::vector<std::string> warnings;
};

// The headers in the ring have one disk more each; the newest has gone back to the tree and the
// freemap of the oldest: the other disks were deleted and their space freed.
class OlderHeaders : public testing::Test {
 protected:
  OlderHeaders() : image_(0) {
    SetImages images = *FormattedSet({kVolumeBytes});
    // A leaf in each zone, and thus nodes above them.
    EXPECT_EQ(Occupy(images, [](uint64_t at) { return at % kGiB != kGiB / 2; }), absl::OkStatus());
    DeviceStack stack(images);
    const auto volume = stack.Open(ManualOptions());
    EXPECT_TRUE(volume.ok()) << volume.status();
    for (int disk = 0; disk < 4; ++disk) {
      Add(**volume, absl::StrCat("disk", disk), kDiskBytes + static_cast<uint64_t>(disk));
    }
    image_ = stack.Snapshot().front();
    const auto oldest = HeaderOf(3);
    EditHeader(0, [&](VolumeData& newest) {
      newest.sroot_blockset = oldest->sroot_blockset;
      newest.freemap_blockset = oldest->freemap_blockset;
      newest.allocator_free = oldest->allocator_free;
    });
    newest_ = HeaderOf(0)->mirror_tid;
  }

  void Add(Volume& volume, const std::string& name, uint64_t bytes) {
    std::string noise(bytes, '\0');
    rng_.Fill(std::as_writable_bytes(std::span(noise)));
    ASSERT_TRUE(volume.CreateDisk({"", name}, {bytes}).ok());
    ASSERT_EQ(WriteText(volume, *volume.OpenDisk({"", name}), 0, noise), absl::OkStatus());
    const auto synced = volume.Sync(nullptr, {});
    ASSERT_TRUE(synced.ok()) << synced.status();
  }

  // The slot of the header that lies `back` cycles before the newest.
  int SlotOf(uint64_t back) const {
    std::map<Tid, int> slots;
    for (int slot = 0; slot < kVolumeHeaderSlots; ++slot) slots[HeaderIn(slot)->mirror_tid] = slot;
    return std::prev(slots.end(), static_cast<int>(back) + 1)->second;
  }
  std::unique_ptr<VolumeData> HeaderIn(int slot) const {
    auto header = std::make_unique<VolumeData>();
    image_.Read(HeaderSlotOffset(slot).v, std::as_writable_bytes(std::span(header.get(), 1)));
    return header;
  }
  std::unique_ptr<VolumeData> HeaderOf(uint64_t back) const { return HeaderIn(SlotOf(back)); }
  void EditHeader(uint64_t back, const std::function<void(VolumeData&)>& change) {
    const int slot = SlotOf(back);
    const auto header = HeaderIn(slot);
    change(*header);
    SealVolumeData(*header);
    image_.Write(HeaderSlotOffset(slot).v, std::as_bytes(std::span(header.get(), 1)));
  }
  // The freemap of this header is the one of the oldest.
  void MakeLag(uint64_t back) {
    const auto oldest = HeaderOf(3);
    EditHeader(back, [&](VolumeData& header) {
      header.freemap_blockset = oldest->freemap_blockset;
      header.freemap_tid = oldest->freemap_tid;
      header.allocator_free = oldest->allocator_free;
    });
  }
  void FlipBitIn(const Blockref& bref) {
    const uint64_t at = bref.data_off.offset().v + 40;
    std::byte byte{};
    image_.Read(at, {&byte, 1});
    byte ^= std::byte{1};
    image_.Write(at, {&byte, 1});
  }

  // Opens the image, fills much more than what was freed, and looks at the older headers (but for
  // `broken`) until they have left the ring.
  void ExpectTreesKept(Tid broken = Tid(0)) {
    std::map<Tid, std::string> expected = DigestsOf(image_);
    expected.erase(broken);
    ASSERT_EQ(expected.size(), broken == Tid(0) ? 4u : 3u);
    DeviceStack stack({image_});
    const auto volume = stack.Open(ManualOptions(), {.logger = &logger_});
    ASSERT_TRUE(volume.ok()) << volume.status();
    EXPECT_GT((*volume)->GetStatus().space.staged_bytes, kDiskBytes);
    for (int cycle = 0; cycle < 6; ++cycle) {
      Add(**volume, absl::StrCat("new", cycle), 4 * kDiskBytes);
      for (const auto& [tid, digest] : DigestsOf(stack.Snapshot().front())) {
        const auto before = expected.find(tid);
        if (before != expected.end()) {
          EXPECT_EQ(digest, before->second) << "header " << tid.v << " after cycle " << cycle;
        }
      }
    }
    EXPECT_EQ((*volume)->GetStatus().space.staged_bytes, 0u) << "they have left the ring";
    ExpectCleanSet(stack.Snapshot());
  }

  SeededRandom rng_{TestSeed()};
  WarningLogger logger_;
  SparseImage image_;
  Tid newest_;
};

TEST_F(OlderHeaders, WhatTheirLaggingFreemapsMissIsHeldUntilTheyAreGone) {
  MakeLag(1);
  MakeLag(2);
  ExpectTreesKept();
}

TEST_F(OlderHeaders, ATreeWhoseFreemapNodeCannotBeReadIsHeldAsAWhole) {
  const ImageEditor editor(image_, SlotOf(1));
  const auto node = static_cast<size_t>(editor.Find(BrefType::kFreemapNode));
  FlipBitIn(editor.nodes()[node].bref);
  ExpectTreesKept();
  EXPECT_TRUE(logger_.Warned("freemap node cannot be read"));
}

// Nobody reaches what is below such a table; the volume opens, and the rest is held.
TEST_F(OlderHeaders, ATableThatCannotBeReadIsPassedOver) {
  MakeLag(1);
  MakeLag(2);
  const ImageEditor editor(image_, SlotOf(1));
  const auto inode =
      static_cast<size_t>(editor.FindInode([](const InodeData& data, const ImageEditor::Node&) {
        return data.meta.type == ObjectType::kRegfile && data.meta.size == kDiskBytes + 2;
      }));
  FlipBitIn(editor.nodes()[inode].bref);
  const Tid broken(newest_.v - 1);
  ExpectTreesKept(broken);
  EXPECT_TRUE(logger_.Warned(absl::StrCat("mirror_tid=", broken.v, " tables=1")));
}

}  // namespace
}  // namespace h2bd
