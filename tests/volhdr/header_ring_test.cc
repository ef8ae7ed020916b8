#include "core/volhdr/header_ring.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/media/placement.h"
#include "tests/support/crash_image.h"
#include "tests/support/fault_device.h"
#include "tests/support/fixtures.h"
#include "tests/volhdr/headers.h"

namespace h2bd {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// A volume in memory, recorded, under a device that can fail.
class HeaderRingTest : public testing::Test {
 protected:
  void Format(uint64_t size, uint64_t device_size = 0) {
    size_ = size;
    header_ = MakeHeader(size, Tid(16));
    memory_ = MakeDevice(std::max(size, device_size), *header_);
    recording_ = std::make_unique<RecordingDevice>(*memory_, log_, 0);
    device_ = std::make_unique<FaultDevice>(*recording_, point_);
  }
  void Open() {
    ring_.reset();
    absl::StatusOr<VolumeSet> set = Assemble({device_.get()});
    ASSERT_TRUE(set.ok()) << set.status();
    set_ = *std::move(set);
    ring_ = std::make_unique<HeaderRing>(*set_.devices, set_, NullLogger());
  }
  void OpenAndFence() {
    Open();
    ASSERT_TRUE(ring_->Fence().ok());
  }
  absl::StatusOr<int> Publish(uint64_t tid) {
    Stamp(*header_, Tid(tid));
    return ring_->Publish(*header_, nullptr);
  }
  std::vector<int> PublishSlots(uint64_t from, int count) {
    std::vector<int> slots;
    for (int i = 0; i < count; ++i) {
      slots.push_back(*Publish(from + static_cast<uint64_t>(i)));
      EXPECT_EQ(ring_->confirmed_slot(), slots.back());
    }
    return slots;
  }
  // Fails the next `count` writes of a slot, doing as much of them as `effect` says.
  FaultPlan FailSlot(int slot, FaultPlan::Effect effect = FaultPlan::Effect::kNothing) {
    return {.fail_at = 1,
            .sticky = true,
            .syncs = false,
            .effect = effect,
            .begin = HeaderSlotOffset(slot).v,
            .end = HeaderSlotOffset(slot).v + kVolumeHeaderBytes};
  }
  std::vector<uint64_t> Tids(bool confirmed) const {
    std::vector<uint64_t> tids;
    for (const RingEntry& entry : ring_->entries()) {
      if (entry.confirmed == confirmed) tids.push_back(entry.mirror_tid.v);
    }
    std::sort(tids.begin(), tids.end());
    return tids;
  }

  uint64_t size_ = 0;
  std::unique_ptr<VolumeData> header_;
  std::unique_ptr<MemoryDevice> memory_;
  IoLog log_;
  FaultPoint point_{FaultPlan{.fail_at = 0}};
  std::unique_ptr<RecordingDevice> recording_;
  std::unique_ptr<FaultDevice> device_;
  VolumeSet set_;
  std::unique_ptr<HeaderRing> ring_;
};

// Spec 04 F-119, as measured on the reference.
TEST_F(HeaderRingTest, SlotsFollowOneAnother) {
  struct Case {
    uint64_t size;
    std::vector<int> slots;
  };
  for (const Case& c : {Case{1 * kGiB, {0, 0, 0, 0}}, Case{2 * kGiB, {0, 0, 0, 0}},
                        Case{2 * kGiB + 8 * kMiB, {1, 0, 1, 0}}, Case{4 * kGiB, {1, 0, 1, 0}},
                        Case{6 * kGiB, {1, 2, 0, 1}}, Case{8 * kGiB, {1, 2, 3, 0}},
                        Case{100 * kGiB, {1, 2, 3, 0}}}) {
    Format(c.size);
    OpenAndFence();
    EXPECT_EQ(PublishSlots(17, 4), c.slots) << c.size;
    Open();
    EXPECT_EQ(ring_->confirmed_slot(), c.slots.back());
    EXPECT_EQ(set_.header->mirror_tid, Tid(20));
    EXPECT_EQ(ring_->highest_tid_seen(), Tid(20));
  }
}

TEST_F(HeaderRingTest, EntriesAreTheHeadersThatAMountMayChoose) {
  Format(6 * kGiB);
  Open();
  EXPECT_EQ(ring_->slot_count(), 3);
  EXPECT_FALSE(ring_->has_shadow());
  EXPECT_THAT(Tids(true), ElementsAre(16, 16, 16));
  ASSERT_TRUE(ring_->Fence().ok());
  header_->freemap_blockset[0].type = BrefType::kFreemapLeaf;
  PublishSlots(17, 4);
  EXPECT_THAT(Tids(true), ElementsAre(18, 19, 20));
  for (const RingEntry& entry : ring_->entries()) {
    EXPECT_EQ(entry.freemap_blockset, header_->freemap_blockset);
  }
}

// P10 and P11 in this order, and nothing else.
TEST_F(HeaderRingTest, APublishIsOneWriteAndOneBarrier) {
  Format(8 * kGiB);
  OpenAndFence();
  const size_t before = log_.size();
  HeaderRing::PublishTimes times{};
  header_->mirror_tid = Tid(17);
  SealVolumeData(*header_);
  ASSERT_TRUE(ring_->Publish(*header_, &times).ok());
  const std::vector<IoEvent> events = log_.events();
  ASSERT_EQ(events.size(), before + 2);
  EXPECT_EQ(events[before].kind, IoEvent::kWrite);
  EXPECT_EQ(events[before].off, 2 * kGiB);
  EXPECT_EQ(events[before].bytes->size(), kVolumeHeaderBytes);
  EXPECT_EQ(events[before + 1].kind, IoEvent::kSync);
  EXPECT_GE(times.header, absl::ZeroDuration());
  EXPECT_GE(times.barrier2, absl::ZeroDuration());
}

// --- the fence, F-218 -----------------------------------------------------------------------

// Reproduced on the reference: a header that could not be read at open came back and won over newer
// commits.
TEST_F(HeaderRingTest, ASlotThatWasUnreadableAtOpenNeverComesBack) {
  Format(8 * kGiB);
  OpenAndFence();
  PublishSlots(17, 2);  // the newest is in slot 2
  point_.Reset({.fail_at = 1,
                .sticky = true,
                .reads = true,
                .writes = false,
                .syncs = false,
                .begin = 4 * kGiB,
                .end = 4 * kGiB + kMiB});
  Open();
  EXPECT_EQ(ring_->confirmed_slot(), 1);
  EXPECT_EQ(set_.header->mirror_tid, Tid(17));
  EXPECT_EQ(ring_->UnreadSlotThatMayBeNewest(), 2);
  point_.Reset({.fail_at = 0});
  ASSERT_TRUE(ring_->Fence().ok());
  EXPECT_THAT(Tids(true), ElementsAre(16, 16, 17));
  Open();
  EXPECT_EQ(set_.header->mirror_tid, Tid(17)) << "the slot can be read again, and holds nothing";
  AlignedBuffer head(4096);
  ASSERT_TRUE(memory_->Read(ByteOff(4 * kGiB), head.span()).ok());
  EXPECT_TRUE(IsAllZero(head.span()));
}

// Any unread slot may hide a commit: after failures the newest header can lie behind an older one.
TEST_F(HeaderRingTest, AnySlotThatCannotBeReadMayHoldTheNewestHeader) {
  Format(8 * kGiB);
  OpenAndFence();
  PublishSlots(17, 6);
  for (int slot = 0; slot < kVolumeHeaderSlots; ++slot) {
    SCOPED_TRACE(slot);
    const uint64_t at = HeaderSlotOffset(slot).v;
    point_.Reset({.fail_at = 1,
                  .sticky = true,
                  .reads = true,
                  .writes = false,
                  .syncs = false,
                  .begin = at,
                  .end = at + kMiB});
    Open();
    EXPECT_EQ(ring_->UnreadSlotThatMayBeNewest(), slot);
  }
  // A device that fails for a moment is asked again.
  point_.Reset({.fail_at = 1, .reads = true, .writes = false, .syncs = false});
  Open();
  EXPECT_EQ(set_.header->mirror_tid, Tid(22));
  EXPECT_EQ(ring_->UnreadSlotThatMayBeNewest(), std::nullopt);
}

TEST_F(HeaderRingTest, TheFenceMakesDurableWhatWasReadAndRunsOnce) {
  Format(8 * kGiB);
  Open();
  const size_t before = log_.size();
  ASSERT_TRUE(ring_->Fence().ok());
  ASSERT_TRUE(ring_->Fence().ok());
  const std::vector<IoEvent> events = log_.events();
  ASSERT_EQ(events.size(), before + 1) << "nothing is damaged: one barrier";
  EXPECT_EQ(events[before].kind, IoEvent::kSync);
}

TEST_F(HeaderRingTest, EachFenceThatFailsIsReportedAndCanBeRepeated) {
  for (uint64_t n = 1;; ++n) {
    Format(8 * kGiB);
    const VolumeData torn;
    WriteHeader(*memory_, 1, torn);
    WriteHeader(*memory_, 3, torn);
    point_.Reset({.fail_at = 0});
    Open();
    point_.Reset({.fail_at = n});
    const absl::Status status = ring_->Fence();
    if (!point_.reached()) {
      EXPECT_TRUE(status.ok());
      EXPECT_EQ(n, 6u) << "a barrier, and a write and a barrier for each of two slots";
      break;
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << n;
    EXPECT_TRUE(ring_->Fence().ok()) << n;
    for (const int slot : {1, 3}) {
      EXPECT_EQ(ProbeHeaders(*memory_)[static_cast<size_t>(slot)].header->magic, 0u) << n;
    }
  }
}

TEST_F(HeaderRingTest, WhatLiesPastTheVolumeIsErasedOnlyIfItMayBeAHeader) {
  Format(2 * kGiB + 8 * kMiB, 8 * kGiB);
  AlignedBuffer garbage(4096);
  std::memset(garbage.data(), 0x77, garbage.size());
  WriteBytes(*memory_, 4 * kGiB, garbage.span());
  auto damaged = MakeHeader(2 * kGiB + 8 * kMiB, Tid(99));
  damaged->icrc_volheader ^= 1;
  WriteHeader(*memory_, 3, *damaged);
  OpenAndFence();
  const auto probes = ProbeHeaders(*memory_);
  EXPECT_EQ(probes[2].header->magic, 0x7777777777777777u);
  EXPECT_EQ(probes[3].header->magic, 0u);
}

TEST_F(HeaderRingTest, TheHighestPlausibleTidIsRemembered) {
  struct Case {
    uint64_t tid;
    bool first_sector_whole, same_volume;
    uint64_t highest;
    const char* why;
  };
  for (const Case& c :
       {Case{900, true, true, 900, "a damaged header's first sector is whole"},
        Case{900, false, true, 900, "and even if not, a number nearby is believed"},
        Case{uint64_t{1} << 40, true, true, uint64_t{1} << 40, "far away but checked"},
        Case{uint64_t{1} << 40, false, true, 16, "far away and damaged"},
        Case{kTidLimit, true, true, 16, "no legal tid"},
        Case{900, true, false, 16, "of another volume"}}) {
    Format(4 * kGiB);
    auto other =
        MakeHeader(std::vector<uint64_t>{4 * kGiB}, 0, Tid(c.tid), c.same_volume ? 0x11 : 0x22);
    other->icrc_volheader ^= 1;
    if (!c.first_sector_whole) other->icrc_sects[7] ^= 1;
    WriteHeader(*memory_, 1, *other);
    Open();
    EXPECT_EQ(ring_->highest_tid_seen(), Tid(c.highest)) << c.why;
  }
}

// --- failed publishes, F-214 and F-215 --------------------------------------------------------

TEST_F(HeaderRingTest, AFailedPublishTriesTheSameSlotThenTheNextButNeverTheConfirmedOne) {
  for (const auto effect :
       {FaultPlan::Effect::kNothing, FaultPlan::Effect::kShort, FaultPlan::Effect::kWhole}) {
    Format(8 * kGiB);
    point_.Reset({.fail_at = 0});
    OpenAndFence();
    PublishSlots(17, 1);
    point_.Reset(FailSlot(2, effect));
    for (const uint64_t tid : {18, 19}) {
      EXPECT_EQ(Publish(tid).status().code(), absl::StatusCode::kUnavailable);
      EXPECT_EQ(ring_->confirmed_slot(), 1);
    }
    EXPECT_EQ(point_.calls(), 2u);
    EXPECT_EQ(*Publish(20), 3);
    EXPECT_EQ(point_.calls(), 3u) << "once more, to zero what nobody confirmed";
    point_.Reset({.fail_at = 0});
    EXPECT_EQ(PublishSlots(21, 3), (std::vector<int>{0, 1, 2}));
    Open();
    EXPECT_EQ(set_.header->mirror_tid, Tid(23));
  }
}

// An entry leaves only with the barrier after the zeros: from then on the copies of the freemap
// that the unknown header names may be overwritten, so no loss of power may bring it back (I-28).
TEST_F(HeaderRingTest, AZeroedSlotStaysZeroWhateverPowerTakes) {
  Format(8 * kGiB);
  OpenAndFence();
  PublishSlots(17, 1);
  const SparseImage base = memory_->Snapshot();
  const size_t from = log_.size();
  point_.Reset(FailSlot(2, FaultPlan::Effect::kWhole));  // it reaches the media, and nobody knows
  EXPECT_FALSE(Publish(18).ok());
  EXPECT_FALSE(Publish(19).ok());
  point_.Reset({.fail_at = 0});
  ASSERT_EQ(*Publish(20), 3);
  ASSERT_THAT(Tids(false), IsEmpty());
  const std::vector<IoEvent> all = log_.events();
  const std::vector<IoEvent> events(all.begin() + static_cast<ptrdiff_t>(from), all.end());
  CrashStates states({base}, events);
  states.AdvanceTo(events.size());
  EXPECT_EQ(states.pending(), 0u) << "a write that no barrier covers";
  SeededRandom rng(TestSeed());
  AlignedBuffer head(4096);
  states.Draw(rng).front().Read(HeaderSlotOffset(2).v, head.span());
  EXPECT_TRUE(IsAllZero(head.span()));
}

// Each header that may be there keeps its copies of the freemap, of which there are eight: what
// fails must not add up over many publishes (F-210b, L-4).
TEST_F(HeaderRingTest, UnknownHeadersDoNotAddUp) {
  for (const bool zeroing_works : {true, false}) {
    SCOPED_TRACE(zeroing_works);
    Format(8 * kGiB);
    OpenAndFence();
    uint64_t tid = 17;
    for (int round = 0; round < 12; ++round) {
      const int next = NextHeaderSlot(ring_->confirmed_slot(), size_);
      FaultPlan plan = FailSlot(next);
      if (!zeroing_works) plan.fail_at = 1;
      point_.Reset(plan);
      absl::StatusOr<int> slot = Publish(tid++);
      if (!slot.ok()) slot = Publish(tid++);
      if (zeroing_works) point_.Reset({.fail_at = 0});
      if (!slot.ok()) slot = Publish(tid++);
      ASSERT_TRUE(slot.ok()) << slot.status();
      EXPECT_LE(ring_->entries().size(), 7u) << "round " << round;
      if (zeroing_works) {
        EXPECT_THAT(Tids(false), IsEmpty());
      }
      EXPECT_EQ(ring_->highest_tid_seen(), Tid(tid - 1));
    }
    point_.Reset({.fail_at = 0});
  }
}

// D-09: the reference goes on to the only good header.
TEST_F(HeaderRingTest, WithTwoSlotsTheGoodOneIsKeptAndTheRingGivesUp) {
  Format(4 * kGiB);
  OpenAndFence();
  PublishSlots(17, 1);
  point_.Reset({.fail_at = 1, .sticky = true, .syncs = false, .effect = FaultPlan::Effect::kShort});
  EXPECT_FALSE(Publish(18).ok());
  EXPECT_FALSE(Publish(19).ok());
  const uint64_t calls = point_.calls();
  for (int i = 0; i < 3; ++i) {
    const absl::Status status = Publish(20).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(ReasonOf(status), kReasonReadOnlyFailstop);
  }
  EXPECT_EQ(point_.calls(), calls) << "nothing was written any more";
  point_.Reset({.fail_at = 0});
  Open();
  EXPECT_EQ(set_.header->mirror_tid, Tid(17));
  EXPECT_EQ(set_.slot, 1);
}

TEST_F(HeaderRingTest, AnUnknownOutcomeKeepsEveryHeaderThatMayBeThere) {
  Format(4 * kGiB);
  OpenAndFence();
  PublishSlots(17, 1);
  EXPECT_THAT(Tids(true), ElementsAre(16, 17));
  point_.Reset({.fail_at = 1, .writes = false});  // barrier 2
  EXPECT_FALSE(Publish(18).ok());
  EXPECT_EQ(ring_->confirmed_slot(), 1);
  EXPECT_THAT(Tids(true), ElementsAre(16, 17)) << "what slot 0 held may still be there";
  EXPECT_THAT(Tids(false), ElementsAre(18));
  EXPECT_EQ(*Publish(19), 0);
  EXPECT_THAT(Tids(true), ElementsAre(17, 19));
  EXPECT_THAT(Tids(false), IsEmpty());
}

// --- every failure and every crash, over volumes with one, two, three and four slots
// ---------------

class RingCrashTest : public HeaderRingTest, public testing::WithParamInterface<uint64_t> {};

INSTANTIATE_TEST_SUITE_P(Slots, RingCrashTest,
                         testing::Values(1 * kGiB, 4 * kGiB, 6 * kGiB, 8 * kGiB),
                         [](const auto& param) { return absl::StrCat(param.param / kGiB, "GiB"); });

TEST_P(RingCrashTest, EveryCutMountsToAnAcknowledgedHeaderOrALaterOne) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(absl::StrCat("H2BD_SEED=", seed));
  SeededRandom rng(seed);
  for (int run = 0; run < 12; ++run) {
    Format(GetParam());
    const SparseImage base = memory_->Snapshot();
    const size_t begin = log_.size();
    OpenAndFence();
    std::vector<std::pair<size_t, uint64_t>> acknowledged = {{0, 16}};  // log size, tid
    uint64_t tid = 16;
    for (int step = 0; step < 8; ++step) {
      if (rng.Next64() % 3 == 0) {
        point_.Reset({.fail_at = 1 + rng.Next64() % 4,
                      .effect = static_cast<FaultPlan::Effect>(rng.Next64() % 3)});
      }
      const absl::StatusOr<int> slot = Publish(++tid);
      if (slot.ok()) acknowledged.emplace_back(log_.size() - begin, tid);
      point_.Reset({.fail_at = 0});
      if (!slot.ok() && ReasonOf(slot.status()) == kReasonReadOnlyFailstop) break;
    }
    std::vector<IoEvent> events = log_.events();
    events.erase(events.begin(), events.begin() + static_cast<ptrdiff_t>(begin));
    CrashStates states({base}, events);
    for (size_t cut = 0; cut <= events.size(); ++cut) {
      states.AdvanceTo(cut);
      uint64_t promised = 0;
      for (const auto& [at, value] : acknowledged) {
        if (at <= cut) promised = value;
      }
      for (int draw = 0; draw < 8; ++draw) {
        MemoryDevice after(states.Draw(rng).front());
        const absl::StatusOr<VolumeSet> set = Assemble({&after});
        ASSERT_TRUE(set.ok()) << "cut " << cut << ": " << set.status();
        ASSERT_GE(set->header->mirror_tid.v, promised) << "cut " << cut;
        ASSERT_LE(set->header->mirror_tid.v, tid);
      }
    }
  }
}

// Rows 18 and 20: a crash during the open of a damaged volume, and during the open after it.
TEST_P(RingCrashTest, TheFenceCanBeCutAnywhere) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(absl::StrCat("H2BD_SEED=", seed));
  SeededRandom rng(seed);
  Format(GetParam());
  OpenAndFence();
  PublishSlots(17, 5);
  const uint64_t promised = 21;
  // The newest header rots: its shadow, or the slot before it, must serve.
  AlignedBuffer sector(512);
  std::memset(sector.data(), 0xff, sector.size());
  WriteBytes(*memory_, HeaderSlotOffset(ring_->confirmed_slot()).v + 0x2000, sector.span());
  const uint64_t expected = ring_->slot_count() == 1 ? promised : promised - 1;
  const SparseImage base = memory_->Snapshot();
  const size_t begin = log_.size();
  OpenAndFence();
  EXPECT_EQ(set_.header->mirror_tid, Tid(expected));
  std::vector<IoEvent> events = log_.events();
  events.erase(events.begin(), events.begin() + static_cast<ptrdiff_t>(begin));
  ASSERT_GE(events.size(), 3u);
  CrashStates states({base}, events);
  for (size_t cut = 0; cut <= events.size(); ++cut) {
    states.AdvanceTo(cut);
    for (int draw = 0; draw < 100; ++draw) {
      MemoryDevice after(states.Draw(rng).front());
      const absl::StatusOr<VolumeSet> set = Assemble({&after});
      ASSERT_TRUE(set.ok()) << "cut " << cut << ": " << set.status();
      ASSERT_EQ(set->header->mirror_tid, Tid(expected)) << "cut " << cut;
      HeaderRing again(*set->devices, *set, NullLogger());
      ASSERT_TRUE(again.Fence().ok());
      ASSERT_EQ(Assemble({&after})->header->mirror_tid, Tid(expected));
    }
  }
}

}  // namespace
}  // namespace h2bd
