// The engine as a whole, under one seed: clients, faults, crashes and restarts against a plain
// model. After each restart the volume holds the state after a prefix of the acknowledged
// operations that is not older than the last acknowledged Sync, transactions whole (design P2, P3,
// P4, P8; spec 04 section 11).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/numbers.h"
#include "tests/sim/simulation.h"
#include "tests/support/fixtures.h"

namespace h2bd {
namespace {

uint64_t FromEnv(const char* name, uint64_t standard) {
  const char* given = std::getenv(name);
  uint64_t value = 0;
  return given != nullptr && absl::SimpleAtoi(given, &value) ? value : standard;
}

TEST(Sim, EveryCrashLeavesAPrefixThatHoldsWhatWasSynced) {
  const SimReport report = Simulate({.seed = TestSeed(),
                                     .crashes = FromEnv("H2BD_SIM_CRASHES", 20'000),
                                     .trace = FromEnv("H2BD_SIM_TRACE", 0) != 0});
  std::fprintf(stderr,
               "%llu crashes (%llu with the checker), %llu servers in %llu worlds, %llu operations "
               "that lasted, %llu device events, digest %016llx\n",
               static_cast<unsigned long long>(report.crashes),
               static_cast<unsigned long long>(report.checked),
               static_cast<unsigned long long>(report.servers),
               static_cast<unsigned long long>(report.worlds),
               static_cast<unsigned long long>(report.operations),
               static_cast<unsigned long long>(report.device_events),
               static_cast<unsigned long long>(report.digest));
  EXPECT_TRUE(report.failure.ok())
      << report.failure << "\nreplay with: H2BD_SEED=" << report.failed_seed
      << " H2BD_SIM_CRASHES=1 H2BD_SIM_TRACE=1 tests/sim_test --gtest_filter=Sim.Every*";
}

// One seed is one story, down to the last device event.
TEST(Sim, TheSameSeedGivesTheSameDigest) {
  const SimOptions options{.seed = TestSeed(), .crashes = 1'000};
  const SimReport first = Simulate(options);
  const SimReport second = Simulate(options);
  EXPECT_EQ(first.digest, second.digest);
  EXPECT_EQ(first.device_events, second.device_events);
  SimOptions other = options;
  ++other.seed;
  EXPECT_NE(Simulate(other).digest, first.digest);
}

}  // namespace
}  // namespace h2bd
