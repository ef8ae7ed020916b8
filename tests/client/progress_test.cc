#include "client/cli/progress.h"

#include <gtest/gtest.h>

#include <string>

#include "core/base/types.h"

namespace h2bd::cli {
namespace {

class FakeClock final : public Clock {
 public:
  absl::Time WallNow() const override { return absl::UnixEpoch() + now; }
  absl::Duration MonotonicNow() const override { return now; }
  absl::Duration now;
};

ProgressState Half() {
  return {.what = "import vm1",
          .done_bytes = 512 * kMiB,
          .total_bytes = kGiB,
          .elapsed = absl::Seconds(2)};
}

TEST(RenderProgress, SaysWhatIsDoneAndWhatIsLeft) {
  EXPECT_EQ(
      RenderProgress(Half(), 200),
      "import vm1   50%  [==========>         ]  512.0 MiB of 1.0 GiB  256.0 MiB/s  2.0 s left");
}

TEST(RenderProgress, DropsWhatDoesNotFit) {
  EXPECT_EQ(RenderProgress(Half(), 70),
            "import vm1   50%  512.0 MiB of 1.0 GiB  256.0 MiB/s  2.0 s left");
  EXPECT_EQ(RenderProgress(Half(), 30), "import vm1   50%");
  for (size_t columns = 0; columns < 120; ++columns) {
    EXPECT_LE(RenderProgress(Half(), columns).size(), columns);
  }
}

TEST(RenderProgress, WithoutATotalThereIsNoBar) {
  ProgressState state = Half();
  state.total_bytes.reset();
  EXPECT_EQ(RenderProgress(state, 200), "import vm1  512.0 MiB  256.0 MiB/s");
}

TEST(RenderProgress, TheEndsAreNotSpecial) {
  ProgressState state = Half();
  state.done_bytes = kGiB - 1;
  EXPECT_NE(RenderProgress(state, 200).find(" 99%"), std::string::npos) << "100% means all";
  state.done_bytes = kGiB;
  EXPECT_NE(RenderProgress(state, 200).find("100%"), std::string::npos);
  state = {.what = "x", .done_bytes = 0, .total_bytes = 0};
  EXPECT_NE(RenderProgress(state, 200).find("100%"), std::string::npos);
}

TEST(ProgressMeter, DrawsSeldomAndWipesItsLine) {
  FakeClock clock;
  std::string drawn;
  {
    ProgressMeter meter(
        "copy", 100, [&drawn](absl::string_view text) { drawn += std::string(text); }, 80, clock);
    for (int i = 0; i < 50; ++i) {
      clock.now += absl::Milliseconds(10);
      meter.Advance(static_cast<uint64_t>(i));
    }
    EXPECT_EQ(std::count(drawn.begin(), drawn.end(), '\r'), 5);
  }
  EXPECT_TRUE(drawn.ends_with("\r\x1b[K"));
}

TEST(ProgressMeter, NobodyWatching) {
  ProgressMeter meter("copy", std::nullopt, nullptr, 0);
  meter.Advance(5);
  EXPECT_GE(meter.elapsed(), absl::ZeroDuration());
}

}  // namespace
}  // namespace h2bd::cli
