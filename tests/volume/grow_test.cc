// Growth of the only device of a volume, while it is served (spec 02 section 8.4), without the
// defects of section 8.3.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/device/file_device.h"
#include "core/fsck/check.h"
#include "core/media/placement.h"
#include "tests/support/crash_image.h"
#include "tests/support/fault_device.h"
#include "tests/support/fixtures.h"
#include "tests/volume/device_stack.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

const DiskName kDisk{"DATA", "vm"};
constexpr uint64_t kDiskBytes = 64 * kGiB;

FormatOptions SmallAreas(uint32_t version) {
  FormatOptions options;
  options.version = version;
  options.boot_bytes = options.aux_bytes = 8 * kMiB;
  options.comp = CompMethod::kNone;
  return options;
}

std::string TextOf(uint64_t n) { return absl::StrCat("text of size ", n); }

// The text `n` is written at its own place; earlier ones must still be there.
void WriteAndLook(Volume& volume, const std::vector<uint64_t>& sizes) {
  const auto disk = volume.OpenDisk(kDisk);
  ASSERT_TRUE(disk.ok()) << disk.status();
  const size_t last = sizes.size() - 1;
  ASSERT_EQ(WriteText(volume, *disk, last * kMiB, TextOf(sizes[last])), absl::OkStatus());
  ASSERT_EQ(volume.RunCycle(), absl::OkStatus());
  for (size_t i = 0; i < sizes.size(); ++i) {
    std::string text(TextOf(sizes[i]).size(), ' ');
    ASSERT_EQ(volume.Read(*disk, i * kMiB,
                          ByteSpan(reinterpret_cast<std::byte*>(text.data()), text.size()), {}),
              absl::OkStatus());
    EXPECT_EQ(text, TextOf(sizes[i]));
  }
}

std::unique_ptr<VolumeData> NewestHeader(BlockDevice& device) {
  const auto probes = ProbeHeaders(device);
  const std::optional<int> best = BestSlot(probes);
  return best.has_value() ? std::make_unique<VolumeData>(*probes[static_cast<size_t>(*best)].header)
                          : nullptr;
}

// From size to size, over each GiB border and each new header slot, in both versions; the strict
// checker looks at every header after each step, at allocator_size and at the reserved segments
// too.
TEST(Grow, StepByStepOverEveryBorder) {
  const std::vector<uint64_t> sizes = {
      1000 * kMiB,         1008 * kMiB, 1016 * kMiB,         1024 * kMiB, 1032 * kMiB,
      1536 * kMiB,         2048 * kMiB, 2056 * kMiB,         3 * kGiB,    4 * kGiB,
      4 * kGiB + 8 * kMiB, 6 * kGiB,    6 * kGiB + 8 * kMiB, 9 * kGiB};
  for (const uint32_t version : {1u, 2u}) {
    SCOPED_TRACE(version);
    MemoryDevice memory(*FormattedImage(sizes[0], SmallAreas(version)));
    auto volume = OpenOn(memory, ManualOptions());
    ASSERT_TRUE(volume.ok()) << volume.status();
    ASSERT_TRUE((*volume)->CreateDisk(kDisk, {.size_bytes = kDiskBytes}).ok());
    std::vector<uint64_t> seen = {sizes[0]};
    WriteAndLook(**volume, seen);
    for (size_t i = 1; i < sizes.size(); ++i) {
      SCOPED_TRACE(sizes[i]);
      const auto report = (*volume)->Grow({.bytes = sizes[i]});
      ASSERT_TRUE(report.ok()) << report.status();
      EXPECT_EQ(report->old_bytes, sizes[i - 1]);
      EXPECT_EQ(report->new_bytes, sizes[i]);
      EXPECT_EQ(report->header_slots, HeaderSlotCount(sizes[i]));
      const auto header = NewestHeader(memory);
      ASSERT_NE(header, nullptr);
      EXPECT_EQ(header->volu_size, sizes[i]);
      EXPECT_EQ(header->total_size, version == 1 ? 0 : sizes[i]);
      ExpectClean(memory);
      seen.push_back(sizes[i]);
      WriteAndLook(**volume, seen);
      ExpectClean(memory);
      EXPECT_EQ((*volume)->GetStatus().total_bytes, sizes[i]);
      if (i % 3 != 0) continue;
      ASSERT_EQ((*volume)->Close(), absl::OkStatus());
      volume = OpenOn(memory, ManualOptions());
      ASSERT_TRUE(volume.ok()) << volume.status();
      WriteAndLook(**volume, seen);
    }
    ASSERT_EQ((*volume)->Close(), absl::OkStatus());
    ExpectClean(memory);
  }
}

// What was past the end in the leaf of the old end is free with the same header, and is used: the
// reference leaves it to two bulkfree scans, and counts it twice then.
TEST(Grow, TheTailOfTheLastLeafIsUsed) {
  MemoryDevice memory(*FormattedImage(96 * kMiB, SmallAreas(2)));
  const auto volume = OpenOn(memory, ManualOptions());
  ASSERT_TRUE(volume.ok()) << volume.status();
  ASSERT_TRUE((*volume)->CreateDisk(kDisk, {.size_bytes = kGiB}).ok());
  const auto disk = (*volume)->OpenDisk(kDisk);
  std::string noise(64 * kKiB, ' ');
  SeededRandom rng(1);
  uint64_t at = 0;
  const auto fill = [&]() -> absl::Status {
    for (;; at += noise.size()) {
      for (char& c : noise) c = static_cast<char>(rng.Next64());
      H2_RETURN_IF_ERROR(WriteText(**volume, *disk, at, noise));
      if (at % kMiB == 0) H2_RETURN_IF_ERROR((*volume)->RunCycle());
    }
  };
  EXPECT_EQ(fill().code(), absl::StatusCode::kResourceExhausted);
  const uint64_t before = at;
  const uint64_t usable = (*volume)->GetStatus().space.total_bytes;
  ASSERT_TRUE((*volume)->Grow({.bytes = 256 * kMiB}).ok());
  EXPECT_EQ((*volume)->GetStatus().space.total_bytes, usable + 160 * kMiB);
  ExpectClean(memory);
  EXPECT_EQ(fill().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_GT(at, before + 140 * kMiB);
  EXPECT_EQ((*volume)->RunCycle(), absl::OkStatus());
  ExpectClean(memory);
}

TEST(Grow, RefusesWhatIsNoGrowth) {
  MemoryDevice memory(*FormattedImage(128 * kMiB, SmallAreas(2)));
  const auto volume = OpenOn(memory, ManualOptions());
  ASSERT_TRUE(volume.ok()) << volume.status();
  const Tid tid = (*volume)->GetStatus().mirror_tid;
  EXPECT_EQ((*volume)->Grow({.bytes = 120 * kMiB}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ((*volume)->Grow({.bytes = uint64_t{1} << 63}).status().code(),
            absl::StatusCode::kInvalidArgument);
  const auto same = (*volume)->Grow({});
  ASSERT_TRUE(same.ok()) << same.status();
  EXPECT_EQ(same->new_bytes, 128 * kMiB);
  EXPECT_EQ((*volume)->GetStatus().mirror_tid, tid) << "nothing to write";
  // Rounded down to 8 MiB.
  ASSERT_EQ(memory.Extend(140 * kMiB), absl::OkStatus());
  EXPECT_EQ((*volume)->Grow({})->new_bytes, 136 * kMiB);
  VolumeOptions read_only = ManualOptions();
  read_only.read_only = true;
  MemoryDevice other(memory.Snapshot());
  EXPECT_EQ((*OpenOn(other, read_only))->Grow({}).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

// A header of an older, larger volume would be chosen by every later mount (spec 01 section 2.7).
TEST(Grow, ErasesHeadersThatComeIntoReach) {
  MemoryDevice memory(*FormattedImage(1 * kGiB, SmallAreas(2)));
  const auto volume = OpenOn(memory, ManualOptions());
  ASSERT_TRUE(volume.ok()) << volume.status();
  ASSERT_TRUE((*volume)->CreateDisk(kDisk, {.size_bytes = kGiB}).ok());
  const auto stale = NewestHeader(memory);
  ASSERT_EQ(memory.Extend(7 * kGiB), absl::OkStatus());
  stale->mirror_tid.v += 1000;
  SealVolumeData(*stale);
  const auto image = AlignedBuffer::CopyOf(std::as_bytes(std::span(stale.get(), 1)));
  for (const int slot : {1, 2, 3}) {
    ASSERT_EQ(memory.Write(HeaderSlotOffset(slot), image.span()), absl::OkStatus());
  }
  // Also those past the new end, but within the device.
  ASSERT_TRUE((*volume)->Grow({.bytes = 3 * kGiB}).ok());
  ASSERT_EQ((*volume)->Close(), absl::OkStatus());
  EXPECT_EQ(NewestHeader(memory)->volu_size, 3 * kGiB);
  ExpectClean(memory);
  const auto again = OpenOn(memory, ManualOptions());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE((*again)->GetDisk(kDisk).ok());
}

// Cut at every event, the volume has its old size or its new one, and what it held.
void CutGrowth(uint64_t from, uint64_t to) {
  SCOPED_TRACE(absl::StrCat(from, " to ", to));
  SparseImage base = *FormattedImage(from, SmallAreas(2));
  {
    MemoryDevice memory(base);
    const auto volume = OpenOn(memory, ManualOptions());
    ASSERT_TRUE(volume.ok()) << volume.status();
    ASSERT_TRUE((*volume)->CreateDisk(kDisk, {.size_bytes = kGiB}).ok());
    WriteAndLook(**volume, {from});
    ASSERT_EQ((*volume)->Close(), absl::OkStatus());
    base = memory.Snapshot();
  }
  base.Grow(to);
  DeviceStack stack({base});
  {
    const auto volume = stack.Open(ManualOptions());
    ASSERT_TRUE(volume.ok()) << volume.status();
    ASSERT_TRUE((*volume)->Grow({}).ok());
    WriteAndLook(**volume, {from, to});
  }
  const std::vector<IoEvent> events = stack.EventsFrom(0);
  CrashStates states({base}, events);
  SeededRandom rng(TestSeed());
  std::set<uint64_t> found;
  for (size_t cut = 0; cut <= events.size(); ++cut) {
    states.AdvanceTo(cut);
    for (int draw = 0; draw < 3; ++draw) {
      MemoryDevice after(states.Draw(rng).front());
      const auto volume = OpenOn(after, ManualOptions());
      ASSERT_TRUE(volume.ok()) << "cut " << cut << ": " << volume.status();
      found.insert((*volume)->GetStatus().total_bytes);
      WriteAndLook(**volume, {from});
      ASSERT_TRUE((*volume)->Grow({}).ok());
      WriteAndLook(**volume, {from});
      ASSERT_EQ((*volume)->Close(), absl::OkStatus());
      EXPECT_EQ(NewestHeader(after)->volu_size, to);
      ExpectClean(after);
    }
  }
  EXPECT_EQ(found, (std::set<uint64_t>{from, to}));
}

TEST(Grow, SurvivesACrashAtEveryEvent) {
  CutGrowth(512 * kMiB, 1536 * kMiB);
  CutGrowth(2 * kGiB, 4 * kGiB);             // one slot and its shadow to two slots
  CutGrowth(3 * kGiB, 7 * kGiB);             // two to four
  CutGrowth(1 * kGiB, 1 * kGiB + 8 * kMiB);  // into a new zone
}

// Volumes of the reference, both versions, a multiple of 1 GiB or not, keep what they hold.
TEST(Grow, FixturesKeepTheirContents) {
  if (!SharedDir().has_value()) return SkipLoudly("growth of the reference's volumes");
  int grown = 0;
  for (const std::string& name : FixtureNames()) {
    SCOPED_TRACE(name);
    const absl::StatusOr<SparseImage> image = LoadFixture(name);
    ASSERT_TRUE(image.ok()) << image.status();
    MemoryDevice memory(*image);
    const auto header = NewestHeader(memory);
    if (header == nullptr || header->nvolumes > 1) continue;
    const std::string digest = DigestOf(*image);
    auto volume = OpenOn(memory, ManualOptions());
    if (!volume.ok()) continue;
    for (const uint64_t more : {8 * kMiB, 1 * kGiB, 5 * kGiB}) {
      const auto report = (*volume)->Grow({.bytes = (*volume)->GetStatus().total_bytes + more});
      ASSERT_TRUE(report.ok()) << report.status();
    }
    ASSERT_EQ((*volume)->Close(), absl::OkStatus());
    EXPECT_EQ(DigestOf(memory.Snapshot()), digest);
    BlockDevice* devices[] = {&memory};
    CheckOptions newest;
    newest.slot = BestSlot(ProbeHeaders(memory));
    const CheckReport report = CheckDevices(devices, newest);
    EXPECT_EQ(report.errors, 0u) << report.ToString();
    EXPECT_EQ(report.count(FindingCode::kAllocatorSize), 0u);
    EXPECT_EQ(report.count(FindingCode::kAllocatorFree), 0u);
    ++grown;
  }
  EXPECT_GT(grown, 5);
}

// A publish that fails leaves the old size; the next header carries the new one.
TEST(Grow, AFailedHeaderIsMadeUpFor) {
  SparseImage base = *FormattedImage(512 * kMiB, SmallAreas(2));
  base.Grow(1 * kGiB);
  for (uint64_t fail_at = 1;; ++fail_at) {
    MemoryDevice memory(base);
    FaultPoint point(FaultPlan{.fail_at = fail_at});
    FaultDevice faulty(memory, point);
    uint64_t total = 0;
    bool reached = false;
    {
      const auto volume = OpenOn(faulty, ManualOptions());
      if (!volume.ok()) continue;  // a fault of the open
      const auto report = (*volume)->Grow({});
      reached = point.reached();
      if (!report.ok()) {
        // Fail-stop or not: the next open finishes it.
        (*volume)->Grow({}).status().IgnoreError();
      }
      (*volume)->Close().IgnoreError();
    }
    const auto volume = OpenOn(memory, ManualOptions());
    ASSERT_TRUE(volume.ok()) << volume.status();
    total = (*volume)->GetStatus().total_bytes;
    EXPECT_TRUE(total == 512 * kMiB || total == kGiB) << total;
    ASSERT_TRUE((*volume)->Grow({}).ok());
    ASSERT_EQ((*volume)->Close(), absl::OkStatus());
    ExpectClean(memory);
    EXPECT_EQ(NewestHeader(memory)->volu_size, kGiB);
    if (!reached) break;
  }
}

// Writers go on while the volume grows.
TEST(Grow, WhileItIsWritten) {
  MemoryDevice memory(*FormattedImage(256 * kMiB, SmallAreas(2)));
  VolumeOptions options;
  options.allow_one_header_slot = true;
  {
    const auto volume = OpenOn(memory, options);
    ASSERT_TRUE(volume.ok()) << volume.status();
    ASSERT_TRUE((*volume)->CreateDisk(kDisk, {.size_bytes = kGiB}).ok());
    std::atomic<bool> stop{false};
    std::thread writer([&] {
      const auto disk = (*volume)->OpenDisk(kDisk);
      for (uint64_t i = 0; !stop; ++i) {
        EXPECT_EQ(WriteText(**volume, *disk, i % 512 * 64 * kKiB, TextOf(i)), absl::OkStatus());
        EXPECT_TRUE((*volume)->Sync(*disk, {}).ok());
      }
    });
    for (uint64_t mib = 512; mib <= 4096; mib += 512) {
      const auto report = (*volume)->Grow({.bytes = mib * kMiB});
      EXPECT_TRUE(report.ok()) << report.status();
    }
    stop = true;
    writer.join();
    EXPECT_EQ((*volume)->GetStatus().total_bytes, 4 * kGiB);
    EXPECT_EQ((*volume)->Close(), absl::OkStatus());
  }
  ExpectClean(memory);
}

// A file is made larger first, with its space taken.
TEST(Grow, AFile) {
  const std::string path = absl::StrCat(testing::TempDir(), "h2bd-grow-", getpid(), ".img");
  ASSERT_EQ(CreateImageFile(path, 64 * kMiB, ImageSpace::kSparse), absl::OkStatus());
  const auto open = [&] {
    std::vector<std::unique_ptr<BlockDevice>> devices;
    auto device = OpenFileDevice(path, {}, NullLogger());
    EXPECT_TRUE(device.ok()) << device.status();
    devices.push_back(*std::move(device));
    return devices;
  };
  SeededRandom random(1);
  ASSERT_TRUE(Format(open(), SmallAreas(2), SystemClock(), random).ok());
  {
    const auto volume = Volume::Open(open(), ManualOptions(), {});
    ASSERT_TRUE(volume.ok()) << volume.status();
    ASSERT_TRUE((*volume)->CreateDisk(kDisk, {.size_bytes = kGiB}).ok());
    const auto report = (*volume)->Grow({.bytes = 96 * kMiB});
    ASSERT_TRUE(report.ok()) << report.status();
    WriteAndLook(**volume, {96 * kMiB});
    ASSERT_EQ((*volume)->Close(), absl::OkStatus());
  }
  auto devices = open();
  EXPECT_EQ(devices.front()->size_bytes(), 96 * kMiB);
  ExpectClean(*devices.front());
  unlink(path.c_str());
}

}  // namespace
}  // namespace h2bd
