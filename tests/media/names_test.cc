#include <gtest/gtest.h>

#include "core/media/inode_data.h"
#include "core/media/volume_data.h"

namespace h2bd {
namespace {

TEST(Names, Enums) {
  EXPECT_EQ(Name(BrefType::kInode), "inode");
  EXPECT_EQ(Name(BrefType::kFreemapLeaf), "freemap_leaf");
  EXPECT_EQ(Name(static_cast<BrefType>(99)), "unknown");
  EXPECT_EQ(Name(CheckMethod::kXxhash64), "xxhash64");
  EXPECT_EQ(Name(static_cast<CheckMethod>(15)), "unknown");
  EXPECT_EQ(Name(CompMethod::kAutozero), "autozero");
  EXPECT_EQ(Name(static_cast<CompMethod>(4)), "unknown");
  EXPECT_EQ(Name(ObjectType::kSoftlink), "softlink");
  EXPECT_EQ(Name(static_cast<ObjectType>(8)), "unknown");
}

TEST(Names, UuidInMediaOrder) {
  EXPECT_EQ(FormatUuid(kFstypeUuid), "5cbb9ad1-862d-11dc-a94d-01301bb8a9f5");
  EXPECT_EQ(FormatUuid(Uuid{}), "00000000-0000-0000-0000-000000000000");
}

TEST(Names, InodeFilename) {
  EXPECT_EQ(InodeFilename(Inum(0x404)), "0x0000000000000404");
  EXPECT_EQ(InodeFilename(Inum(0xfedcba9876543210)), "0xfedcba9876543210");
}

TEST(Names, SetNameLeavesNothingOfTheOldName) {
  InodeData inode;
  inode.set_name(std::string(255, 'x'));
  EXPECT_EQ(inode.name(), std::string(255, 'x'));
  EXPECT_EQ(inode.filename[255], '\0');
  inode.set_name("ab");
  EXPECT_EQ(inode.meta.name_len, 2);
  EXPECT_EQ(inode.name(), "ab");
  for (size_t i = 2; i < inode.filename.size(); ++i) EXPECT_EQ(inode.filename[i], '\0');
}

TEST(Names, NameOfAnInodeNeverLeavesItsField) {
  InodeData inode;
  inode.meta.name_len = 60000;
  EXPECT_EQ(inode.name().size(), 255u);
}

TEST(MediaTime, GoldenVector) {  // spec 01 section 7.11
  const absl::Time time = FromMediaTime(0x00060dedc0582f35);
  EXPECT_EQ(absl::FormatTime("%Y-%m-%d %H:%M:%E6S", time, absl::UTCTimeZone()),
            "2024-01-02 03:04:05.678901");
  EXPECT_EQ(ToMediaTime(time), 0x00060dedc0582f35u);
}

TEST(MediaTime, EndsOfTheRange) {
  EXPECT_EQ(FromMediaTime(0), absl::UnixEpoch());
  EXPECT_EQ(ToMediaTime(absl::UnixEpoch() - absl::Seconds(1)), 0u);
  EXPECT_EQ(ToMediaTime(absl::InfinitePast()), 0u);
  EXPECT_EQ(FromMediaTime(UINT64_MAX), absl::InfiniteFuture());
}

TEST(OwnerId, IsTheLastWordOfTheUuid) {  // spec 01 section 7.5: uid 1234
  Uuid owner{};
  owner[12] = std::byte{0xd2};
  owner[13] = std::byte{0x04};
  EXPECT_EQ(OwnerId(owner), 1234u);
}

}  // namespace
}  // namespace h2bd
