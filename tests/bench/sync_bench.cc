// How long one small durable write takes: through the engine, and with nothing but system calls on
// the same file.
//
//   sync_bench --mode MODE --device PATH --count N
//     engine   Volume::Write of 4 KiB at random, then Volume::Sync
//     barriers write of 4 KiB, then fdatasync twice: the barriers of a cycle without its work
//     commit   write of 64 KiB, fdatasync, write of 64 KiB (a volume header), fdatasync
//
// DESTROYS what PATH holds. Prints one JSON object.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "core/base/clock.h"
#include "tests/bench/direct_file.h"
#include "tests/bench/payload.h"
#include "tests/bench/scratch_volume.h"

namespace h2bd::bench {
namespace {

constexpr uint64_t kSpanBytes = 256 * kMiB;  // where the random writes go
constexpr size_t kSmallBytes = 4 * kKiB, kHeaderBytes = 64 * kKiB;

struct Arguments {
  std::string mode, device;
  int count = 500;
};

uint64_t RandomOffset(std::mt19937_64& rng, uint64_t unit) {
  return rng() % (kSpanBytes / unit) * unit;
}

absl::StatusOr<std::vector<absl::Duration>> Measure(int count,
                                                    const std::function<absl::Status()>& step) {
  std::vector<absl::Duration> samples;
  for (int i = 0; i < count; ++i) {
    const absl::Duration begin = SystemClock().MonotonicNow();
    H2_RETURN_IF_ERROR(step());
    samples.push_back(SystemClock().MonotonicNow() - begin);
  }
  return samples;
}

std::string MedianPhases(const std::vector<SyncResult>& results) {
  std::string json = "{";
  for (int phase = 0; phase < kFlushPhases; ++phase) {
    std::vector<absl::Duration> times;
    for (const SyncResult& result : results) times.push_back(result.phases[phase]);
    std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
    absl::StrAppend(&json, phase > 0 ? ", " : "", "\"", Name(static_cast<FlushPhase>(phase)),
                    "\": ", absl::ToDoubleMicroseconds(times[times.size() / 2]));
  }
  return json + "}";
}

absl::Status Engine(const Arguments& arguments) {
  H2_ASSIGN_OR_RETURN(const std::unique_ptr<Volume> volume, MakeScratchVolume(arguments.device));
  H2_ASSIGN_OR_RETURN(const DiskRef disk, MakeDisk(*volume, "bench", kSpanBytes));
  std::mt19937_64 rng(1);
  PayloadSource payload(Content::kRandom, rng());
  for (uint64_t at = 0; at < kSpanBytes; at += kMiB) {
    H2_RETURN_IF_ERROR(volume->Write(disk, at, payload.Next(kMiB), {}).status());
  }
  H2_RETURN_IF_ERROR(volume->Sync(nullptr, {}).status());

  std::vector<SyncResult> results;
  const auto step = [&]() -> absl::Status {
    const uint64_t at = RandomOffset(rng, kSmallBytes);
    H2_RETURN_IF_ERROR(volume->Write(disk, at, payload.Next(kSmallBytes), {}).status());
    H2_ASSIGN_OR_RETURN(SyncResult result, volume->Sync(disk, {}));
    results.push_back(std::move(result));
    return absl::OkStatus();
  };
  H2_ASSIGN_OR_RETURN(const std::vector<absl::Duration> samples, Measure(arguments.count, step));
  std::printf(R"({"latency": %s, "phases_p50_us": %s})"
              "\n",
              LatencyJson(samples).c_str(), MedianPhases(results).c_str());
  return volume->Close();
}

absl::Status SystemCalls(const Arguments& arguments, bool commit) {
  H2_ASSIGN_OR_RETURN(DirectFile file, DirectFile::Open(arguments.device));
  std::mt19937_64 rng(1);
  const AlignedBuffer buffer =
      AlignedBuffer::CopyOf(PayloadSource(Content::kRandom, rng()).Next(kHeaderBytes));
  const auto barriers = [&]() -> absl::Status {
    H2_RETURN_IF_ERROR(file.Write(RandomOffset(rng, kSmallBytes), buffer, kSmallBytes));
    H2_RETURN_IF_ERROR(file.Barrier());
    return file.Barrier();
  };
  const auto two_writes = [&]() -> absl::Status {
    H2_RETURN_IF_ERROR(file.Write(RandomOffset(rng, kHeaderBytes), buffer, kHeaderBytes));
    H2_RETURN_IF_ERROR(file.Barrier());
    H2_RETURN_IF_ERROR(file.Write(RandomOffset(rng, kHeaderBytes), buffer, kHeaderBytes));
    return file.Barrier();
  };
  H2_ASSIGN_OR_RETURN(
      const std::vector<absl::Duration> samples,
      Measure(arguments.count, commit ? std::function<absl::Status()>(two_writes) : barriers));
  std::printf("{\"latency\": %s}\n", LatencyJson(samples).c_str());
  return absl::OkStatus();
}

absl::Status Run(const Arguments& arguments) {
  if (arguments.mode == "engine") return Engine(arguments);
  return SystemCalls(arguments, arguments.mode == "commit");
}

}  // namespace
}  // namespace h2bd::bench

int main(int argc, char** argv) {
  h2bd::bench::TuneAllocator();
  h2bd::bench::Arguments arguments;
  CLI::App app("The latency of one small durable write");
  app.add_option("--mode", arguments.mode, "engine, barriers or commit")
      ->required()
      ->check(CLI::IsMember({"engine", "barriers", "commit"}));
  app.add_option("--device", arguments.device, "file or block device; is overwritten")->required();
  app.add_option("--count", arguments.count, "durable writes")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  if (const absl::Status status = h2bd::bench::Run(arguments); !status.ok()) {
    h2bd::bench::Die("sync_bench", status);
  }
  return 0;
}
