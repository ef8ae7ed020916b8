#include "client/cli/batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/types.h"

namespace h2bd::cli {
namespace {

TEST(ParseChange, DiskOffsetFile) {
  const absl::StatusOr<BatchChange> change = ParseChange("DATA/vm1:64K:dir/a:b.bin");
  ASSERT_TRUE(change.ok()) << change.status();
  EXPECT_EQ(*change, (BatchChange{.disk = {.pfs = "DATA", .path = "vm1"},
                                  .offset = 64 * kKiB,
                                  .file = "dir/a:b.bin"}));
  for (const char* text : {"", "vm1", "vm1:0", "vm1:0:", "vm1:x:f", ":0:f", "vm1:-1:f"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseChange(text).status())) << text;
  }
}

TEST(ParseChange, DiskResizeSize) {
  const absl::StatusOr<BatchChange> change = ParseChange("DATA/vm1:resize:10G");
  ASSERT_TRUE(change.ok()) << change.status();
  EXPECT_EQ(*change, (BatchChange{.disk = {.pfs = "DATA", .path = "vm1"}, .new_size = 10 * kGiB}));
  for (const char* text : {"vm1:resize", "vm1:resize:", "vm1:resize:big", ":resize:1G"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseChange(text).status())) << text;
  }
}

TEST(ParseBatch, LinesQuotesAndComments) {
  const absl::StatusOr<std::vector<BatchChange>> batch = ParseBatch(
      "# a comment\n"
      "\n"
      "  write vm1 4096 boot.bin\n"
      "write \"my disk\" 0 \"a \\\"quoted\\\" file\"\n"
      "zero vm1 1G 64K\n"
      "resize vm1 2G\n");
  ASSERT_TRUE(batch.ok()) << batch.status();
  ASSERT_EQ(batch->size(), 4u);
  EXPECT_EQ((*batch)[3], (BatchChange{.disk = {.path = "vm1"}, .new_size = 2 * kGiB}));
  EXPECT_EQ((*batch)[0],
            (BatchChange{.disk = {.path = "vm1"}, .offset = 4096, .file = "boot.bin"}));
  EXPECT_EQ((*batch)[1], (BatchChange{.disk = {.path = "my disk"}, .file = "a \"quoted\" file"}));
  EXPECT_EQ((*batch)[2],
            (BatchChange{.disk = {.path = "vm1"}, .offset = kGiB, .zero_bytes = 64 * kKiB}));
}

TEST(ParseBatch, NamesTheBadLine) {
  for (const char* bad : {"write vm1 0", "write vm1 0 f x", "erase vm1 0 f", "zero vm1 0 f",
                          "resize vm1", "resize vm1 f", "resize vm1 1 2", "write a/ 0 f",
                          "write vm1 0 \"open", "write vm1 0 \"\""}) {
    const absl::Status status = ParseBatch(std::string("# one\n") + bad + "\n").status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << bad;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr("batch line 2")) << bad;
  }
}

}  // namespace
}  // namespace h2bd::cli
