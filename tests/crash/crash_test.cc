// Power is lost at every point of a workload; each state that the media model allows must open with
// everything that a Sync covered and no part of a transaction (design P2, P3, P8; spec 04 section
// 11).
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "tests/crash/crash_world.h"
#include "tests/support/fixtures.h"

namespace h2bd {
namespace {

// $H2BD_CRASH_ROUNDS multiplies the work, for long runs.
int Rounds() {
  const char* given = std::getenv("H2BD_CRASH_ROUNDS");
  return given == nullptr ? 1 : std::max(1, std::atoi(given));
}

void EveryStateKeepsItsPromises(uint64_t volume_bytes, int least_states, bool threads = false) {
  const uint64_t seed = TestSeed();
  int states = 0;
  for (int round = 0; round < Rounds() || states < least_states; ++round) {
    Workload workload;
    workload.volume_bytes = volume_bytes;
    workload.seed = seed + static_cast<uint64_t>(round);
    workload.threads = threads;
    SCOPED_TRACE(testing::Message() << "H2BD_SEED=" << seed << " round " << round);
    const absl::StatusOr<CrashRecord> record = RunWorkload(workload);
    ASSERT_TRUE(record.ok()) << record.status();
    const CrashTally tally = JudgeAllCuts(*record, workload.seed, /*draws=*/2);
    states += tally.states;
    ASSERT_TRUE(tally.first_failure.ok()) << tally.first_failure;
  }
  std::fprintf(stderr, "%d crash states judged\n", states);
  EXPECT_GE(states, least_states);
}

TEST(Crash, OneHeaderSlot) { EveryStateKeepsItsPromises(1 * kGiB, 700); }
TEST(Crash, TwoHeaderSlots) { EveryStateKeepsItsPromises(3 * kGiB, 700); }
TEST(Crash, FourHeaderSlots) { EveryStateKeepsItsPromises(8 * kGiB, 700); }
TEST(Crash, FourHeaderSlotsWithThreads) {
  EveryStateKeepsItsPromises(8 * kGiB, 700, /*threads=*/true);
}

// The test of this test: with one rule taken out it must fail.
void AMutantIsCaught(Mutant mutant, uint64_t volume_bytes) {
  const uint64_t seed = TestSeed();
  for (uint64_t round = 0; round < 20; ++round) {
    Workload workload;
    workload.volume_bytes = volume_bytes;
    workload.seed = seed + round;
    workload.mutant = mutant;
    const absl::StatusOr<CrashRecord> record = RunWorkload(workload);
    ASSERT_TRUE(record.ok()) << record.status();
    const CrashTally tally = JudgeAllCuts(*record, workload.seed, /*draws=*/2);
    if (!tally.first_failure.ok()) {
      std::fprintf(stderr, "caught: %s\n", tally.first_failure.ToString().c_str());
      return;
    }
  }
  FAIL() << "no crash state shows that the rule is gone";
}

TEST(CrashMutant, WithoutTheBarrierBeforeTheHeader) {
  AMutantIsCaught(Mutant::kNoBarrierBeforeHeader, 8 * kGiB);
}
TEST(CrashMutant, WithoutTheBarrierAfterTheHeader) {
  AMutantIsCaught(Mutant::kNoBarrierAfterHeader, 8 * kGiB);
}
TEST(CrashMutant, WithTheHeaderOverTheConfirmedOne) {
  AMutantIsCaught(Mutant::kHeaderOverConfirmed, 8 * kGiB);
}

}  // namespace
}  // namespace h2bd
