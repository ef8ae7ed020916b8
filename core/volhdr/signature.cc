#include "core/volhdr/signature.h"

#include <algorithm>
#include <optional>

#include "absl/strings/string_view.h"
#include "core/media/placement.h"
#include "core/volhdr/volume_set.h"

namespace h2bd {
namespace {

constexpr uint64_t kHeadBytes = 256 * kKiB;

struct Magic {
  uint64_t off;
  absl::string_view bytes;
  const char* name;
};

// Looked at in this order, so that what wraps something else comes before it: a partition table is
// last, because boot sectors of file systems look like one.
constexpr Magic kMagics[] = {
    {0, {"\x11\x20\x17\x05\x32\x4d\x41\x48", 8}, kSignatureHammer2},
    {0, {"\x48\x41\x4d\x32\x05\x17\x20\x11", 8}, "HAMMER2 in big-endian byte order"},
    {0, {"\x31\x30\x52\xc5\x4d\x4d\x41\xc8", 8}, "HAMMER"},
    {0, {"LUKS\xba\xbe", 6}, "LUKS"},
    {512, "LABELONE", "LVM2"},
    {0, "LABELONE", "LVM2"},
    {1024, "LABELONE", "LVM2"},
    {1536, "LABELONE", "LVM2"},
    {4096, {"\xfc\x4e\x2b\xa9", 4}, "Linux RAID"},
    {0, {"\xfc\x4e\x2b\xa9", 4}, "Linux RAID"},
    {0, "XFSB", "xfs"},
    {0x10040, "_BHRfS_M", "btrfs"},
    {4096 + 24,
     {"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef", 16},
     "bcachefs"},
    {4096 + 24, {"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81", 16}, "bcache"},
    {1024, {"\x10\x20\xf5\xf2", 4}, "f2fs"},
    {1024, {"\xe2\xe1\xf5\xe0", 4}, "erofs"},
    {0, "hsqs", "squashfs"},
    {0, "sqsh", "squashfs"},
    {0, {"\x45\x3d\xcd\x28", 4}, "cramfs"},
    {0x8001, "CD001", "ISO 9660"},
    {0x8001, "BEA01", "UDF"},
    {0x8000, "JFS1", "jfs"},
    {65536 + 52, "ReIsEr", "reiserfs"},
    {8192 + 52, "ReIsEr", "reiserfs"},
    {65536, {"\x01\x16\x19\x70", 4}, "gfs2"},
    {4096, "OCFSV2", "ocfs2"},
    {8192, "OCFSV2", "ocfs2"},
    {8192 + 1372, {"\x54\x19\x01\x00", 4}, "UFS"},
    {8192 + 1372, {"\x00\x01\x19\x54", 4}, "UFS"},
    {65536 + 1372, {"\x19\x01\x54\x19", 4}, "UFS2"},
    {65536 + 1372, {"\x19\x54\x01\x19", 4}, "UFS2"},
    {32, "NXSB", "APFS"},
    {1024, {"H+\x00\x04", 4}, "HFS+"},
    {1024, {"HX\x00\x05", 4}, "HFS+"},
    {4096 - 10, "SWAPSPACE2", "swap"},
    {4096 - 10, "SWAP-SPACE", "swap"},
    {8192 - 10, "SWAPSPACE2", "swap"},
    {16384 - 10, "SWAPSPACE2", "swap"},
    {65536 - 10, "SWAPSPACE2", "swap"},
    {0, "bluestore block device", "Ceph BlueStore"},
    {0, "dmvdo001", "VDO"},
    {3, "-FVE-FS-", "BitLocker"},
    {3, "NTFS    ", "ntfs"},
    {3, "EXFAT   ", "exfat"},
    {54, "FAT12   ", "fat"},
    {54, "FAT16   ", "fat"},
    {82, "FAT32   ", "fat"},
    {0, {"QFI\xfb", 4}, "a qcow2 image"},
    {0, "KDMV", "a VMDK image"},
    {0, "vhdxfile", "a VHDX image"},
    {512, "EFI PART", "GPT"},
    {4096, "EFI PART", "GPT"},
};

bool Has(ConstByteSpan bytes, uint64_t off, absl::string_view magic) {
  return off + magic.size() <= bytes.size() && AsText(bytes.subspan(off, magic.size())) == magic;
}

// The three generations of ext share a magic; the features tell them apart.
std::optional<std::string> Ext(ConstByteSpan head) {
  constexpr uint64_t kSuperblock = 1024;
  if (!Has(head, kSuperblock + 0x38, {"\x53\xef", 2})) return std::nullopt;
  const auto compat = LoadAs<uint32_t>(head, kSuperblock + 0x5c);
  const auto incompat = LoadAs<uint32_t>(head, kSuperblock + 0x60);
  const auto ro_compat = LoadAs<uint32_t>(head, kSuperblock + 0x64);
  constexpr uint32_t kHasJournal = 0x4;
  constexpr uint32_t kExt3Incompat = 0x2 | 0x4 | 0x10;  // file types, recovery, meta_bg
  constexpr uint32_t kExt3RoCompat = 0x1 | 0x2 | 0x4;   // sparse super, large file, btree
  if ((incompat & ~kExt3Incompat) != 0 || (ro_compat & ~kExt3RoCompat) != 0) return "ext4";
  return (compat & kHasJournal) != 0 ? "ext3" : "ext2";
}

// A ring of uberblocks in the second half of each 256 KiB label.
bool IsZfs(ConstByteSpan head) {
  for (uint64_t off = 128 * kKiB; off + kKiB <= head.size(); off += kKiB) {
    if (Has(head, off, {"\x0c\xb1\xba\x00\x00\x00\x00\x00", 8})) return true;
    if (Has(head, off, {"\x00\x00\x00\x00\x00\xba\xb1\x0c", 8})) return true;
  }
  return false;
}

bool IsDosTable(ConstByteSpan head) {
  if (!Has(head, 510, {"\x55\xaa", 2})) return false;
  bool any = false;
  for (uint64_t entry = 446; entry < 510; entry += 16) {
    const auto status = LoadAs<uint8_t>(head, entry);
    if (status != 0x00 && status != 0x80) return false;
    any |= LoadAs<uint8_t>(head, entry + 4) != 0 && LoadAs<uint32_t>(head, entry + 12) != 0;
  }
  return any;
}

std::string Classify(ConstByteSpan head) {
  for (const Magic& magic : kMagics) {
    if (Has(head, magic.off, magic.bytes)) return magic.name;
  }
  if (const std::optional<std::string> ext = Ext(head)) return *ext;
  if (IsZfs(head)) return "zfs";
  if (IsDosTable(head)) return "DOS partition table";
  return "";
}

// Metadata that its owners keep at the end: RAID 0.90 and 1.0, and the copy of a GPT.
std::string ClassifyTail(BlockDevice& device, absl::Status* status) {
  const uint64_t size = device.size_bytes();
  constexpr uint64_t kTailBytes = 128 * kKiB;
  if (size < kTailBytes) return "";
  AlignedBuffer tail(kTailBytes);
  const uint64_t begin = RoundDown(size - kTailBytes, kBufferAlignment);
  const uint64_t bytes = std::min(kTailBytes, RoundDown(size - begin, device.sector_bytes()));
  *status = device.Read(ByteOff(begin), tail.span().first(bytes));
  if (!status->ok()) return "";
  const ConstByteSpan read = tail.span().first(bytes);
  const auto has = [&](uint64_t at, absl::string_view magic) {
    return at >= begin && Has(read, at - begin, magic);
  };
  constexpr absl::string_view kRaid("\xfc\x4e\x2b\xa9", 4);
  if (has(RoundDown(size, 64 * kKiB) - 64 * kKiB, kRaid)) return "Linux RAID";
  if (has(RoundDown(size - 8 * kKiB, 4 * kKiB), kRaid)) return "Linux RAID";
  if (has(size - 512, "EFI PART") || has(size - 4096, "EFI PART")) return "GPT";
  return "";
}

// A device whose slot 0 is gone may still hold later headers.
absl::StatusOr<bool> HasLaterHeader(BlockDevice& device) {
  for (const HeaderProbe& probe : ProbeHeaders(device)) {
    if (!probe.present) continue;
    if (probe.header == nullptr) return probe.status;  // there may be one
    if (probe.header->magic == kVolumeMagic) return true;
  }
  return false;
}

}  // namespace

absl::StatusOr<std::string> DetectHeadSignature(BlockDevice& device) {
  AlignedBuffer head = AlignedBuffer::Zeroed(kHeadBytes);
  const uint64_t bytes =
      std::min(kHeadBytes, RoundDown(device.size_bytes(), device.sector_bytes()));
  if (bytes > 0) H2_RETURN_IF_ERROR(device.Read(ByteOff(0), head.span().first(bytes)));
  return Classify(head.span());
}

absl::StatusOr<std::string> DetectSignature(BlockDevice& device) {
  H2_ASSIGN_OR_RETURN(std::string found, DetectHeadSignature(device));
  if (!found.empty()) return found;
  H2_ASSIGN_OR_RETURN(const bool has_later_header, HasLaterHeader(device));
  if (has_later_header) return kSignatureHammer2;
  absl::Status status;
  found = ClassifyTail(device, &status);
  H2_RETURN_IF_ERROR(status);
  return found;
}

}  // namespace h2bd
