#include "client/api/types.h"

#include <gtest/gtest.h>

#include <string>

#include "client/api/resource_name.h"

namespace h2bd::client {
namespace {

TEST(DiskName, ParsesWhatPeopleWrite) {
  struct Case {
    const char* text;
    DiskName name;
    const char* resource;
  };
  for (const Case& c :
       {Case{"vm1", {.pfs = "", .path = "vm1"}, "pfs/-/disks/vm1"},
        Case{"DATA/vm1", {.pfs = "DATA", .path = "vm1"}, "pfs/DATA/disks/vm1"},
        Case{"-/vm1", {.pfs = "-", .path = "vm1"}, "pfs/-/disks/vm1"},
        Case{"DATA/dir/file", {.pfs = "DATA", .path = "dir/file"}, "pfs/DATA/disks/dir/file"},
        Case{"a b", {.pfs = "", .path = "a b"}, "pfs/-/disks/a b"},
        Case{"50%", {.pfs = "", .path = "50%"}, "pfs/-/disks/50%25"},
        Case{"x\ny\x7f", {.pfs = "", .path = "x\ny\x7f"}, "pfs/-/disks/x%0Ay%7F"},
        Case{"\xc3\xa9\xff", {.pfs = "", .path = "\xc3\xa9\xff"}, "pfs/-/disks/\xc3\xa9%FF"}}) {
    const absl::StatusOr<DiskName> name = DiskName::Parse(c.text);
    ASSERT_TRUE(name.ok()) << name.status();
    EXPECT_EQ(*name, c.name);
    EXPECT_EQ(name->ToResource(), c.resource);
  }
}

TEST(DiskName, RefusesWhatCannotBe) {
  const std::string longest(255, 'n');
  EXPECT_TRUE(DiskName::Parse(longest).ok());
  for (const std::string& text :
       {std::string(), std::string("/"), std::string("/vm1"), std::string("DATA/"),
        std::string("DATA//x"), std::string("."), std::string(".."), std::string("DATA/.."),
        std::string("DATA/./x"), longest + "n", std::string("a\0b", 3)}) {
    EXPECT_TRUE(absl::IsInvalidArgument(DiskName::Parse(text).status())) << text;
  }
}

TEST(DiskName, EveryByteSurvivesTheWayThroughAResourceName) {
  std::string all;
  for (int c = 1; c < 256; ++c) {
    if (c != '/') all += static_cast<char>(c);
  }
  for (const std::string& path : {all.substr(0, 120), all.substr(120), std::string("\xed\xa0\x80"),
                                  std::string("\xf0\x9f\x98\x80"), std::string("\xc0\xaf"),
                                  std::string("\xe2\x82"), std::string("dir/file")}) {
    const DiskName name{.pfs = "P%", .path = path};
    const absl::StatusOr<DiskName> back = DiskName::FromResource(name.ToResource());
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, name);
  }
}

TEST(ResourceName, OnlyBytesOutsideOfUtf8AreEscaped) {
  for (const char* valid : {"\xc2\x80", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_EQ(EscapeSegment(valid), valid);
  }
  EXPECT_EQ(EscapeSegment("\xc1\xbf"), "%C1%BF");                // over-long
  EXPECT_EQ(EscapeSegment("\xed\xa0\x80"), "%ED%A0%80");         // surrogate
  EXPECT_EQ(EscapeSegment("\xf4\x90\x80\x80"), "%F4%90%80%80");  // above U+10FFFF
}

TEST(ResourceName, RefusesBadAnswers) {
  for (const char* text :
       {"", "pfs/", "pfs/DATA", "pfs/DATA/disks/", "pfs//disks/x", "DATA/vm1", "pfs/DATA/disks/%",
        "pfs/DATA/disks/%4", "pfs/DATA/disks/%g0", "pfs/DATA/disks/%0a"}) {
    EXPECT_FALSE(DiskName::FromResource(text).ok()) << text;
  }
}

}  // namespace
}  // namespace h2bd::client
