// File systems on which fdatasync may not reach a disk of this machine (spec 04 F-226).
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <map>
#include <string>

#include "core/device/open_file.h"

namespace {
uint32_t reported_magic = 0;
}  // namespace

// In the place of the kernel's answer, since no network file system can be mounted in a test.
extern "C" int fstatfs(int /*fd*/, struct statfs* info) noexcept {
  *info = {};
  info->f_type = reported_magic;
  return 0;
}

namespace h2bd {
namespace {

// As statfs(2), the kernel and the makers of those that are not in it have them.
const std::map<uint32_t, std::string> kRefused = {
    {NFS_SUPER_MAGIC, "NFS"},   {SMB_SUPER_MAGIC, "SMB"}, {0xff534d42, "SMB"},
    {0xfe534d42, "SMB"},        {V9FS_MAGIC, "9P"},       {0x00c36400, "Ceph"},
    {AFS_SUPER_MAGIC, "AFS"},   {0x6b414653, "AFS"},      {CODA_SUPER_MAGIC, "Coda"},
    {NCP_SUPER_MAGIC, "NCP"},   {0x0bd00bd0, "Lustre"},   {0x65735546, "FUSE"},
    {0x19830326, "BeeGFS"},     {0x47504653, "GPFS"},     {0xaad7aaea, "PanFS"},
    {0x786f4256, "VirtualBox"}, {0xbacbacbc, "VMware"},
};

const std::map<std::string, uint32_t> kLegal = {
    {"ext4", EXT4_SUPER_MAGIC},
    {"xfs", 0x58465342},
    {"btrfs", BTRFS_SUPER_MAGIC},
    {"f2fs", F2FS_SUPER_MAGIC},
    {"zfs", 0x2fc12fc1},
    {"jfs", 0x3153464a},
    {"tmpfs", TMPFS_MAGIC},
    {"overlayfs", 0x794c7630},
    {"bcachefs", 0xca451a4e},
    {"vfat", MSDOS_SUPER_MAGIC},
    {"ntfs", 0x5346544e},
    {"none", 0},
    {"ext4, one off", EXT4_SUPER_MAGIC + 1},
};

TEST(FileSystem, ThoseOfAnotherMachineAreRefusedByName) {
  for (const auto& [magic, name] : kRefused) {
    SCOPED_TRACE(name);
    const absl::Status refused = CheckFileSystem("/images/disk", magic, {});
    EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_NE(refused.message().find("/images/disk lies on " + name), absl::string_view::npos)
        << refused;
    EXPECT_EQ(CheckFileSystem("/images/disk", magic, {.allow_network_file_system = true}),
              absl::OkStatus());
  }
}

TEST(FileSystem, LocalOnesAreLegal) {
  for (const auto& [name, magic] : kLegal) {
    EXPECT_EQ(CheckFileSystem("/images/disk", magic, {}), absl::OkStatus()) << name;
  }
}

TEST(FileSystem, AnImageFileOnARefusedOneIsNotOpened) {
  const std::string path = testing::TempDir() + "h2bd-file-system";
  ASSERT_EQ(CreateImageFile(path, kMiB, ImageSpace::kSparse), absl::OkStatus());
  reported_magic = NFS_SUPER_MAGIC;
  EXPECT_EQ(OpenForExclusiveUse(path, {}, NullLogger()).status(),
            CheckFileSystem(path, NFS_SUPER_MAGIC, {}));
  EXPECT_TRUE(
      OpenForExclusiveUse(path, {.allow_network_file_system = true}, NullLogger()).status().ok());
  reported_magic = EXT4_SUPER_MAGIC;
  EXPECT_TRUE(OpenForExclusiveUse(path, {}, NullLogger()).status().ok());
  EXPECT_EQ(unlink(path.c_str()), 0);
}

}  // namespace
}  // namespace h2bd
