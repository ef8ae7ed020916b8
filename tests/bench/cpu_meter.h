// Who used the processors meanwhile.
#pragma once

#include <map>
#include <string>

#include "absl/time/time.h"

namespace h2bd::bench {

// From its making on. `foreign_cores` says how many processors others had: a comparison of times is
// worth little when that is not near 0.
class CpuMeter {
 public:
  CpuMeter();
  // {"user_ms": …, "system_ms": …, "foreign_cores": …}
  std::string Json() const;
  // {"h2bd-fl0": {"ran_ms": …, "queued_ms": …, "slept_ms": …}, …}: what the threads of this process
  // whose names begin with "h2bd" did. What they were queued is the machine's fault, what they
  // slept is ours: there was nothing to do, or somebody else held it.
  std::string ThreadsJson() const;

 private:
  struct ThreadTimes {
    absl::Duration ran, queued;
  };
  struct Reading {
    absl::Duration at, user, system;
    absl::Duration machine;  // all processors, all processes; what a hypervisor took counts, too
    std::map<std::string, ThreadTimes> threads;
  };
  static std::map<std::string, ThreadTimes> ReadThreads();
  static Reading Read();
  const Reading begin_;
};

}  // namespace h2bd::bench
