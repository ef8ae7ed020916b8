// Rows of the fault table of spec 04 section 11 that need an edited image or a clock: torn headers
// (14), jumps of the clock (24), transaction ids at their end (27).
#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/media/placement.h"
#include "tests/fsck/image_editor.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fixtures.h"
#include "tests/volume/device_stack.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

constexpr uint64_t kDiskBytes = 300 * 1000;
constexpr uint64_t kSectorBytes = 512;
constexpr absl::Duration kYear = absl::Hours(24 * 365);

std::string Noise(SeededRandom& rng, size_t bytes) {
  std::string text(bytes, '\0');
  rng.Fill(std::as_writable_bytes(std::span(text)));
  return text;
}

// --- row 14

// A volume whose last header went to a slot that held an older one; the parameter is its size,
// which gives it two or four slots.
class TornHeader : public testing::TestWithParam<uint64_t> {
 protected:
  TornHeader() : published_(0), unpublished_(0) {
    DeviceStack stack({*FormattedImage(GetParam())});
    const auto volume = stack.Open(ManualOptions());
    EXPECT_TRUE((*volume)->CreateDisk({"", "d"}, {kDiskBytes}).ok());
    const DiskRef disk = *(*volume)->OpenDisk({"", "d"});
    // Once around the ring, so that the slot is not blank.
    for (int cycle = 0; cycle <= kVolumeHeaderSlots; ++cycle) {
      before_ = after_;
      after_ = Noise(rng_, kDiskBytes);
      EXPECT_EQ(WriteText(**volume, disk, 0, after_), absl::OkStatus());
      begin_ = stack.log().size();
      unpublished_ = stack.Snapshot().front();
      const auto synced = (*volume)->Sync(nullptr, {});
      EXPECT_TRUE(synced.ok()) << synced.status();
      tid_ = synced->mirror_tid;
    }
    published_ = stack.Snapshot().front();
    for (const IoEvent& event : stack.EventsFrom(begin_)) {
      if (event.kind != IoEvent::kWrite) continue;
      if (IsHeaderWrite(event)) {
        header_ = event;
      } else {
        unpublished_.Write(event.off, event.bytes->span());
      }
    }
  }
  // The disk with the old header and every block of the new one; of the new header those sectors
  // that `keep` wants.
  template <class Keep>
  SparseImage Torn(Keep keep) const {
    SparseImage image = unpublished_;
    for (uint64_t at = 0; at < kVolumeHeaderBytes; at += kSectorBytes) {
      if (!keep(at / kSectorBytes)) continue;
      image.Write(header_.off + at, header_.bytes->span().subspan(at, kSectorBytes));
    }
    return image;
  }
  void ExpectNewOnlyWhenWhole(const SparseImage& image) {
    AlignedBuffer slot(kVolumeHeaderBytes);
    image.Read(header_.off, slot.span());
    const bool whole = AsText(slot.span()) == AsText(header_.bytes->span());
    ImageVolume volume({image}, ManualOptions());
    ASSERT_TRUE(volume.status().ok()) << volume.status();
    EXPECT_EQ(volume->GetStatus().mirror_tid, Tid(whole ? tid_.v : tid_.v - 1));
    const DiskRef disk = *volume->OpenDisk({"", "d"});
    EXPECT_TRUE(*ReadAll(*volume, disk) == (whole ? after_ : before_));
    ASSERT_EQ(WriteText(*volume, disk, 5, "on it goes"), absl::OkStatus());
    const auto synced = volume->Sync(nullptr, {});
    ASSERT_TRUE(synced.ok()) << synced.status();
    EXPECT_GE(synced->mirror_tid, tid_);
    ExpectCleanSet(volume.Snapshot());
  }

  SeededRandom rng_{2};
  std::string before_, after_;
  size_t begin_ = 0;
  IoEvent header_;
  Tid tid_;
  SparseImage published_, unpublished_;
};

TEST_P(TornHeader, CutAtEachSectorItOpensWithTheOneBefore) {
  const uint64_t sectors = kVolumeHeaderBytes / kSectorBytes;
  for (uint64_t cut = 0; cut <= sectors; ++cut) {
    SCOPED_TRACE(absl::StrCat("cut at sector ", cut));
    ExpectNewOnlyWhenWhole(Torn([&](uint64_t sector) { return sector < cut; }));
    ExpectNewOnlyWhenWhole(Torn([&](uint64_t sector) { return sector >= cut; }));
    if (HasFailure()) return;
  }
  EXPECT_TRUE(Torn([](uint64_t) { return true; }) == published_) << "the record is complete";
}

TEST_P(TornHeader, WithoutAnyOneSectorItOpensWithTheOneBefore) {
  for (uint64_t lost = 0; lost < kVolumeHeaderBytes / kSectorBytes; ++lost) {
    SCOPED_TRACE(absl::StrCat("without sector ", lost));
    ExpectNewOnlyWhenWhole(Torn([&](uint64_t sector) { return sector != lost; }));
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Volumes, TornHeader, testing::Values(3 * kGiB, 8 * kGiB));

// --- row 24

// Whoever sets the clock, back or forth, changes times on media and nothing else.
class ClockJump : public testing::TestWithParam<int> {
 protected:
  absl::Duration jump() const { return GetParam() * kYear; }
  FakeClock clock_;
};

TEST_P(ClockJump, CommitsGoOnAndTimesFollowTheWall) {
  MemoryDevice device(*FormattedImage(8 * kGiB));
  VolumeEnv env;
  env.clock = &clock_;
  absl::Time written;
  Tid last;
  {
    const auto volume = OpenOn(device, ManualOptions(), env);
    ASSERT_TRUE(volume.ok()) << volume.status();
    ASSERT_TRUE((*volume)->CreateDisk({"", "d"}, {kDiskBytes}).ok());
    const DiskRef disk = *(*volume)->OpenDisk({"", "d"});
    for (int cycle = 0; cycle < 6; ++cycle) {
      clock_.JumpWall(cycle % 2 == 0 ? jump() : -jump());
      clock_.Advance(absl::Seconds(1));
      ASSERT_EQ(WriteText(**volume, disk, 0, absl::StrCat("cycle ", cycle)), absl::OkStatus());
      written = clock_.WallNow();
      clock_.JumpWall(jump() / 2);  // between the change and its commit
      const auto synced = (*volume)->Sync(nullptr, {});
      ASSERT_TRUE(synced.ok()) << synced.status();
      EXPECT_TRUE(cycle == 0 || synced->mirror_tid == Tid(last.v + 1));
      last = synced->mirror_tid;
      EXPECT_EQ((*volume)->GetDisk({"", "d"})->modify_time, written);
      EXPECT_EQ((*volume)->RecentCycles().back().took, absl::ZeroDuration());
    }
  }
  ImageVolume later({device.Snapshot()}, ManualOptions());
  ASSERT_TRUE(later.status().ok()) << later.status();
  EXPECT_EQ(later->GetDisk({"", "d"})->modify_time,
            absl::FromUnixMicros(absl::ToUnixMicros(written)));
  EXPECT_EQ(ReadAll(*later, *later->OpenDisk({"", "d"}))->substr(0, 7), "cycle 5");
  ExpectCleanSet(later.Snapshot());
}

TEST_P(ClockJump, LeasesOfTransactionsCountTimeThatPasses) {
  MemoryDevice device(*FormattedImage(1 * kGiB));
  VolumeEnv env;
  env.clock = &clock_;
  const VolumeOptions options = ManualOptions();
  const auto volume = OpenOn(device, options, env);
  ASSERT_TRUE(volume.ok()) << volume.status();
  ASSERT_TRUE((*volume)->CreateDisk({"", "d"}, {kDiskBytes}).ok());
  const DiskRef disk = *(*volume)->OpenDisk({"", "d"});
  const ConstByteSpan bytes = AsBytes(absl::string_view("staged"));
  const TxnId kept = (*volume)->Begin({})->id;
  clock_.JumpWall(jump());
  EXPECT_EQ((*volume)->TxnWrite(kept, disk, 0, std::span(&bytes, 1), {}), absl::OkStatus());
  clock_.Advance(options.transactions.idle_timeout - absl::Seconds(1));
  EXPECT_EQ((*volume)->GetTransaction(kept)->state, TxnState::kOpen);
  EXPECT_TRUE((*volume)->Commit(kept, {}).ok());
  const TxnId lost = (*volume)->Begin({})->id;
  clock_.JumpWall(-jump());
  clock_.Advance(options.transactions.idle_timeout + absl::Seconds(1));
  EXPECT_EQ((*volume)->GetTransaction(lost)->state, TxnState::kExpired);
}

INSTANTIATE_TEST_SUITE_P(Years, ClockJump, testing::Values(-10, 10));

// --- row 27

class LastTids : public testing::TestWithParam<uint64_t> {
 protected:
  LastTids() : image_(0) {
    DeviceStack stack({*FormattedImage(8 * kGiB)});
    const auto volume = stack.Open(ManualOptions());
    EXPECT_TRUE((*volume)->CreateDisk({"", "d"}, {kDiskBytes}).ok());
    EXPECT_EQ(WriteText(**volume, *(*volume)->OpenDisk({"", "d"}), 0, content_), absl::OkStatus());
    slot_ = (*volume)->Sync(nullptr, {})->header_slot;
    image_ = stack.Snapshot().front();
  }
  static int DataRoot(const ImageEditor& editor) {
    return editor.FindInode([](const InodeData& inode, const ImageEditor::Node& node) {
      return (node.bref.flags & kBrefFlagPfsroot) != 0 && inode.filename[0] == 'D';
    });
  }
  void ExpectReadable(const SparseImage& image) {
    VolumeOptions options = ManualOptions();
    options.read_only = true;
    ImageVolume volume({image}, options);
    ASSERT_TRUE(volume.status().ok()) << volume.status();
    EXPECT_TRUE(*ReadAll(*volume, *volume->OpenDisk({"", "d"})) == content_);
  }
  // With one id left it is used, and then the volume stops; with none it does not open for writing.
  // Never does an id wrap.
  void ExpectNoWrap(const SparseImage& image) {
    ExpectReadable(image);
    DeviceStack stack({image});
    const auto volume = stack.Open(ManualOptions());
    if (GetParam() >= kTidLimit - 1) {
      EXPECT_EQ(volume.status().code(), absl::StatusCode::kFailedPrecondition);
      EXPECT_TRUE(absl::StrContains(volume.status().message(), "transaction ids"))
          << volume.status();
      EXPECT_TRUE(stack.Snapshot().front() == image) << "refused, and changed all the same";
      return;
    }
    ASSERT_TRUE(volume.ok()) << volume.status();
    const DiskRef disk = *(*volume)->OpenDisk({"", "d"});
    ASSERT_EQ(WriteText(**volume, disk, 0, "last"), absl::OkStatus());
    content_.replace(0, 4, "last");
    const Tid before = (*volume)->GetStatus().mirror_tid;
    const auto synced = (*volume)->Sync(nullptr, {});
    ASSERT_TRUE(synced.ok()) << synced.status();
    EXPECT_EQ(synced->mirror_tid, Tid(before.v + 1));
    ASSERT_EQ(WriteText(**volume, disk, 0, "over"), absl::OkStatus());
    EXPECT_EQ(ReasonOf((*volume)->Sync(nullptr, {}).status()), kReasonReadOnlyFailstop);
    ExpectReadable(stack.Snapshot().front());
    EXPECT_FALSE(ImageVolume(stack.Snapshot(), ManualOptions()).status().ok());
  }

  SeededRandom rng_{4};
  std::string content_ = Noise(rng_, kDiskBytes);
  SparseImage image_;
  int slot_ = 0;
};

TEST_P(LastTids, InTheHeader) {
  ImageEditor editor(image_, slot_);
  editor.EditHeader(
      [](VolumeData& header) { header.mirror_tid = header.freemap_tid = Tid(GetParam()); });
  ExpectNoWrap(editor.image());
}

TEST_P(LastTids, ModifyTidOfAPfsRoot) {
  ImageEditor editor(image_, slot_);
  editor.EditBref(DataRoot(editor), [](Blockref& bref) { bref.modify_tid = Tid(GetParam()); });
  ExpectNoWrap(editor.image());
}

TEST_P(LastTids, ModifyTidOfASnapshotInAPfsRoot) {
  ImageEditor editor(image_, slot_);
  editor.EditInode(DataRoot(editor),
                   [](InodeData& inode) { inode.meta.pfs_lsnap_tid = Tid(GetParam()); });
  ExpectNoWrap(editor.image());
}

// Ids that only a block far below carries: whatever the engine makes of them, it says so or goes on
// with ids that still rise, and what it acknowledges is there.
TEST_P(LastTids, OfADataBlock) {
  for (const bool mirror : {false, true}) {
    SCOPED_TRACE(mirror ? "mirror_tid" : "modify_tid");
    ImageEditor editor(image_, slot_);
    editor.EditBref(editor.Find(BrefType::kData), [&](Blockref& bref) {
      (mirror ? bref.mirror_tid : bref.modify_tid) = Tid(GetParam());
    });
    ExpectReadable(editor.image());
    DeviceStack stack({editor.image()});
    std::string content = content_;
    Tid last(0);
    {
      const auto volume = stack.Open(ManualOptions());
      if (!volume.ok()) continue;
      last = (*volume)->GetStatus().mirror_tid;
      const DiskRef disk = *(*volume)->OpenDisk({"", "d"});
      for (const char* text : {"first", "again"}) {
        ASSERT_EQ(WriteText(**volume, disk, 0, text), absl::OkStatus());
        const auto synced = (*volume)->Sync(nullptr, {});
        if (!synced.ok()) break;
        content.replace(0, 5, text);
        EXPECT_GT(synced->mirror_tid, last);
        EXPECT_LT(synced->mirror_tid, Tid(kTidLimit));
        last = synced->mirror_tid;
      }
    }
    VolumeOptions options = ManualOptions();
    options.read_only = true;
    ImageVolume later(stack.Snapshot(), options);
    ASSERT_TRUE(later.status().ok()) << later.status();
    EXPECT_EQ(later->GetStatus().mirror_tid, last);
    EXPECT_TRUE(*ReadAll(*later, *later->OpenDisk({"", "d"})) == content);
  }
}

INSTANTIATE_TEST_SUITE_P(Ends, LastTids,
                         testing::Values(kTidLimit - 2, kTidLimit - 1, kTidLimit,
                                         std::numeric_limits<uint64_t>::max()));

}  // namespace
}  // namespace h2bd
