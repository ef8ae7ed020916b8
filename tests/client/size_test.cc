#include "client/cli/size.h"

#include <gtest/gtest.h>

#include "core/base/types.h"

namespace h2bd::cli {
namespace {

TEST(ParseSize, Legal) {
  struct Case {
    const char* text;
    uint64_t bytes;
  };
  for (const Case& c :
       {Case{"0", 0}, Case{"4096", 4096}, Case{"1b", 1}, Case{"1K", kKiB}, Case{"1k", kKiB},
        Case{"3M", 3 * kMiB}, Case{"10G", 10 * kGiB}, Case{"10GiB", 10 * kGiB},
        Case{"10gib", 10 * kGiB}, Case{"2T", 2 * kTiB}, Case{"1P", 1024 * kTiB},
        Case{"15E", uint64_t{15} << 60}, Case{"0x1000", 4096}, Case{"0xfK", 15 * kKiB},
        Case{"18446744073709551615", ~uint64_t{0}}}) {
    const absl::StatusOr<uint64_t> size = ParseSize(c.text);
    ASSERT_TRUE(size.ok()) << size.status();
    EXPECT_EQ(*size, c.bytes) << c.text;
  }
}

TEST(ParseSize, Illegal) {
  for (const char* text : {"", "K", "-1", "+1", " 1", "1 ", "1.5G", "10GB", "10MB", "1X", "1KK",
                           "1Ki", "0x", "18446744073709551616", "16E", "99999999999T", "1G2"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseSize(text).status())) << text;
  }
}

TEST(Format, RatesAndTimes) {
  EXPECT_EQ(FormatRate(100 * kMiB, absl::Seconds(2)), "50.0 MiB/s");
  EXPECT_EQ(FormatRate(1, absl::ZeroDuration()), "-");
  EXPECT_EQ(FormatElapsed(absl::Milliseconds(840)), "0.8 s");
  EXPECT_EQ(FormatElapsed(absl::Seconds(59.99)), "1:00");
  EXPECT_EQ(FormatElapsed(absl::Seconds(65)), "1:05");
  EXPECT_EQ(FormatElapsed(absl::Seconds(7209)), "2:00:09");
}

}  // namespace
}  // namespace h2bd::cli
