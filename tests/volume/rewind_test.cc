// Looking through older headers, and going back to one of them (spec 02 section 7.5, spec 04
// F-218).
#include "core/fsck/rewind.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "core/fsck/repair.h"
#include "core/media/placement.h"
#include "tests/support/crash_image.h"
#include "tests/support/fixtures.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

using testing::HasSubstr;

constexpr uint64_t kDiskBytes = 4 * kMiB;
const DiskName kDisk{"DATA", "vm"};

std::string Generation(int n) { return absl::StrCat("generation ", n, "!"); }

// A volume of four slots whose headers hold four generations of one disk; the newest is `last`.
SparseImage FourGenerations(int last) {
  MemoryDevice memory(*FormattedImage(8 * kGiB));
  auto volume = OpenOn(memory, ManualOptions());
  EXPECT_TRUE(volume.ok()) << volume.status();
  EXPECT_TRUE((*volume)->CreateDisk(kDisk, {.size_bytes = kDiskBytes}).ok());
  EXPECT_EQ((*volume)->RunCycle(), absl::OkStatus());
  {
    const auto disk = (*volume)->OpenDisk(kDisk);
    EXPECT_TRUE(disk.ok());
    for (int n = 1; n <= last; ++n) {
      EXPECT_EQ(WriteText(**volume, *disk, 0, Generation(n)), absl::OkStatus());
      EXPECT_EQ((*volume)->RunCycle(), absl::OkStatus());
    }
  }
  EXPECT_EQ((*volume)->Close(), absl::OkStatus());
  return memory.Snapshot();
}

std::string Seen(BlockDevice& device, int header_back) {
  VolumeOptions options = ManualOptions();
  options.header_back = header_back;
  const auto volume = OpenOn(device, options);
  if (!volume.ok()) return volume.status().ToString();
  EXPECT_EQ((*volume)->GetStatus().read_only, header_back != 0);
  const auto disk = (*volume)->OpenDisk(kDisk);
  if (!disk.ok()) return disk.status().ToString();
  std::string text(Generation(1).size(), ' ');
  const absl::Status read = (*volume)->Read(
      *disk, 0, ByteSpan(reinterpret_cast<std::byte*>(text.data()), text.size()), {});
  return read.ok() ? text : read.ToString();
}

TEST(OlderHeader, IsReadThroughAndNeverWritten) {
  MemoryDevice memory(FourGenerations(6));
  IoLog log;
  RecordingDevice recorder(memory, log, 0);
  for (int back = 1; back < kVolumeHeaderSlots; ++back) {
    EXPECT_EQ(Seen(recorder, back), Generation(6 - back));
  }
  EXPECT_EQ(log.size(), 0u);
  EXPECT_THAT(Seen(recorder, 4), HasSubstr("NOT_FOUND"));
}

TEST(Rewind, GoesBackAndGoesOnFromThere) {
  const SparseImage image = FourGenerations(6);
  for (int back = 1; back < kVolumeHeaderSlots; ++back) {
    MemoryDevice memory(image);
    IoLog log;
    RecordingDevice recorder(memory, log, 0);
    BlockDevice* devices[] = {&recorder};
    const auto dry = Rewind(devices, back, /*write=*/false);
    ASSERT_TRUE(dry.ok()) << dry.status();
    EXPECT_EQ(dry->erased.size(), static_cast<size_t>(back));
    EXPECT_EQ(log.size(), 0u);
    ASSERT_TRUE(Rewind(devices, back, /*write=*/true).ok());
    // Cut anywhere, some header between both is the newest.
    const std::vector<IoEvent> events = log.events();
    CrashStates states({image}, events);
    SeededRandom rng(5);
    for (size_t cut = 0; cut <= events.size(); ++cut) {
      states.AdvanceTo(cut);
      MemoryDevice after(states.Draw(rng).front());
      std::vector<std::string> legal;
      for (int n = 0; n <= back; ++n) legal.push_back(Generation(6 - n));
      EXPECT_THAT(legal, testing::Contains(Seen(after, 0))) << "cut " << cut;
    }
    EXPECT_EQ(Seen(memory, 0), Generation(6 - back));
    {
      const auto volume = OpenOn(memory, ManualOptions());
      ASSERT_TRUE(volume.ok()) << volume.status();
      const auto disk = (*volume)->OpenDisk(kDisk);
      for (int n = 0; n < 5; ++n) {
        ASSERT_EQ(WriteText(**volume, *disk, 0, Generation(n)), absl::OkStatus());
        ASSERT_EQ((*volume)->RunCycle(), absl::OkStatus());
      }
    }
    ExpectClean(memory);
    EXPECT_EQ(Seen(memory, 0), Generation(4));
  }
}

TEST(Rewind, IsRefusedWhereThereIsNothingToGoBackTo) {
  MemoryDevice memory(*FormattedImage(1 * kGiB));
  BlockDevice* devices[] = {&memory};
  EXPECT_EQ(Rewind(devices, 1, true).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Rewind(devices, 0, true).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Rewind, IsRefusedWhenTheOlderHeaderIsNotSound) {
  const SparseImage image = FourGenerations(6);
  MemoryDevice memory(image);
  auto header = std::make_unique<VolumeData>();
  BlockDevice* devices[] = {&memory};
  const auto dry = Rewind(devices, 2, false);
  ASSERT_TRUE(dry.ok()) << dry.status();
  SparseImage damaged = image;
  damaged.Read(HeaderSlotOffset(dry->slot).v, std::as_writable_bytes(std::span(header.get(), 1)));
  damaged.Write(header->sroot_blockset[0].data_off.offset().v,
                std::vector<std::byte>(8, std::byte{0x5a}));
  MemoryDevice broken(damaged);
  BlockDevice* const both[] = {&broken};
  const auto refused = Rewind(both, 2, true);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Seen(broken, 0), Generation(6));
}

}  // namespace
}  // namespace h2bd
