// A whole engine under one seed, and power losses at every point of what it did.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace h2bd {

struct SimOptions {
  uint64_t seed = 0;
  // Worlds are run, with the seeds `seed`, `seed` + 1, …, until so many crashes were survived.
  uint64_t crashes = 1000;
  bool trace = false;  // tells the story to stderr
};

struct SimReport {
  uint64_t worlds = 0, servers = 0, operations = 0, device_events = 0;
  uint64_t crashes = 0;  // power losses and killed servers
  uint64_t checked = 0;  // of which the checker looked at the volume as well
  uint64_t digest = 0;   // of every operation, its outcome, every device event and every verdict
  absl::Status failure;  // the first thing that must not be
  uint64_t failed_seed = 0;  // alone shows it again
};

// Until a failure.
SimReport Simulate(const SimOptions& options);

}  // namespace h2bd
