#include <gtest/gtest.h>

#include "core/media/placement.h"
#include "tests/support/fault_device.h"
#include "tests/volhdr/headers.h"

namespace h2bd {
namespace {

constexpr uint64_t kSize = 64 * kMiB;

void Put(BlockDevice& device, uint64_t off, absl::string_view bytes) {
  const uint64_t begin = RoundDown(off, device.sector_bytes());
  AlignedBuffer raw(RoundUp(off + bytes.size(), device.sector_bytes()) - begin);
  H2_ASSERT(device.Read(ByteOff(begin), raw.span()).ok());
  std::memcpy(raw.data() + (off - begin), bytes.data(), bytes.size());
  WriteBytes(device, begin, raw.span());
}

TEST(DetectSignature, KnowsWhatMayLieOnADisk) {
  struct Piece {
    uint64_t off;
    absl::string_view bytes;
  };
  struct Case {
    const char* name;
    std::vector<Piece> pieces;
  };
  const absl::string_view partition(
      "\x80\x01\x01\x00\x83\xfe\xff\xff\x00\x08\x00\x00\x00\x00\x10\x00", 16);
  const absl::string_view boot("\x55\xaa", 2);
  const absl::string_view raid("\xfc\x4e\x2b\xa9", 4);
  const absl::string_view ext("\x53\xef", 2);
  for (const Case& c : {
           Case{"", {}},
           Case{"", {{0, "some text"}}},
           Case{"", {{510, boot}}},
           Case{"HAMMER2", {{0, {"\x11\x20\x17\x05\x32\x4d\x41\x48", 8}}}},
           Case{"HAMMER2 in big-endian byte order", {{0, {"\x48\x41\x4d\x32\x05\x17\x20\x11", 8}}}},
           Case{"ext2", {{1024 + 0x38, ext}}},
           Case{"ext3", {{1024 + 0x38, ext}, {1024 + 0x5c, {"\x04", 1}}}},
           Case{"ext4", {{1024 + 0x38, ext}, {1024 + 0x60, {"\x42", 1}}}},
           Case{"ext4", {{1024 + 0x38, ext}, {1024 + 0x65, {"\x04", 1}}}},
           Case{"xfs", {{0, "XFSB"}}},
           Case{"btrfs", {{0x10040, "_BHRfS_M"}}},
           Case{"LVM2", {{512, "LABELONE"}}},
           Case{"LUKS", {{0, {"LUKS\xba\xbe", 6}}}},
           Case{"swap", {{4086, "SWAPSPACE2"}}},
           Case{"swap", {{65526, "SWAPSPACE2"}}},
           Case{"GPT", {{510, boot}, {446, partition}, {512, "EFI PART"}}},
           Case{"GPT", {{4096, "EFI PART"}}},
           Case{"GPT", {{kSize - 512, "EFI PART"}}},
           Case{"DOS partition table", {{510, boot}, {446, partition}}},
           Case{"ntfs", {{510, boot}, {3, "NTFS    "}}},
           Case{"exfat", {{510, boot}, {3, "EXFAT   "}}},
           Case{"fat", {{510, boot}, {82, "FAT32   "}}},
           Case{"zfs", {{128 * kKiB + 5 * kKiB, {"\x0c\xb1\xba\x00\x00\x00\x00\x00", 8}}}},
           Case{"zfs", {{128 * kKiB, {"\x00\x00\x00\x00\x00\xba\xb1\x0c", 8}}}},
           Case{"ISO 9660", {{0x8001, "CD001"}}},
           Case{"squashfs", {{0, "hsqs"}}},
           Case{"Linux RAID", {{4096, raid}}},
           Case{"Linux RAID", {{0, raid}}},
           Case{"Linux RAID", {{kSize - 8 * kKiB, raid}}},
           Case{"Linux RAID", {{kSize - 64 * kKiB, raid}}},
           Case{"bcachefs",
                {{4120, {"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef", 16}}}},
           Case{"f2fs", {{1024, {"\x10\x20\xf5\xf2", 4}}}},
           Case{"a qcow2 image", {{0, {"QFI\xfb", 4}}}},
       }) {
    for (const uint32_t sector_bytes : {512u, 4096u}) {
      MemoryDevice device(kSize, sector_bytes);
      for (const Piece& piece : c.pieces) Put(device, piece.off, piece.bytes);
      const absl::StatusOr<std::string> found = DetectSignature(device);
      ASSERT_TRUE(found.ok());
      EXPECT_EQ(*found, c.name);
    }
  }
}

TEST(DetectSignature, FindsLaterHeadersWhenTheFirstIsGone) {
  const auto device = MakeDevice(4 * kGiB, *MakeHeader(4 * kGiB, Tid(16)));
  WriteBytes(*device, 0, AlignedBuffer::Zeroed(65536).span());
  EXPECT_EQ(*DetectSignature(*device), "HAMMER2");
}

TEST(DetectSignature, SmallDevicesAreLookedAtAsFarAsTheyGo) {
  for (const uint64_t size : {uint64_t{512}, 4 * kKiB, 100 * kKiB}) {
    MemoryDevice device(size);
    EXPECT_EQ(*DetectSignature(device), "");
    Put(device, 0, "XFSB");
    EXPECT_EQ(*DetectSignature(device), "xfs");
  }
}

TEST(DetectSignature, AnUnreadableDeviceIsAnError) {
  MemoryDevice memory(kSize);
  FaultPoint point({.fail_at = 1, .reads = true});
  FaultDevice device(memory, point);
  EXPECT_EQ(DetectSignature(device).status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace h2bd
