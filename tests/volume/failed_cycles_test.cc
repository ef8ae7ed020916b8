// A run in which cycles fail and are made up for ends in the same tree as one in which none does,
// and no failed cycle shows on media (spec 04 F-141 to F-144, I-07, I-26).
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/support/fixtures.h"
#include "tests/volume/device_stack.h"
#include "tests/volume/random_script.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

constexpr int kProcesses = 5, kCycles = 4, kSteps = 8;

// Nothing is kept of what was read, so that a cycle has something to read.
VolumeOptions ForgetfulOptions() {
  VolumeOptions options = ManualOptions();
  options.block_cache_bytes = 0;
  options.chain_cache_bytes = 0;
  return options;
}

struct Tally {
  int failed = 0;
};

// With `rng` cycles fail, at any read; what they leave to the next ones is different then.
SparseImage RunScript(const SparseImage& base, uint64_t seed, SeededRandom* rng, Tally* tally) {
  DeviceStack stack({base});
  std::optional<RandomScript> script;
  for (int process = 0; process < kProcesses; ++process) {
    const auto volume = stack.Open(ForgetfulOptions());
    EXPECT_TRUE(volume.ok()) << volume.status();
    if (!script.has_value()) script.emplace(**volume, seed);
    script->Use(**volume);
    for (int cycle = 0; cycle < kCycles; ++cycle) {
      for (int step = 0; step < kSteps; ++step) script->Step();
      // What comes after a failed cycle is joined with it.
      if (rng != nullptr && rng->Next64() % 3 != 0) {
        stack.point(0).Reset({.fail_at = 1 + rng->Next64() % 6,
                              .sticky = true,
                              .reads = true,
                              .writes = false,
                              .syncs = false});
        const bool failed = !(*volume)->Sync(nullptr, {}).ok();
        stack.point(0).Reset({.fail_at = 0});
        tally->failed += failed;
        if (failed && rng->Next64() % 2 == 0) continue;
      }
      const auto synced = (*volume)->Sync(nullptr, {});
      EXPECT_TRUE(synced.ok()) << synced.status();
    }
    const auto synced = (*volume)->Sync(nullptr, {});
    EXPECT_TRUE(synced.ok()) << synced.status();
    if (testing::Test::HasFailure()) break;
  }
  return stack.Snapshot().front();
}

TEST(FailedCycles, EndInTheTreeOfARunWithoutThem) {
  const uint64_t seed = TestSeed();
  const SparseImage base = *FormattedImage(8 * kGiB);
  Tally tally;
  for (uint64_t round = 0; round < 4; ++round) {
    SCOPED_TRACE(absl::StrCat("H2BD_SEED=", seed, " round ", round));
    SeededRandom rng(seed + 100 + round);
    const std::string expected = DigestOf(RunScript(base, seed + round, nullptr, nullptr));
    const SparseImage image = RunScript(base, seed + round, &rng, &tally);
    EXPECT_EQ(DigestOf(image), expected);
    MemoryDevice device(image);
    ExpectClean(device);
    if (HasFailure()) return;
  }
  EXPECT_GT(tally.failed, 5);
}

}  // namespace
}  // namespace h2bd
