// Writes and barriers of a cycle fail: once, for a while, for good (spec 04 section 6.4, fault rows
// 1 to 3 and 5 to 10). Nobody is told that data is safe which is not, nothing promised is lost, the
// volume stays clean.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "absl/strings/str_cat.h"
#include "core/media/placement.h"
#include "tests/support/fixtures.h"
#include "tests/volume/fault_world.h"

namespace h2bd {
namespace {

class CommitFaultTest : public ::testing::Test {
 protected:
  CommitFaultTest() : image_(*FormattedImage(8 * kGiB)) {}
  SparseImage image_;
};

// Slots that headers were written to since the log had `from` entries.
std::vector<int> HeaderWrites(const FaultWorld& world, size_t from) {
  std::vector<int> slots;
  const std::vector<IoEvent> events = world.log.events();
  for (size_t i = from; i < events.size(); ++i) {
    const IoEvent& event = events[i];
    if (event.kind == IoEvent::kWrite && event.bytes->size() == kVolumeHeaderBytes &&
        event.off % kVolumeHeaderSpacing == 0) {
      slots.push_back(static_cast<int>(event.off / kVolumeHeaderSpacing));
    }
  }
  return slots;
}

// Only writes of header slots, or only the barrier after such a write, fail from now on.
class HeaderFaultDevice final : public ForwardingDevice {
 public:
  explicit HeaderFaultDevice(BlockDevice& inner) : ForwardingDevice(inner) {}
  absl::Status Write(ByteOff off, ConstByteSpan from) override {
    header_is_last_ = from.size() == kVolumeHeaderBytes && off.v % kVolumeHeaderSpacing == 0;
    if (header_is_last_) {
      tried.push_back(static_cast<int>(off.v / kVolumeHeaderSpacing));
      if (fail_writes > 0) {
        --fail_writes;
        if (reaches_media) inner_.Write(off, from).IgnoreError();
        return absl::UnavailableError("the header does not go out");
      }
    }
    return inner_.Write(off, from);
  }
  absl::Status Sync() override {
    if (std::exchange(header_is_last_, false) && fail_barriers > 0) {
      --fail_barriers;
      return absl::UnavailableError("the barrier fails");
    }
    return inner_.Sync();
  }

  int fail_writes = 0, fail_barriers = 0;
  bool reaches_media = false;
  std::vector<int> tried;  // slots

 private:
  bool header_is_last_ = false;
};

struct HeaderFaults {
  explicit HeaderFaults(const SparseImage& image) : memory(image), device(memory) {
    volume = *OpenOn(device, ManualOptions());
    EXPECT_TRUE(volume->CreateDisk({"", "d"}, {kMiB}).ok());
    disk = *volume->OpenDisk({"", "d"});
    EXPECT_EQ(WriteText(*volume, disk, 0, "before"), absl::OkStatus());
    EXPECT_TRUE(volume->Sync(nullptr, {}).ok());
    EXPECT_EQ(WriteText(*volume, disk, 0, "after!"), absl::OkStatus());
    device.tried.clear();
  }
  std::string Reopened() const {
    MemoryDevice later(memory.Snapshot());
    std::string text;
    {
      const auto again = OpenOn(later, ManualOptions());
      EXPECT_TRUE(again.ok()) << again.status();
      text = ReadAll(**again, *(*again)->OpenDisk({"", "d"}))->substr(0, 6);
    }
    ExpectClean(later);
    return text;
  }
  MemoryDevice memory;
  HeaderFaultDevice device;
  std::unique_ptr<Volume> volume;
  DiskRef disk;
};

// Fault rows 1, 2, 3, 5, 6, 7 and 8 at once: each write and each barrier of a cycle fails once.
TEST_F(CommitFaultTest, EachWriteAndBarrierThatFailsOnceIsMadeUpFor) {
  int healed = 0, reported = 0;
  for (const FaultPlan::Effect effect :
       {FaultPlan::Effect::kNothing, FaultPlan::Effect::kShort, FaultPlan::Effect::kWhole}) {
    uint64_t n = 1;
    for (;; ++n) {
      SCOPED_TRACE(absl::StrCat("I/O ", n, " effect ", static_cast<int>(effect)));
      FaultWorld world(image_, FaultPlan{.fail_at = n, .effect = effect});
      const std::string after = world.Overwrite();
      const auto synced = world.volume->Sync(nullptr, {});
      if (!world.point.reached()) {
        EXPECT_TRUE(synced.ok()) << synced.status();
        break;
      }
      if (synced.ok()) {
        ++healed;
        EXPECT_EQ(world.Metric("h2bd_flush_rewrites_total"), 1);
      } else {
        // The header, or the barrier after it: nobody knows what the device has.
        ++reported;
        EXPECT_EQ(synced.status().code(), absl::StatusCode::kUnavailable) << synced.status();
        EXPECT_EQ(world.Metric("h2bd_commit_header_outcome_unknown"), 1);
        EXPECT_EQ(world.Metric("h2bd_commit_failed_publishes_consecutive"), 1);
        EXPECT_GT(world.volume->GetStatus().dirty_bytes, 0u) << "F-283";
        const std::string found = world.Reopened();
        EXPECT_TRUE(found == world.before || found == after) << "one or the other, never a mix";
        const auto again = world.volume->Sync(nullptr, {});
        EXPECT_TRUE(again.ok()) << again.status();
      }
      EXPECT_EQ(world.Metric("h2bd_commit_header_outcome_unknown"), 0);
      EXPECT_EQ(world.volume->GetStatus().dirty_bytes, 0u);
      EXPECT_EQ(world.volume->GetStatus().space.reserved_bytes, 0u);
      EXPECT_TRUE(world.Reopened() == after);
      EXPECT_TRUE(*ReadAll(*world.volume, world.disk) == after);
    }
    EXPECT_GT(n, 6u) << "a cycle has more I/O than that";
  }
  EXPECT_GT(healed, 9);
  EXPECT_EQ(reported, 6) << "a header and the barrier after it, three effects";
}

// Fault rows 1, 2, 4 and 9: what does not stop failing ends in fail-stop, and is sticky.
TEST_F(CommitFaultTest, ADeviceThatGoesOnFailingIsFailStop) {
  uint64_t n = 1;
  for (;; ++n) {
    SCOPED_TRACE(absl::StrCat("from I/O ", n, " on"));
    FaultWorld world(image_, FaultPlan{.fail_at = n, .sticky = true});
    const OpSeq durable = world.volume->GetStatus().durable_opseq;
    const std::string after = world.Overwrite();
    absl::Status status = world.volume->Sync(nullptr, {}).status();
    if (!world.point.reached()) break;
    for (int i = 0; i < 2 && absl::IsUnavailable(status); ++i) {
      status = world.volume->Sync(nullptr, {}).status();
    }
    EXPECT_EQ(ReasonOf(status), kReasonReadOnlyFailstop) << status;
    // Also after the device works again, and for every caller.
    world.point.Reset(FaultPlan{.fail_at = 0});
    EXPECT_EQ(ReasonOf(world.volume->Sync(world.disk, {}).status()), kReasonReadOnlyFailstop);
    EXPECT_EQ(ReasonOf(WriteText(*world.volume, world.disk, 0, "x")), kReasonReadOnlyFailstop);
    EXPECT_EQ(world.volume->SyncTo(durable, {}).status(), absl::OkStatus())
        << "F-310: what is durable stays so";
    EXPECT_FALSE(world.volume->GetStatus().failure.ok());
    EXPECT_TRUE(*ReadAll(*world.volume, world.disk) == after) << "reads go on";
    const std::string found = world.Reopened();
    EXPECT_TRUE(found == world.before || found == after);
  }
  EXPECT_GT(n, 6u);
}

// Fault row 5, F-224: a header follows only after everything that the failed barrier may have lost
// was written again.
TEST_F(CommitFaultTest, AfterAFailedBarrierEverythingIsWrittenAgainBeforeTheHeader) {
  FaultWorld world(image_, FaultPlan{.fail_at = 1, .writes = false});
  world.Overwrite();
  const size_t from = world.log.size();
  ASSERT_TRUE(world.volume->Sync(nullptr, {}).ok());
  ASSERT_TRUE(world.point.reached());
  std::map<std::pair<uint64_t, size_t>, int> writes;
  const std::vector<IoEvent> events = world.log.events();
  for (size_t i = from; i < events.size(); ++i) {
    if (events[i].kind == IoEvent::kSync) break;
    ++writes[{events[i].off, events[i].bytes->size()}];
  }
  EXPECT_GT(writes.size(), 3u);
  for (const auto& [where, times] : writes) EXPECT_EQ(times, 2) << where.first;
  EXPECT_EQ(HeaderWrites(world, from).size(), 1u);
}

// Fault rows 6 and 9, F-213, F-214, F-216, D-08, D-09: the same slot, then the next one, never the
// confirmed one; after three in a row the volume takes no more writes.
TEST_F(CommitFaultTest, AHeaderThatDoesNotGoOutIsTriedAgainInTheSameSlot) {
  HeaderFaults world(image_);
  const int confirmed = world.volume->GetStatus().header_slot;
  const Tid tid = world.volume->GetStatus().mirror_tid;
  world.device.fail_writes = 2;
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(world.volume->Sync(nullptr, {}).status().code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(world.Reopened(), "before");
  }
  const auto third = world.volume->Sync(nullptr, {});
  ASSERT_TRUE(third.ok()) << third.status();
  const int next = NextHeaderSlot(confirmed, 8 * kGiB);
  EXPECT_THAT(world.device.tried,
              ::testing::ElementsAre(next, next, NextHeaderSlot(next, 8 * kGiB)));
  EXPECT_EQ(third->mirror_tid.v, tid.v + 3) << "no id is used twice";
  EXPECT_EQ(world.Reopened(), "after!");
}

TEST_F(CommitFaultTest, ThreeHeadersInARowThatDoNotGoOutAreFailStop) {
  for (const bool reaches_media : {false, true}) {
    SCOPED_TRACE(reaches_media);
    HeaderFaults world(image_);
    world.device.reaches_media = reaches_media;
    world.device.fail_writes = 100;
    EXPECT_EQ(world.volume->Sync(nullptr, {}).status().code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(world.volume->Sync(nullptr, {}).status().code(), absl::StatusCode::kUnavailable);
    const int confirmed = world.volume->GetStatus().header_slot;
    EXPECT_EQ(ReasonOf(world.volume->Sync(nullptr, {}).status()), kReasonReadOnlyFailstop);
    EXPECT_THAT(world.device.tried, ::testing::Each(::testing::Ne(confirmed)));
    EXPECT_EQ(world.device.tried.size(), 3u);
    // Each header that may be on the media still has its freemap (D-10): the strict checker reads
    // all of them.
    EXPECT_EQ(world.Reopened(), reaches_media ? "after!" : "before");
  }
}

// Fault row 8, D-03, D-07: the barrier after the header fails; the header is there or is not.
TEST_F(CommitFaultTest, NothingIsAcknowledgedBeforeTheBarrierAfterTheHeader) {
  HeaderFaults world(image_);
  world.device.fail_barriers = 1;
  const auto synced = world.volume->Sync(nullptr, {});
  EXPECT_EQ(synced.status().code(), absl::StatusCode::kUnavailable);
  const VolumeStatus status = world.volume->GetStatus();
  EXPECT_LT(status.durable_opseq, status.opseq);
  EXPECT_EQ(world.Reopened(), "after!") << "this device has it";
  const std::vector<CycleRecord> cycles = world.volume->RecentCycles();
  EXPECT_EQ(cycles.back().status.code(), absl::StatusCode::kUnavailable);
  ASSERT_TRUE(world.volume->Sync(nullptr, {}).ok());
  EXPECT_EQ(world.volume->GetStatus().durable_opseq, world.volume->GetStatus().opseq);
}

// Fault row 10: of two slots the one with the confirmed header is never risked.
TEST_F(CommitFaultTest, WithTwoSlotsTheConfirmedHeaderOutlivesEveryFailure) {
  const SparseImage small = *FormattedImage(3 * kGiB);
  for (const bool reaches_media : {false, true}) {
    HeaderFaults world(small);
    const int confirmed = world.volume->GetStatus().header_slot;
    world.device.reaches_media = reaches_media;
    world.device.fail_writes = 100;
    absl::Status status;
    for (int i = 0; i < 3; ++i) status = world.volume->Sync(nullptr, {}).status();
    EXPECT_EQ(ReasonOf(status), kReasonReadOnlyFailstop) << status;
    EXPECT_THAT(world.device.tried, ::testing::Each(::testing::Ne(confirmed)));
    EXPECT_EQ(world.Reopened(), reaches_media ? "after!" : "before");
  }
}

// F-213: the cycle after a failed publish writes a header even if nothing has changed since, and
// does it without storing any data again.
TEST_F(CommitFaultTest, TheRetryStoresNothingAgain) {
  HeaderFaults world(image_);
  world.device.fail_writes = 1;
  EXPECT_FALSE(world.volume->Sync(nullptr, {}).ok());
  ASSERT_TRUE(world.volume->Sync(nullptr, {}).ok());
  const std::vector<CycleRecord> cycles = world.volume->RecentCycles();
  EXPECT_EQ(cycles.back().data_blocks, 0u);
  EXPECT_EQ(world.volume->GetStatus().durable_opseq, world.volume->GetStatus().opseq);
}

// Whole buffers go out while the cycle still stores blocks. A write that fails there for good is no
// less final than one that fails in the drain; one that fails once is written again.
class MidCycleFault : public CommitFaultTest {
 protected:
  // Writes 64 MiB with a fault at the first device write of the cycle.
  void Run(bool sticky) {
    VolumeOptions options;
    options.flush_age = absl::ZeroDuration();
    volume_ = *OpenOn(faulty_, options);
    ASSERT_TRUE(volume_->CreateDisk({"", "d"}, {kGiB}).ok());
    disk_ = *volume_->OpenDisk({"", "d"});
    SeededRandom rng(TestSeed());
    noise_.resize(16 * kMiB);
    rng.Fill(std::as_writable_bytes(std::span(noise_)));
    for (uint64_t i = 0; i < 4; ++i) {
      ASSERT_EQ(WriteText(*volume_, disk_, i * noise_.size(), noise_), absl::OkStatus());
    }
    point_.Reset(FaultPlan{.fail_at = 1, .sticky = sticky, .writes = true, .syncs = false});
  }
  void ExpectContent() {
    for (uint64_t i = 0; i < 4; ++i) {
      std::string found(noise_.size(), '\0');
      ASSERT_EQ(
          volume_->Read(disk_, i * noise_.size(), std::as_writable_bytes(std::span(found)), {}),
          absl::OkStatus());
      EXPECT_TRUE(found == noise_);
    }
  }
  MemoryDevice memory_{image_};
  FaultPoint point_{FaultPlan{.fail_at = 0}};
  FaultDevice faulty_{memory_, point_};
  std::unique_ptr<Volume> volume_;
  DiskRef disk_;
  std::string noise_;
};

TEST_F(MidCycleFault, ForGoodIsFailStop) {
  Run(/*sticky=*/true);
  EXPECT_EQ(ReasonOf(volume_->Sync(nullptr, {}).status()), kReasonReadOnlyFailstop);
  EXPECT_FALSE(volume_->GetStatus().failure.ok());
  point_.Reset(FaultPlan{.fail_at = 0});
  EXPECT_EQ(ReasonOf(WriteText(*volume_, disk_, 0, "x")), kReasonReadOnlyFailstop);
  ExpectContent();
}

TEST_F(MidCycleFault, OnceIsWrittenAgain) {
  Run(/*sticky=*/false);
  absl::Status status = volume_->Sync(nullptr, {}).status();
  // It may have failed before the data was in its tree, or after that.
  if (!status.ok()) {
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    status = volume_->Sync(nullptr, {}).status();
  }
  EXPECT_EQ(status, absl::OkStatus());
  EXPECT_EQ(volume_->GetStatus().dirty_bytes, 0u);
  EXPECT_EQ(volume_->GetStatus().space.reserved_bytes, 0u);
  ExpectContent();
  disk_.reset();
  ASSERT_EQ(volume_->Close(), absl::OkStatus());
  MemoryDevice later(memory_.Snapshot());
  ExpectClean(later);
}

}  // namespace
}  // namespace h2bd
