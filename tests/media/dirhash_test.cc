#include "core/media/dirhash.h"

#include <gtest/gtest.h>

#include <string>

#include "core/media/constants.h"

namespace h2bd {
namespace {

TEST(Dirhash, GoldenVectors) {  // spec 01 section 13.4
  struct Case {
    std::string name;
    uint64_t hash;
  };
  const Case cases[] = {
      {"a", 0xc1d0433082e08000},
      {"b", 0xd280b0c462448000},
      {"x", 0xa93c5f93f6af8000},
      {".", 0x80000000bc108000},
      {"..", 0x80000000c1578000},
      {"....", 0x80000000ff1d8000},
      {"-", 0x800000005cb48000},
      {"hello", 0x9a71bb4c213d8000},
      {"txt", 0xbc76d50ae97c8000},
      {"hello.txt", 0xd6e8905688708000},
      {"dir", 0xc612269e608c8000},
      {"data1", 0xb1e3233692d58000},
      {"a.b", 0x9450f3f4307d8000},
      {"b.a", 0x9450f3f4fa848000},
      {"a-b", 0x9450f3f4ac038000},
      {"a_b~", 0x9450f3f49bd08000},
      {".hidden", 0xc207c7971b5c8000},
      {"trailing.", 0x8b22a3b88c728000},
      {"Makefile", 0xbcf8341588ed8000},
      {"README.md", 0xe0ef94bfd0c58000},
      {"UPPER", 0xc2712a56e8278000},
      {"upper", 0xb08e1d42adcc8000},
      {"foo-bar_baz~1.tar.gz", 0xa96f277f7f148000},
      {"\xc3\xa9t\xc3\xa9", 0xd8a1358aed2b8000},
      {"file0001", 0xc940a6ac6fec8000},
      {"snap1", 0x9ea9b595ab3c8000},
      {"LOCAL", 0xde25e1c43fe18000},
      {"DATA", 0xc78fff92381d8000},
      {"ROOT", 0xb0d7dddc6d0b8000},
      {"BOOT", 0xd9b36ce135528000},
      {std::string(64, 'n'), 0xae5935cb9b928000},
      {std::string(65, 'n'), 0xc569abde6eb78000},
      {std::string(255, 'n'), 0xca20182f520f8000},
      {"c.b.f.h.e.a.g.d", 0xe596b8c5c9588000},
      {"a.c.b.h.f.e.d.g", 0xe596b8c5c9588000},
      {"a.g.c.d.h.f.b.e", 0xe596b8c5c9588000},
      {"a.g.f.h.b.c.e.d", 0xe596b8c5c9588000},
      {"b.e.h.g.d.c.f.a", 0xe596b8c5c9588000},
  };
  for (const Case& c : cases) EXPECT_EQ(Dirhash(c.name).v, c.hash) << c.name;
}

TEST(Dirhash, IsVisibleAndLeavesRoomForCollisions) {
  for (int i = 0; i < 1000; ++i) {
    const uint64_t hash = Dirhash("disk" + std::to_string(i)).v;
    EXPECT_NE(hash & kDirhashVisible, 0u);
    EXPECT_EQ(hash & kDirhashLoMask, 0u);
  }
}

TEST(CheckName, AcceptsWhatADirectoryMayHold) {
  for (const std::string& name : {std::string("a"), std::string("..."), std::string(".x"),
                                  std::string(255, 'n'), std::string("\xff\x01 ~")}) {
    EXPECT_EQ(CheckName(name, "disk name"), absl::OkStatus()) << name;
  }
}

TEST(CheckName, RefusesAndSaysWhy) {
  struct Case {
    std::string name;
    const char* message;
  };
  for (const Case& c :
       {Case{"", "disk name is empty, legal: 1 to 255 bytes"},
        Case{std::string(256, 'n'), "disk name has 256 bytes, legal: 1 to 255 bytes"},
        Case{".", "disk name is \".\", legal: anything but \".\" and \"..\""},
        Case{"..", "disk name is \"..\", legal: anything but \".\" and \"..\""},
        Case{"a/b", "disk name has '/' at byte 1, legal: bytes other than '/' and NUL"},
        Case{std::string("ab\0", 3),
             "disk name has NUL at byte 2, legal: bytes other than '/' and NUL"}}) {
    const absl::Status status = CheckName(c.name, "disk name");
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    EXPECT_EQ(status.message(), c.message);
  }
}

}  // namespace
}  // namespace h2bd
