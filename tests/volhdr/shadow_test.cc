// The second copy of the only header on a small volume.
#include "core/volhdr/shadow.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "absl/strings/str_cat.h"
#include "core/media/placement.h"
#include "core/volhdr/header_ring.h"
#include "tests/support/crash_image.h"
#include "tests/support/fault_device.h"
#include "tests/volhdr/headers.h"

namespace h2bd {
namespace {

using testing::HasSubstr;

constexpr uint64_t kSize = 1000 * kMiB;  // 32 MiB boot, 32 MiB aux
constexpr uint64_t kShadow = 68 * kMiB - 64 * kKiB;

TEST(ShadowPlace, IsTheEndOfTheAuxAreaOfAOneSlotVolume) {
  EXPECT_EQ(HeaderRing::ShadowPlace(*MakeHeader(kSize, Tid(16))), ByteOff(kShadow));
  EXPECT_EQ(HeaderRing::ShadowPlace(*MakeHeader(2 * kGiB, Tid(16))),
            ByteOff(132 * kMiB - 64 * kKiB));
  EXPECT_EQ(HeaderRing::ShadowPlace(*MakeHeader(2 * kGiB + 8 * kMiB, Tid(16))), std::nullopt);
  EXPECT_EQ(HeaderRing::ShadowPlace(*MakeHeader({kGiB, kGiB}, 0, Tid(16))),
            ByteOff(132 * kMiB - 64 * kKiB));
  EXPECT_EQ(HeaderRing::ShadowPlace(*MakeHeader({kGiB, kGiB}, 1, Tid(16))), std::nullopt);
  struct Case {
    uint64_t aux_beg, aux_end;
    bool has_shadow;
    const char* why;
  };
  for (const Case& c :
       {Case{0, 0, false, "no areas"}, Case{36 * kMiB, 36 * kMiB, false, "an empty one"},
        Case{36 * kMiB, 36 * kMiB + 32 * kKiB, false, "too small"},
        Case{36 * kMiB, 36 * kMiB + 64 * kKiB, true, "just enough"},
        Case{36 * kMiB, 40 * kMiB + 512, false, "not aligned"},
        Case{40 * kMiB, 36 * kMiB, false, "inverted"}, Case{0, 64 * kKiB, false, "over slot 0"},
        Case{36 * kMiB, kSize + 8 * kMiB, false, "past the volume"},
        Case{0 - 64 * kKiB, 0, false, "wraps"}}) {
    auto header = MakeHeader(kSize, Tid(16));
    header->aux_beg = c.aux_beg;
    header->aux_end = c.aux_end;
    EXPECT_EQ(HeaderRing::ShadowPlace(*header).has_value(), c.has_shadow) << c.why;
  }
}

// A volume whose header 17 was published; `before_` and `events_` are the disk and the record of
// publishing 18.
class ShadowTest : public testing::Test {
 protected:
  ShadowTest() : memory_(MakeDevice(kSize, *header_)), recording_(*memory_, log_, 0) {
    Open();
    H2_ASSERT(ring_->Fence().ok());
    Publish(17);
    before_ = memory_->Snapshot();
    const size_t begin = log_.size();
    Publish(18);
    events_ = log_.events();
    events_.erase(events_.begin(), events_.begin() + static_cast<ptrdiff_t>(begin));
  }
  void Open() {
    ring_.reset();
    absl::StatusOr<VolumeSet> set = Assemble({&recording_});
    H2_ASSERT(set.ok());
    set_ = *std::move(set);
    ring_ = std::make_unique<HeaderRing>(*set_.devices, set_, NullLogger());
  }
  void Publish(uint64_t tid) {
    Stamp(*header_, Tid(tid));
    H2_ASSERT(ring_->Publish(*header_, nullptr).ok());
  }
  // The disk before the publish, with those sectors of event `event` of which `keep(i)` is true.
  template <class Keep>
  MemoryDevice Torn(size_t event, Keep keep) {
    SparseImage image = before_;
    for (size_t i = 0; i < event; ++i) {
      if (events_[i].kind == IoEvent::kWrite) image.Write(events_[i].off, events_[i].bytes->span());
    }
    for (size_t i = 0; i < kVolumeHeaderBytes / 512; ++i) {
      if (keep(i)) {
        image.Write(events_[event].off + i * 512,
                    events_[event].bytes->span().subspan(i * 512, 512));
      }
    }
    return MemoryDevice(std::move(image));
  }
  static std::vector<std::function<bool(size_t)>> Tears(size_t cut) {
    return {[cut](size_t i) { return i < cut; }, [cut](size_t i) { return i >= cut; },
            [cut](size_t i) { return i != cut; }, [cut](size_t i) { return i == cut; }};
  }
  void Corrupt(BlockDevice& device, uint64_t off, int value) {
    AlignedBuffer sector(512);
    std::memset(sector.data(), value, sector.size());
    WriteBytes(device, off, sector.span());
  }

  std::unique_ptr<VolumeData> header_ = MakeHeader(kSize, Tid(16));
  std::unique_ptr<MemoryDevice> memory_;
  IoLog log_;
  RecordingDevice recording_;
  VolumeSet set_;
  std::unique_ptr<HeaderRing> ring_;
  SparseImage before_{kSize};
  std::vector<IoEvent> events_;
};

TEST_F(ShadowTest, TheShadowIsWrittenFirstAndEachCopyHasItsBarrier) {
  ASSERT_EQ(events_.size(), 4u);
  EXPECT_EQ(events_[0].off, kShadow);
  EXPECT_EQ(events_[1].kind, IoEvent::kSync);
  EXPECT_EQ(events_[2].off, 0u);
  EXPECT_EQ(events_[3].kind, IoEvent::kSync);
  EXPECT_TRUE(ring_->has_shadow());
}

// Rows 14 and "one-slot volume, during P10" of the crash matrix, which is fatal without a shadow.
TEST_F(ShadowTest, AHeaderTornAtAnySectorIsFoundInTheShadow) {
  int from_shadow = 0;
  for (size_t cut = 0; cut <= 128; ++cut) {
    for (const auto& tear : Tears(cut)) {
      MemoryDevice device = Torn(2, tear);
      const auto set = Assemble({&device});
      ASSERT_TRUE(set.ok()) << cut << ": " << set.status();
      from_shadow += set->from_shadow;
      EXPECT_EQ(set->slot, 0);
      if (set->from_shadow) {
        EXPECT_EQ(set->header->mirror_tid, Tid(18)) << cut;
        EXPECT_NE(set->shadow, nullptr);
      } else {
        EXPECT_TRUE(set->root_probes[0].status.ok());
      }
    }
  }
  EXPECT_GT(from_shadow, 128);
}

TEST_F(ShadowTest, ATornShadowDoesNoHarm) {
  for (size_t cut = 0; cut <= 128; ++cut) {
    for (const auto& tear : Tears(cut)) {
      MemoryDevice device = Torn(0, tear);
      const auto set = Assemble({&device});
      ASSERT_TRUE(set.ok()) << cut << ": " << set.status();
      EXPECT_FALSE(set->from_shadow);
      EXPECT_EQ(set->header->mirror_tid, Tid(17)) << cut;
    }
  }
}

TEST_F(ShadowTest, TheFenceRestoresSlotZeroAndBringsTheShadowUpToDate) {
  Corrupt(*memory_, 0x3000, 0xff);
  Open();
  ASSERT_TRUE(set_.from_shadow);
  EXPECT_EQ(ring_->entries().size(), 1u);
  ASSERT_TRUE(ring_->Fence().ok());
  Open();
  EXPECT_FALSE(set_.from_shadow);
  EXPECT_EQ(set_.header->mirror_tid, Tid(18));
}

// A crash after the shadow was written: 18 was never acknowledged, and once 17 is mounted again its
// blocks may be overwritten.
TEST_F(ShadowTest, AnUnacknowledgedShadowIsReplacedByTheFence) {
  MemoryDevice device = Torn(0, [](size_t) { return true; });
  const auto set = Assemble({&device});
  ASSERT_TRUE(set.ok());
  EXPECT_EQ(set->header->mirror_tid, Tid(17));
  ASSERT_NE(set->shadow, nullptr);
  EXPECT_EQ(set->shadow->mirror_tid, Tid(18));
  HeaderRing ring(*set->devices, *set, NullLogger());
  EXPECT_EQ(ring.highest_tid_seen(), Tid(18)) << "its tid is not used again";
  EXPECT_EQ(ring.entries().size(), 2u);
  ASSERT_TRUE(ring.Fence().ok());
  EXPECT_EQ(ReadShadow(device, ByteOff(kShadow))->mirror_tid, Tid(17));
  for (const RingEntry& entry : ring.entries()) EXPECT_EQ(entry.mirror_tid, Tid(17));
}

TEST_F(ShadowTest, IsFoundWithoutAnyHelpFromSlotZero) {
  // The whole header is gone, or cannot be read.
  WriteBytes(*memory_, 0, AlignedBuffer::Zeroed(kVolumeHeaderBytes).span());
  const auto zeroed = Assemble({memory_.get()});
  ASSERT_TRUE(zeroed.ok()) << zeroed.status();
  EXPECT_TRUE(zeroed->from_shadow);
  FaultPoint point({.fail_at = 1, .sticky = true, .reads = true, .writes = false, .end = 4096});
  FaultDevice failing(*memory_, point);
  const auto unreadable = Assemble({&failing});
  ASSERT_TRUE(unreadable.ok()) << unreadable.status();
  EXPECT_EQ(unreadable->header->mirror_tid, Tid(18));
}

TEST_F(ShadowTest, IsFoundWhateverTheSizesOfTheAreas) {
  for (const uint64_t boot : {8 * kMiB, 40 * kMiB, 256 * kMiB}) {
    for (const uint64_t aux : {8 * kMiB, 256 * kMiB, 504 * kMiB}) {
      auto header = MakeHeader(2 * kGiB, Tid(30));
      header->boot_end = header->aux_beg = 4 * kMiB + boot;
      header->aux_end = header->aux_beg + aux;
      header->allocator_beg = header->aux_end + 3 * kInodeBytes;
      SealVolumeData(*header);
      // The device may be larger than the volume.
      MemoryDevice device(3 * kGiB);
      WriteBytes(device, header->aux_end - kVolumeHeaderBytes,
                 std::as_bytes(std::span(header.get(), 1)));
      const auto set = Assemble({&device});
      ASSERT_TRUE(set.ok()) << boot << " " << aux << ": " << set.status();
      EXPECT_TRUE(set->from_shadow);
    }
  }
}

// A guest may store the image of another volume as data of this one.
TEST_F(ShadowTest, AShadowWithinTheDataIsNotTaken) {
  auto nested = MakeHeader(kSize, Tid(999));
  nested->fsid.fill(std::byte{0x66});
  nested->boot_end = nested->aux_beg = 100 * kMiB;
  nested->aux_end = 204 * kMiB;
  nested->allocator_beg = nested->aux_end + 3 * kInodeBytes;
  SealVolumeData(*nested);
  WriteBytes(*memory_, 204 * kMiB - kVolumeHeaderBytes, std::as_bytes(std::span(nested.get(), 1)));
  WriteBytes(*memory_, 0, AlignedBuffer::Zeroed(kVolumeHeaderBytes).span());
  const auto set = Assemble({memory_.get()});
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->header->mirror_tid, Tid(18));

  // With the first sector whole only the place that it names is looked at.
  WriteBytes(*memory_, kShadow, AlignedBuffer::Zeroed(kVolumeHeaderBytes).span());
  WriteHeader(*memory_, 0, *header_);
  Corrupt(*memory_, 0x3000, 0xff);
  EXPECT_EQ(Assemble({memory_.get()}).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(ShadowTest, AShadowThatIsOlderThanTheDamagedHeaderIsNotTaken) {
  // Somebody who keeps no shadow wrote header 19.
  const auto newer = MakeHeader(kSize, Tid(19));
  WriteHeader(*memory_, 0, *newer);
  EXPECT_EQ(Assemble({memory_.get()})->header->mirror_tid, Tid(19));
  Corrupt(*memory_, 0x3000, 0xff);
  const absl::Status status = Assemble({memory_.get()}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("damaged"));
}

TEST_F(ShadowTest, AShadowAtAnotherPlaceThanItSaysIsNotTaken) {
  WriteBytes(*memory_, 0, AlignedBuffer::Zeroed(kVolumeHeaderBytes).span());
  WriteBytes(*memory_, kShadow, AlignedBuffer::Zeroed(kVolumeHeaderBytes).span());
  WriteBytes(*memory_, kShadow + 8 * kMiB, std::as_bytes(std::span(header_.get(), 1)));
  EXPECT_EQ(Assemble({memory_.get()}).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(ShadowTest, AnotherFileSystemIsNotUndone) {
  WriteBytes(*memory_, 0, AlignedBuffer::Zeroed(kVolumeHeaderBytes).span());
  AlignedBuffer xfs = AlignedBuffer::Zeroed(512);
  std::memcpy(xfs.data(), "XFSB", 4);
  WriteBytes(*memory_, 0, xfs.span());
  const absl::Status status = Assemble({memory_.get()}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("found: xfs signature"));
}

// After slot 0 failed, the shadow is the only whole copy: slot 0 gets the same before the shadow is
// touched.
TEST_F(ShadowTest, OneOfTheTwoCopiesIsAlwaysWhole) {
  Open();
  FaultPoint point({.fail_at = 0});
  FaultDevice failing(recording_, point);
  const auto set = Assemble({&failing});
  ASSERT_TRUE(set.ok());
  HeaderRing ring(*set->devices, *set, NullLogger());
  ASSERT_TRUE(ring.Fence().ok());
  const auto publish = [&](uint64_t tid) {
    Stamp(*header_, Tid(tid));
    return ring.Publish(*header_, nullptr).status();
  };
  const auto writes_since = [&](size_t begin) {
    std::vector<uint64_t> offs;
    for (const IoEvent& event : log_.events()) {
      if (begin > 0) {
        --begin;
      } else if (event.kind == IoEvent::kWrite) {
        offs.push_back(event.off);
      }
    }
    return offs;
  };
  // The shadow was written, slot 0 was not.
  point.Reset({.fail_at = 2, .syncs = false, .effect = FaultPlan::Effect::kShort});
  EXPECT_FALSE(publish(19).ok());
  EXPECT_EQ(ReadShadow(*memory_, ByteOff(kShadow))->mirror_tid, Tid(19));
  // Nor could it be restored.
  point.Reset({.fail_at = 1, .syncs = false});
  size_t mark = log_.size();
  EXPECT_FALSE(publish(20).ok());
  EXPECT_TRUE(writes_since(mark).empty());
  EXPECT_EQ(Assemble({memory_.get()})->header->mirror_tid, Tid(19));
}

TEST_F(ShadowTest, SlotZeroIsRestoredBeforeTheShadowIsWrittenAgain) {
  FaultPoint point({.fail_at = 0});
  FaultDevice failing(recording_, point);
  const auto set = Assemble({&failing});
  ASSERT_TRUE(set.ok());
  HeaderRing ring(*set->devices, *set, NullLogger());
  ASSERT_TRUE(ring.Fence().ok());
  struct Case {
    uint64_t fail_at;
    std::vector<uint64_t> next_writes;
    const char* why;
  };
  uint64_t tid = 19;
  for (const Case& c : {Case{0, {kShadow, 0}, "no failure"},
                        Case{1, {kShadow, 0}, "the shadow failed: slot 0 is whole"},
                        Case{2, {0, kShadow, 0}, "slot 0 failed: the shadow is whole"}}) {
    const auto publish = [&] {
      Stamp(*header_, Tid(tid++));
      return ring.Publish(*header_, nullptr).ok();
    };
    point.Reset({.fail_at = c.fail_at, .syncs = false, .effect = FaultPlan::Effect::kShort});
    EXPECT_EQ(publish(), c.fail_at == 0) << c.why;
    const size_t mark = log_.size();
    EXPECT_TRUE(publish()) << c.why;
    std::vector<uint64_t> writes;
    const std::vector<IoEvent> events = log_.events();
    for (size_t i = mark; i < events.size(); ++i) {
      if (events[i].kind == IoEvent::kWrite) writes.push_back(events[i].off);
    }
    EXPECT_EQ(writes, c.next_writes) << c.why;
  }
}

TEST_F(ShadowTest, AVolumeThatGrewNeedsItNoMore) {
  auto memory = std::make_unique<MemoryDevice>(4 * kGiB);
  header_ = MakeHeader(kSize, Tid(16));
  WriteHeader(*memory, 0, *header_);
  const auto set = Assemble({memory.get()});
  ASSERT_TRUE(set.ok());
  HeaderRing ring(*set->devices, *set, NullLogger());
  ASSERT_TRUE(ring.Fence().ok());
  ASSERT_NE(ReadShadow(*memory, ByteOff(kShadow)), nullptr);
  header_->volu_size = header_->total_size = 4 * kGiB;
  header_->mirror_tid = Tid(17);
  SealVolumeData(*header_);
  EXPECT_EQ(*ring.Publish(*header_, nullptr), 1);
  EXPECT_EQ(ring.slot_count(), 2);
  EXPECT_FALSE(ring.has_shadow());
  EXPECT_EQ(ReadShadow(*memory, ByteOff(kShadow)), nullptr);
  for (const RingEntry& entry : ring.entries()) EXPECT_FALSE(entry.shadow);
}

}  // namespace
}  // namespace h2bd
