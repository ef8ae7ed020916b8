// A cycle that runs out of space at any block: no header, nothing lost, and the next cycle goes on
// (spec 04 F-141, F-142, F-213, I-26; fault rows 11 and 12).
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "core/media/placement.h"
#include "tests/flush/engine_world.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fixtures.h"
#include "tests/volume/device_stack.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

constexpr uint64_t kDiskBytes = 500 * 1000;

using Contents = std::map<std::string, std::string>;

std::string Noise(SeededRandom& rng, size_t bytes) {
  std::string text(bytes, '\0');
  rng.Fill(std::as_writable_bytes(std::span(text)));
  return text;
}

// Opens the image as a client would and compares all disks.
void ExpectContents(const SparseImage& image, const Contents& expected) {
  ImageVolume volume({image}, ManualOptions());
  ASSERT_TRUE(volume.status().ok()) << volume.status();
  const auto list = volume->ListDisks("", 100, "");
  ASSERT_TRUE(list.ok()) << list.status();
  EXPECT_EQ(list->disks.size(), expected.size());
  for (const auto& [name, content] : expected) {
    const absl::StatusOr<DiskRef> disk = volume->OpenDisk({"", name});
    ASSERT_TRUE(disk.ok()) << disk.status();
    EXPECT_TRUE(*ReadAll(*volume, *disk) == content) << "disk " << name;
  }
}

// Errors of one kind in all phases.
uint64_t ErrorsOf(EngineWorld& world, FlushError error) {
  uint64_t errors = 0;
  for (const auto& of_phase : world.flusher().metrics().errors) {
    errors += of_phase[static_cast<size_t>(error)].value();
  }
  return errors;
}

class SpaceFault : public testing::Test {
 protected:
  SpaceFault() : image_(*FormattedImage(8 * kGiB)) {
    MemoryDevice memory(image_);
    EngineWorld world(memory, clock_, {.manual = true});
    for (const char* name : {"kept", "gone", "untouched"}) {
      before_[name] = Noise(rng_, kDiskBytes);
      world.Write(world.Create(name, kDiskBytes), 0, before_[name]);
    }
    EXPECT_TRUE(world.Sync().ok());
    image_ = memory.Snapshot();
  }
  // Everything that a cycle can have to do: whole and partial blocks, a new disk, a name with a
  // block of its own, a deletion.
  Contents Change(EngineWorld& world) {
    Contents after = before_;
    const std::string part = Noise(rng_, 200 * 1000);
    world.Write(world.Find("kept"), 777, part);
    after["kept"].replace(777, part.size(), part);
    for (const std::string& name : {std::string("new"), std::string(120, 'l')}) {
      after[name] = Noise(rng_, kDiskBytes);
      world.Write(world.Create(name, kDiskBytes), 0, after[name]);
    }
    world.Delete("gone");
    after.erase("gone");
    return after;
  }

  FakeClock clock_;
  SeededRandom rng_{11};
  Contents before_;
  SparseImage image_;
};

TEST_F(SpaceFault, EachAllocationOfACycleCanFailOnce) {
  bool reached = true;
  uint64_t n = 1;
  for (; reached; ++n) {
    SCOPED_TRACE(absl::StrCat("allocation ", n));
    MemoryDevice memory(image_);
    IoLog log;
    RecordingDevice recorder(memory, log, 0);
    EngineWorld world(recorder, clock_, {.manual = true});
    const Contents after = Change(world);
    const Tid published = world.flusher().mirror_tid();
    const size_t begin = log.size();
    world.allocator().FailAt(n);
    const auto failed = world.Sync();
    reached = world.allocator().reached();
    EXPECT_EQ(failed.ok(), !reached) << failed.status();
    if (reached) {
      EXPECT_EQ(failed.status().code(), absl::StatusCode::kResourceExhausted);
      EXPECT_EQ(world.commit().failure(), absl::OkStatus()) << "this is no reason for fail-stop";
      EXPECT_EQ(ErrorsOf(world, FlushError::kEnospc), 1u);
      EXPECT_EQ(world.flusher().metrics().finalized_headers.value(), 0u);
      EXPECT_EQ(world.flusher().mirror_tid(), published);
      const std::vector<IoEvent> events = log.events();
      EXPECT_TRUE(std::none_of(events.begin() + static_cast<std::ptrdiff_t>(begin), events.end(),
                               IsHeaderWrite));
      // Row 12: the freemap on media is still that of the last header, and all of it is whole.
      ExpectContents(memory.Snapshot(), before_);
      ExpectCleanSet({memory.Snapshot()});
      for (const auto& [name, content] : after) {
        EXPECT_TRUE(world.Read(world.Find(name)) == content) << "in memory, disk " << name;
      }
    }
    world.allocator().FailAt(0);
    const auto synced = world.Sync();
    ASSERT_TRUE(synced.ok()) << synced.status();
    EXPECT_EQ(synced->mirror_tid, Tid(published.v + 1));
    EXPECT_EQ(world.store().metrics().dirty_chains.value(), 0) << "I-19";
    for (const FlushError error : {FlushError::kEio, FlushError::kCheck, FlushError::kInternal}) {
      EXPECT_EQ(ErrorsOf(world, error), 0u) << std::string(Name(error));
    }
    ExpectContents(memory.Snapshot(), after);
    ExpectCleanSet({memory.Snapshot()});
  }
  EXPECT_GT(n, 30u) << "a cycle like this stores more blocks";
}

// I-19: a disk that is deleted with its tree half written leaves nothing dirty, also while somebody
// still has it open.
TEST_F(SpaceFault, ADiskThatIsDeletedAfterAFailedCycleIsNotDirtyAnyMore) {
  bool reached = true;
  for (uint64_t n = 1; reached; ++n) {
    SCOPED_TRACE(absl::StrCat("allocation ", n));
    MemoryDevice memory(image_);
    EngineWorld world(memory, clock_, {.manual = true});
    Change(world);
    world.allocator().FailAt(n);
    const bool synced = world.Sync().ok();
    reached = world.allocator().reached();
    EXPECT_EQ(synced, !reached);
    world.allocator().FailAt(0);
    const DiskRef open = world.Find("kept");
    world.Delete("kept");
    ASSERT_TRUE(world.Sync().ok());
    EXPECT_EQ(world.store().metrics().dirty_chains.value(), 0);
    EXPECT_EQ(world.flusher().CountDirtyDisks(), 0u);
  }
}

// Writers go on while space is short, and everything of all attempts arrives when it is back.
TEST_F(SpaceFault, SpaceThatStaysShortFailsEachSyncUntilItComesBack) {
  for (const uint64_t n : {1, 12, 25}) {
    SCOPED_TRACE(absl::StrCat("allocation ", n));
    MemoryDevice memory(image_);
    EngineWorld world(memory, clock_, {.manual = true});
    Contents after = Change(world);
    for (int attempt = 0; attempt < 4; ++attempt) {
      // What the first attempt has stored is not stored again.
      world.allocator().FailAt(attempt == 0 ? n : 1, /*sticky=*/true);
      EXPECT_EQ(world.Sync().status().code(), absl::StatusCode::kResourceExhausted);
      const std::string text = Noise(rng_, 30 * 1000);
      const uint64_t offset = rng_.Next64() % (kDiskBytes - text.size());
      for (const std::string name : {"kept", "new", "untouched"}) {
        world.Write(world.Find(name), offset, text);
        after[name].replace(offset, text.size(), text);
      }
    }
    world.allocator().FailAt(0);
    ASSERT_TRUE(world.Sync().ok());
    ExpectContents(memory.Snapshot(), after);
    ExpectCleanSet({memory.Snapshot()});
    const CycleRecord last = world.flusher().RecentCycles().back();
    EXPECT_EQ(last.number, 5u);
  }
}

// F-213: what a failed cycle has done to the trees reaches a header although nothing is dirty any
// more.
TEST_F(SpaceFault, ACycleThatFailedIsMadeUpForWhenNothingElseIsDirty) {
  uint64_t missed = 0;
  bool reached = true;
  for (uint64_t n = 1; reached; ++n) {
    SCOPED_TRACE(absl::StrCat("allocation ", n));
    MemoryDevice memory(image_);
    EngineWorld world(memory, clock_, {.manual = true});
    world.DeleteName("gone");
    world.allocator().FailAt(n);
    const CycleResult first = world.commit().RunNow(CycleReason::kRequest);
    reached = world.allocator().reached();
    EXPECT_EQ(first.status.ok(), !reached);
    missed += reached;
    world.allocator().FailAt(0);
    const CycleResult second = world.commit().RunNow(CycleReason::kRequest);
    EXPECT_EQ(second.status, absl::OkStatus());
    EXPECT_EQ(second.empty, !reached) << "the cycle before had published it all";
    EXPECT_TRUE(world.commit().RunNow(CycleReason::kRequest).empty);
    Contents after = before_;
    after.erase("gone");
    ExpectContents(memory.Snapshot(), after);
    ExpectCleanSet({memory.Snapshot()});
  }
  EXPECT_GE(missed, 2u);
}

// F-142, F-213: the only disk of a failed cycle is deleted before the next one.
TEST_F(SpaceFault, TheOnlyDiskOfAFailedCycleIsDeletedAfterIt) {
  MemoryDevice memory(image_);
  EngineWorld world(memory, clock_, {.manual = true});
  const Tid published = world.flusher().mirror_tid();
  world.Write(world.Find("gone"), 0, Noise(rng_, 300 * 1000));
  world.allocator().FailAt(4);
  EXPECT_FALSE(world.Sync().ok());
  world.Delete("gone");
  world.allocator().FailAt(0);
  const CycleResult next = world.commit().RunNow(CycleReason::kRequest);
  EXPECT_EQ(next.status, absl::OkStatus());
  EXPECT_FALSE(next.empty);
  EXPECT_EQ(world.flusher().mirror_tid(), Tid(published.v + 1));
  Contents after = before_;
  after.erase("gone");
  ExpectContents(memory.Snapshot(), after);
  ExpectCleanSet({memory.Snapshot()});
}

// F-144: a disk that is created, written and deleted between two cuts leaves nothing, also when the
// cycle fails anywhere in between; a name that is taken again keeps the newer disk.
TEST_F(SpaceFault, CreateAndDeleteInOneIntervalLeaveNothing) {
  bool reached = true;
  for (uint64_t n = 1; reached; ++n) {
    SCOPED_TRACE(absl::StrCat("allocation ", n));
    MemoryDevice memory(image_);
    EngineWorld world(memory, clock_, {.manual = true});
    for (const std::string& name : {std::string("brief"), std::string(90, 'b')}) {
      world.Write(world.Create(name, kDiskBytes), 0, Noise(rng_, 100 * 1000));
      world.Delete(name);
    }
    Contents after = before_;
    after["brief"] = std::string(kDiskBytes, '\0');
    world.Create("brief", kDiskBytes);
    world.allocator().FailAt(n);
    const bool synced = world.Sync().ok();
    reached = world.allocator().reached();
    EXPECT_EQ(synced, !reached);
    world.allocator().FailAt(0);
    ASSERT_TRUE(world.Sync().ok());
    ExpectContents(memory.Snapshot(), after);
    MemoryDevice checked(memory.Snapshot());
    ExpectClean(checked);
  }
}

}  // namespace
}  // namespace h2bd
