// The test of the simulation: the engine that is linked here has one rule taken out
// (mutants/*.mutant), and it must be caught.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "absl/strings/numbers.h"
#include "tests/sim/simulation.h"

namespace h2bd {
namespace {

TEST(Mutant, IsCaught) {
  SimOptions options{.seed = 1, .crashes = 20'000};  // as many as the standard run has
  if (const char* seed = std::getenv("H2BD_SEED"); seed != nullptr) {
    ASSERT_TRUE(absl::SimpleAtoi(seed, &options.seed));
  }
  options.trace = std::getenv("H2BD_SIM_TRACE") != nullptr;
  const SimReport report = Simulate(options);
  ASSERT_FALSE(report.failure.ok())
      << "not in " << report.crashes << " crashes from seed " << options.seed << " on";
  std::fprintf(stderr, "caught by H2BD_SEED=%llu, crash %llu: %s\n",
               static_cast<unsigned long long>(report.failed_seed),
               static_cast<unsigned long long>(report.crashes), report.failure.ToString().c_str());
}

}  // namespace
}  // namespace h2bd
