// Reads fail, media are damaged, ids and space run out: nobody is told that data is safe which is
// not, nothing promised is lost, the volume stays clean (design P4, spec 04 sections 6.4 and 11).
// Writes and barriers that fail: commit_fault_test.cc.
#include <gtest/gtest.h>

#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/support/fixtures.h"
#include "tests/volume/fault_world.h"

namespace h2bd {
namespace {

constexpr uint64_t kDiskBytes = FaultWorld::kDiskBytes;

class FaultTest : public ::testing::Test {
 protected:
  FaultTest() : image_(*FormattedImage(8 * kGiB)) {}
  SparseImage image_;
};

TEST_F(FaultTest, AFailedReadLeavesEverythingDirtyAndTheNextCycleSucceeds) {
  // What a fresh process has not cached must be read: tables, the inode, the block below a partial
  // write.
  FaultWorld prepared(image_, FaultPlan{.fail_at = 0});
  const SparseImage image = prepared.memory.Snapshot();
  bool reached = true;
  uint64_t n = 1;
  uint64_t failed_cycles = 0;
  for (; reached; ++n) {
    SCOPED_TRACE(absl::StrCat("read ", n));
    MemoryDevice memory(image);
    FaultPoint point(FaultPlan{.fail_at = 0});
    FaultDevice faulty(memory, point);
    const auto volume = OpenOn(faulty, ManualOptions());
    ASSERT_TRUE(volume.ok()) << volume.status();
    const DiskRef disk = *(*volume)->OpenDisk({"", "d"});
    // From the n-th on: a single failure is made up for by reading in smaller pieces.
    point.Reset(
        FaultPlan{.fail_at = n, .sticky = true, .reads = true, .writes = false, .syncs = false});
    std::string after = prepared.before;
    after.replace(70000, 5, "hello");
    ASSERT_EQ(WriteText(**volume, disk, 70000, "hello"), absl::OkStatus());
    const auto first = (*volume)->Sync(nullptr, {});
    reached = point.reached();
    EXPECT_EQ(first.ok(), !reached) << first.status();
    if (!first.ok()) {
      ++failed_cycles;
      EXPECT_EQ(first.status().code(), absl::StatusCode::kUnavailable);
    }
    point.Reset(FaultPlan{.fail_at = 0});
    const auto second = (*volume)->Sync(nullptr, {});
    EXPECT_TRUE(second.ok()) << second.status();
    EXPECT_EQ(*ReadAll(**volume, disk), after);
    const std::vector<CycleRecord> cycles = (*volume)->RecentCycles();
    ASSERT_EQ(cycles.size(), first.ok() ? 1u : 2u);
    EXPECT_TRUE(cycles.back().status.ok()) << cycles.back().status;
    MemoryDevice later(memory.Snapshot());
    ExpectClean(later);
  }
  EXPECT_GT(failed_cycles, 0u);
}

// What a failed cycle froze and what came after it are joined; a hole of the first must stay one
// below the second.
TEST_F(FaultTest, AFailedCycleDoesNotBringZeroedOrCutOffBytesBack) {
  FaultWorld prepared(image_, FaultPlan{.fail_at = 0});
  const SparseImage image = prepared.memory.Snapshot();
  for (const bool shrink : {false, true}) {
    SCOPED_TRACE(shrink ? "shrunk" : "zeroed");
    MemoryDevice memory(image);
    FaultPoint point(FaultPlan{.fail_at = 0});
    FaultDevice faulty(memory, point);
    const auto volume = OpenOn(faulty, ManualOptions());
    ASSERT_TRUE(volume.ok()) << volume.status();
    const DiskRef disk = *(*volume)->OpenDisk({"", "d"});
    std::string expected = prepared.before;
    const uint64_t kept = shrink ? 3 * kLogicalBytes : 0;
    const uint64_t gone = shrink ? kDiskBytes : kLogicalBytes;
    expected.replace(kept, gone - kept, gone - kept, '\0');
    if (shrink) {
      ASSERT_TRUE((*volume)->ResizeDisk({"", "d"}, kept).ok());
    } else {
      ASSERT_TRUE((*volume)->WriteZeroes(disk, kept, gone - kept, {}).ok());
    }
    // A part of a block needs the rest of it from the device, which fails.
    point.Reset(
        FaultPlan{.fail_at = 1, .sticky = true, .reads = true, .writes = false, .syncs = false});
    const uint64_t partial = shrink ? kLogicalBytes : 5 * kLogicalBytes;
    ASSERT_EQ(WriteText(**volume, disk, partial + 9, "part"), absl::OkStatus());
    expected.replace(partial + 9, 4, "part");
    EXPECT_FALSE((*volume)->Sync(nullptr, {}).ok());
    point.Reset(FaultPlan{.fail_at = 0});
    if (shrink) {
      ASSERT_TRUE((*volume)->ResizeDisk({"", "d"}, kDiskBytes).ok());
    }
    ASSERT_EQ(WriteText(**volume, disk, kept + 100, "later"), absl::OkStatus());
    expected.replace(kept + 100, 5, "later");
    EXPECT_TRUE(*ReadAll(**volume, disk) == expected) << "before the Sync";
    const auto synced = (*volume)->Sync(nullptr, {});
    ASSERT_TRUE(synced.ok()) << synced.status();
    EXPECT_TRUE(*ReadAll(**volume, disk) == expected) << "after the Sync";
    MemoryDevice later(memory.Snapshot());
    const auto again = OpenOn(later, ManualOptions());
    EXPECT_TRUE(*ReadAll(**again, *(*again)->OpenDisk({"", "d"})) == expected) << "opened again";
  }
}

TEST_F(FaultTest, EachIoOfOpenAndOfFormatCanFail) {
  bool reached = true;
  for (uint64_t n = 1; reached; ++n) {
    MemoryDevice memory(image_);
    FaultPoint point(FaultPlan{.fail_at = n, .reads = true});
    FaultDevice faulty(memory, point);
    const auto volume = OpenOn(faulty, ManualOptions());
    reached = point.reached();
    // A header copy that cannot be read is fenced, not fatal; whatever happens is a status, and the
    // volume is whole.
    EXPECT_TRUE(volume.ok() || reached) << volume.status();
    MemoryDevice later(memory.Snapshot());
    EXPECT_TRUE(OpenOn(later, ManualOptions()).ok());
  }
  reached = true;
  for (uint64_t n = 1; reached; ++n) {
    MemoryDevice memory(8 * kGiB);
    FaultPoint point(FaultPlan{.fail_at = n});
    std::vector<std::unique_ptr<BlockDevice>> devices;
    devices.push_back(std::make_unique<FaultDevice>(memory, point));
    const auto report = Format(devices, {}, SystemClock(), SystemRandom());
    reached = point.reached();
    EXPECT_EQ(report.ok(), !reached) << report.status();
  }
}

// A device that cannot be read for a moment is not a damaged one. An open that meets one may
// fail; if it does not, nothing that was synced may be missing, neither now nor after the next
// open (P2, P4).
TEST_F(FaultTest, AReadErrorDuringOpenGivesNothingUp) {
  FaultWorld prepared(image_, FaultPlan{.fail_at = 0});
  const std::string expected = std::string(kDiskBytes, 's');
  ASSERT_EQ(WriteText(*prepared.volume, prepared.disk, 0, expected), absl::OkStatus());
  ASSERT_TRUE(prepared.volume->Sync(nullptr, {}).ok());
  const SparseImage image = prepared.memory.Snapshot();
  for (const auto& [number, page] : image.pages()) {
    const uint64_t place = number * SparseImage::kPage;
    SCOPED_TRACE(absl::StrFormat("nothing at %#x can be read", place));
    MemoryDevice memory(image);
    FaultPoint point(FaultPlan{.sticky = true,
                               .reads = true,
                               .writes = false,
                               .syncs = false,
                               .begin = place,
                               .end = place + SparseImage::kPage});
    FaultDevice faulty(memory, point);
    if (const auto volume = OpenOn(faulty, ManualOptions()); volume.ok()) {
      point.Reset(FaultPlan{.fail_at = 0});
      const absl::StatusOr<DiskRef> disk = (*volume)->OpenDisk({"", "d"});
      EXPECT_TRUE(disk.ok()) << disk.status();
      if (disk.ok()) {
        EXPECT_TRUE(*ReadAll(**volume, *disk) == expected) << "an older state";
        EXPECT_EQ(WriteText(**volume, *disk, 0, expected), absl::OkStatus());
      }
      EXPECT_TRUE((*volume)->Sync(nullptr, {}).ok());
    }
    const auto again = OpenOn(memory, ManualOptions());
    ASSERT_TRUE(again.ok()) << again.status();
    const absl::StatusOr<DiskRef> disk = (*again)->OpenDisk({"", "d"});
    ASSERT_TRUE(disk.ok()) << disk.status();
    EXPECT_TRUE(*ReadAll(**again, *disk) == expected) << "an older state after the next open";
    ExpectClean(memory);
  }
}

TEST_F(FaultTest, ADamagedBlockGivesDataLossForItsRangeAndNothingElse) {
  FaultWorld world(image_, FaultPlan{.fail_at = 0});
  std::string noise(kDiskBytes, '\0');
  SeededRandom rng(7);
  rng.Fill(ByteSpan(reinterpret_cast<std::byte*>(noise.data()), noise.size()));
  ASSERT_EQ(WriteText(*world.volume, world.disk, 0, noise), absl::OkStatus());
  ASSERT_TRUE(world.volume->Sync(nullptr, {}).ok());
  world.disk.reset();
  world.volume.reset();
  // Flip one bit in the stored copy of the third block.
  SparseImage image = world.memory.Snapshot();
  const std::string wanted = noise.substr(2 * kLogicalBytes, kLogicalBytes);
  bool flipped = false;
  const SparseImage intact = image;
  for (const auto& [number, page] : intact.pages()) {
    if (AsText(page->span()) != absl::string_view(wanted)) continue;
    std::byte byte = page->data()[1000] ^ std::byte{4};
    image.Write(number * SparseImage::kPage + 1000, {&byte, 1});
    flipped = true;
  }
  ASSERT_TRUE(flipped);
  MemoryDevice device(std::move(image));
  const auto volume = OpenOn(device, ManualOptions());
  ASSERT_TRUE(volume.ok());
  const DiskRef disk = *(*volume)->OpenDisk({"", "d"});
  std::vector<std::byte> into(kLogicalBytes);
  const absl::Status damaged = (*volume)->Read(disk, 2 * kLogicalBytes, into, {});
  EXPECT_EQ(damaged.code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(damaged.message().find("131072"), absl::string_view::npos) << damaged;
  for (const uint64_t block : {0, 1, 3, 4}) {
    ASSERT_EQ((*volume)->Read(disk, block * kLogicalBytes, into, {}), absl::OkStatus());
    EXPECT_EQ(AsText(into), absl::string_view(noise).substr(block * kLogicalBytes, kLogicalBytes));
  }
  // A partial write cannot be completed, and says so at the Sync; a whole one repairs the block.
  ASSERT_EQ(WriteText(**volume, disk, 2 * kLogicalBytes + 5, "part"), absl::OkStatus());
  // Whatever else the cycles store meanwhile takes no space while they fail.
  ASSERT_TRUE((*volume)->CreateDisk({"", "e"}, {16 * kMiB}).ok());
  const DiskRef other = *(*volume)->OpenDisk({"", "e"});
  std::string much(8 * kMiB, '\0');
  rng.Fill(std::as_writable_bytes(std::span(much)));
  ASSERT_EQ(WriteText(**volume, other, 0, much), absl::OkStatus());
  EXPECT_EQ((*volume)->Sync(nullptr, {}).status().code(), absl::StatusCode::kDataLoss);
  const uint64_t allocated = (*volume)->GetStatus().space.allocated_bytes;
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ((*volume)->Sync(nullptr, {}).status().code(), absl::StatusCode::kDataLoss);
  }
  EXPECT_LT((*volume)->GetStatus().space.allocated_bytes, allocated + 64 * kKiB);
  ASSERT_EQ(WriteText(**volume, disk, 2 * kLogicalBytes, std::string(kLogicalBytes, 'r')),
            absl::OkStatus());
  EXPECT_TRUE((*volume)->Sync(nullptr, {}).ok());
}

TEST_F(FaultTest, ADiskWhoseInodeIsDamagedIsListedAndCanBeDeleted) {
  FaultWorld world(image_, FaultPlan{.fail_at = 0});
  const Inum inum = world.disk->id().inum;
  ASSERT_TRUE(world.volume->CreateDisk({"", "other"}, {kMiB}).ok());
  ASSERT_TRUE(world.volume->Sync(nullptr, {}).ok());
  world.disk.reset();
  world.volume.reset();
  SparseImage image = world.memory.Snapshot();
  const SparseImage intact = image;
  int copies = 0;
  for (const auto& [number, page] : intact.pages()) {
    for (size_t at = 0; at + sizeof(InodeData) <= SparseImage::kPage; at += sizeof(InodeData)) {
      const auto inode = LoadAs<InodeData>(page->span(), at);
      if (inode.meta.inum != inum || inode.meta.type != ObjectType::kRegfile) continue;
      std::byte byte = page->data()[at + 700] ^ std::byte{1};
      image.Write(number * SparseImage::kPage + at + 700, {&byte, 1});
      ++copies;
    }
  }
  ASSERT_GT(copies, 0);
  MemoryDevice device(std::move(image));
  const auto volume = OpenOn(device, ManualOptions());
  ASSERT_TRUE(volume.ok()) << volume.status();
  EXPECT_EQ((*volume)->OpenDisk({"", "d"}).status().code(), absl::StatusCode::kDataLoss);
  const auto list = (*volume)->ListDisks("", 10, "");
  ASSERT_TRUE(list.ok()) << list.status();
  ASSERT_EQ(list->disks.size(), 2u);
  for (const DiskInfo& disk : list->disks) EXPECT_EQ(disk.damaged, disk.name.path == "d");
  ASSERT_EQ((*volume)->DeleteDisk({"", "d"}), absl::OkStatus());
  EXPECT_TRUE((*volume)->Sync(nullptr, {}).ok());
  EXPECT_EQ((*volume)->ListDisks("", 10, "")->disks.size(), 1u);
  EXPECT_EQ((*volume)->OpenDisk({"", "d"}).status().code(), absl::StatusCode::kNotFound);
}

// What a listing leaves out nobody would miss.
TEST_F(FaultTest, ADiskWhoseNameIsDamagedIsListedAllTheSame) {
  const std::string long_name(200, 'n');  // in a block of its own
  MemoryDevice fresh(image_);
  Inum inum;
  {
    const auto volume = OpenOn(fresh, ManualOptions());
    for (const std::string& name : {std::string("a"), long_name, std::string("z")}) {
      const auto made = (*volume)->CreateDisk({"", name}, {kMiB});
      ASSERT_TRUE(made.ok());
      if (name == long_name) inum = made->inum;
    }
    ASSERT_TRUE((*volume)->Sync(nullptr, {}).ok());
  }
  SparseImage image = fresh.Snapshot();
  const SparseImage intact = image;
  int copies = 0;
  for (const auto& [number, page] : intact.pages()) {
    for (size_t at = 0; at + kAllocMin <= SparseImage::kPage; at += kAllocMin) {
      const ConstByteSpan text = page->span().subspan(at, long_name.size());
      if (AsText(text) != long_name) continue;
      std::byte byte = text[7] ^ std::byte{1};
      image.Write(number * SparseImage::kPage + at + 7, {&byte, 1});
      ++copies;
    }
  }
  ASSERT_EQ(copies, 1);
  MemoryDevice device(std::move(image));
  const auto volume = OpenOn(device, ManualOptions());
  ASSERT_TRUE(volume.ok()) << volume.status();
  for (const int page_size : {1, 2, 100}) {
    SCOPED_TRACE(page_size);
    std::set<std::string> names;
    std::string token;
    do {
      const auto page = (*volume)->ListDisks("", page_size, token);
      ASSERT_TRUE(page.ok()) << page.status();
      for (const DiskInfo& disk : page->disks) {
        EXPECT_TRUE(names.insert(disk.name.path).second) << disk.name.path;
        EXPECT_EQ(disk.damaged, absl::StartsWith(disk.name.path, "?unreadable-name-"));
        EXPECT_EQ(disk.inum == inum, disk.damaged);
      }
      token = page->next_page_token;
    } while (!token.empty());
    EXPECT_EQ(names.size(), 3u) << "a, z and the damaged one";
  }
  EXPECT_EQ((*volume)->OpenDisk({"", long_name}).status().code(), absl::StatusCode::kDataLoss);
}

// A header that somebody made up, or damage that a check code does not show: ids never wrap.
TEST_F(FaultTest, AVolumeWithoutFreeTransactionIdsIsNotOpenedForWriting) {
  for (const uint64_t tid : {kTidLimit - 1, UINT64_MAX}) {
    SCOPED_TRACE(tid);
    SparseImage image = image_;
    VolumeData header;
    image.Read(0, std::as_writable_bytes(std::span(&header, 1)));
    header.mirror_tid = header.freemap_tid = Tid(tid);
    SealVolumeData(header);
    image.Write(0, std::as_bytes(std::span(&header, 1)));
    MemoryDevice device(image);
    EXPECT_FALSE(OpenOn(device, ManualOptions()).ok());
    EXPECT_TRUE(device.Snapshot() == image) << "refused, and changed all the same";
  }
}

// A volume that fills up refuses writes, not flushes; deleting works, and so does what was
// accepted.
TEST(FullVolume, WritesAreRefusedAndNothingElseFails) {
  MemoryDevice device(
      *FormattedImage(64 * kMiB, FormatOptions{.boot_bytes = 8 * kMiB, .aux_bytes = 8 * kMiB}));
  VolumeOptions options = ManualOptions();
  options.dirty_limit_bytes = 8 * kMiB;
  const auto volume = OpenOn(device, options);
  ASSERT_TRUE(volume.ok()) << volume.status();
  ASSERT_TRUE((*volume)->CreateDisk({"", "d"}, {kGiB}).ok());
  const DiskRef disk = *(*volume)->OpenDisk({"", "d"});
  SeededRandom rng(TestSeed());
  std::string noise(256 * kKiB, '\0');
  std::map<uint64_t, std::string> accepted;
  absl::Status refused;
  for (uint64_t i = 0; i < 400 && refused.ok(); ++i) {
    rng.Fill(ByteSpan(reinterpret_cast<std::byte*>(noise.data()), noise.size()));
    refused = WriteText(**volume, disk, i * noise.size(), noise);
    if (refused.ok()) accepted[i] = noise;
    if (i % 8 == 7) {
      const auto synced = (*volume)->Sync(nullptr, {});
      ASSERT_TRUE(synced.ok()) << synced.status();
    }
  }
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted) << refused;
  EXPECT_GT(accepted.size(), 100u) << "of 44 MiB most must be usable";
  EXPECT_TRUE((*volume)->Sync(nullptr, {}).ok());
  EXPECT_TRUE((*volume)->Discard(disk, 0, noise.size(), {}).ok());
  EXPECT_TRUE((*volume)->Sync(nullptr, {}).ok());
  for (const auto& [i, text] : accepted) {
    if (i == 0) continue;
    std::string found(text.size(), '\0');
    ASSERT_EQ(
        (*volume)->Read(disk, i * text.size(),
                        ByteSpan(reinterpret_cast<std::byte*>(found.data()), found.size()), {}),
        absl::OkStatus());
    EXPECT_TRUE(found == text);
  }
  EXPECT_EQ((*volume)->DeleteDisk({"", "d"}), absl::OkStatus());
  EXPECT_TRUE((*volume)->Sync(nullptr, {}).ok());
  MemoryDevice later(device.Snapshot());
  ExpectClean(later);
}

}  // namespace
}  // namespace h2bd
