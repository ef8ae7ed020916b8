// Whatever operators do with the space of a volume, in whatever order, and wherever power is lost
// meanwhile: every byte of every disk and snapshot is what clients know, and the checker finds
// nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/numbers.h"
#include "tests/space/space_world.h"
#include "tests/support/fixtures.h"

namespace h2bd {
namespace {

constexpr int kSteps = 40;
constexpr uint64_t kInspected = 100;  // by the second checker: a process of its own each time

// $H2BD_SPACE_RUNS, for long runs.
uint64_t Runs() {
  const char* given = std::getenv("H2BD_SPACE_RUNS");
  uint64_t runs = 0;
  return given != nullptr && absl::SimpleAtoi(given, &runs) ? runs : 200;
}

TEST(Space, EveryStoryIsThatOfTheModel) {
  const uint64_t seed = TestSeed();
  const uint64_t inspect_each = std::max<uint64_t>(1, Runs() / kInspected);
  SpaceTally total;
  for (uint64_t run = 0; run < Runs(); ++run) {
    SpaceWorld world(seed + run, run % inspect_each == 0);
    const absl::Status told = world.Run(kSteps);
    ASSERT_TRUE(told.ok()) << told << "\nreplay with: H2BD_SEED=" << seed + run
                           << " H2BD_SPACE_RUNS=1";
    total.steps += world.tally().steps;
    total.cycles += world.tally().cycles;
    total.crashes += world.tally().crashes;
    total.refused += world.tally().refused;
  }
  std::fprintf(stderr,
               "%d steps, %d cycles, %d crashes, %d changes refused as the volume was full\n",
               total.steps, total.cycles, total.crashes, total.refused);
  EXPECT_GT(total.crashes, 0);
}

}  // namespace
}  // namespace h2bd
