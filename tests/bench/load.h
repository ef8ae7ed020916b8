// A thread that does one thing over and over while something else is measured.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace h2bd::bench {

// One operation, in monotonic time.
struct LoadSample {
  absl::Duration due, began, ended;
};

// A part of the run.
struct Window {
  absl::Duration from, to;
};

// Calls `step` per_second times a second until Stop: open loop, so that a stall delays what follows
// and is counted in full. per_second 0: one after the other, as fast as they go.
class Load {
 public:
  Load(double per_second, std::function<absl::Status()> step);
  ~Load();
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;
  // All samples, or the first error.
  absl::StatusOr<std::vector<LoadSample>> Stop();

 private:
  void Run();
  const double per_second_;
  const std::function<absl::Status()> step_;
  std::atomic<bool> stopping_{false};
  absl::Status status_;
  std::vector<LoadSample> samples_;
  std::thread thread_;  // last: it uses the rest
};

// {"response": …, "service": …} of the operations that were due in the window: from when they were
// due, which counts the time that the thread waited for a processor, and from their call.
std::string LoadJson(const std::vector<LoadSample>& samples, const Window& window);

// Keeps as many threads busy as a flusher has by default, with copies and sums over memory that no
// cache holds: what any neighbour on the same processors costs.
class Burners {
 public:
  Burners();
  ~Burners();

 private:
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
};

}  // namespace h2bd::bench
