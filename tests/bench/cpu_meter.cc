#include "tests/bench/cpu_meter.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "core/base/clock.h"

namespace h2bd::bench {
namespace {

// The line "cpu" of /proc/stat: user nice system idle iowait irq softirq steal.
absl::Duration MachineBusy() {
  std::ifstream stat("/proc/stat");
  std::string label;
  uint64_t user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0;
  stat >> label >> user >> nice >> system >> idle >> iowait >> irq >> softirq >> steal;
  const uint64_t ticks = user + nice + system + irq + softirq + steal;
  return absl::Seconds(1) * static_cast<double>(ticks) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace

std::map<std::string, CpuMeter::ThreadTimes> CpuMeter::ReadThreads() {
  std::map<std::string, ThreadTimes> threads;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::getline(std::ifstream(entry.path() / "comm"), name);
    if (!absl::StartsWith(name, "h2bd")) continue;
    int64_t ran = 0, queued = 0;
    std::ifstream(entry.path() / "schedstat") >> ran >> queued;
    threads[name].ran += absl::Nanoseconds(ran);
    threads[name].queued += absl::Nanoseconds(queued);
  }
  return threads;
}

CpuMeter::Reading CpuMeter::Read() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return {SystemClock().MonotonicNow(), absl::DurationFromTimeval(usage.ru_utime),
          absl::DurationFromTimeval(usage.ru_stime), MachineBusy(), ReadThreads()};
}

CpuMeter::CpuMeter() : begin_(Read()) {}

std::string CpuMeter::Json() const {
  const Reading now = Read();
  const absl::Duration user = now.user - begin_.user, system = now.system - begin_.system;
  const absl::Duration foreign = now.machine - begin_.machine - user - system;
  return absl::StrFormat(R"({"user_ms": %.1f, "system_ms": %.1f, "foreign_cores": %.2f})",
                         absl::ToDoubleMilliseconds(user), absl::ToDoubleMilliseconds(system),
                         std::max(0.0, absl::FDivDuration(foreign, now.at - begin_.at)));
}

std::string CpuMeter::ThreadsJson() const {
  const Reading now = Read();
  std::string json = "{";
  for (const auto& [name, times] : now.threads) {
    ThreadTimes before;
    if (const auto it = begin_.threads.find(name); it != begin_.threads.end()) before = it->second;
    const absl::Duration ran = times.ran - before.ran, queued = times.queued - before.queued;
    absl::StrAppendFormat(&json, R"(%s"%s": {"ran_ms": %.1f, "queued_ms": %.1f, "slept_ms": %.1f})",
                          json.size() > 1 ? ", " : "", name, absl::ToDoubleMilliseconds(ran),
                          absl::ToDoubleMilliseconds(queued),
                          absl::ToDoubleMilliseconds(now.at - begin_.at - ran - queued));
  }
  return json + "}";
}

}  // namespace h2bd::bench
