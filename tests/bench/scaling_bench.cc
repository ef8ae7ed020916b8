// How much faster a cycle is with more flusher threads: one Sync after `--dirty` bytes of 64 KiB
// writes, for each number of threads in turn, on a fresh volume each time.
//
//   scaling_bench --device PATH|memory|sink --threads 1,2 --rounds N [--content random|text]
//
// DESTROYS what PATH holds. Prints one JSON object.
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/clock.h"
#include "tests/bench/bench_device.h"
#include "tests/bench/cpu_meter.h"
#include "tests/bench/payload.h"
#include "tests/bench/scratch_volume.h"

namespace h2bd::bench {
namespace {

constexpr uint64_t kDirtyLimit = 3 * kGiB, kIoBytes = 64 * kKiB;

struct Arguments {
  std::string device = "memory", content = "random";
  std::vector<size_t> threads = {1, 2};
  uint64_t dirty_bytes = kGiB;
  int rounds = 3;
};

absl::StatusOr<std::string> OneCycle(const DeviceSource& source, PayloadSource& payload,
                                     size_t threads, uint64_t dirty_bytes) {
  VolumeOptions options = OnlyOnSync(kDirtyLimit);
  options.flusher_threads = threads;
  H2_ASSIGN_OR_RETURN(std::unique_ptr<BlockDevice> device, source.Open());
  H2_ASSIGN_OR_RETURN(const std::unique_ptr<Volume> volume,
                      MakeScratchVolume(std::move(device), options));
  std::string json;
  {
    H2_ASSIGN_OR_RETURN(const DiskRef disk, MakeDisk(*volume, "bench", dirty_bytes));
    H2_RETURN_IF_ERROR(FillDisk(*volume, disk, payload, kIoBytes));
    const CpuMeter meter;
    const absl::Duration begin = SystemClock().MonotonicNow();
    H2_ASSIGN_OR_RETURN(const SyncResult result, volume->Sync(nullptr, {}));
    const absl::Duration took = SystemClock().MonotonicNow() - begin;
    const std::string cpu = meter.Json(), threads_json = meter.ThreadsJson();
    json = absl::StrFormat(
        R"({"mb_per_s": %.1f, "wall_ms": %.1f, "cpu": %s, "threads": %s, "phases_ms": %s})",
        static_cast<double>(dirty_bytes) / 1e6 / absl::ToDoubleSeconds(took),
        absl::ToDoubleMilliseconds(took), cpu, threads_json, PhasesJson(result));
  }
  H2_RETURN_IF_ERROR(volume->Close());
  return json;
}

absl::Status Run(const Arguments& arguments) {
  H2_ASSIGN_OR_RETURN(const Content content, ParseContent(arguments.content));
  H2_ASSIGN_OR_RETURN(const DeviceSource source, DeviceSource::Make(arguments.device));
  PayloadSource payload(content, 1);
  // Every page of the device and of the allocator is touched before anything is measured.
  H2_RETURN_IF_ERROR(
      OneCycle(source, payload, arguments.threads.front(), arguments.dirty_bytes).status());
  std::string rounds;
  for (int i = 0; i < arguments.rounds; ++i) {
    absl::StrAppend(&rounds, i > 0 ? ",\n{" : "{");
    for (size_t n = 0; n < arguments.threads.size(); ++n) {
      H2_ASSIGN_OR_RETURN(const std::string cycle,
                          OneCycle(source, payload, arguments.threads[n], arguments.dirty_bytes));
      absl::StrAppend(&rounds, n > 0 ? ", " : "", "\"", arguments.threads[n], "\": ", cycle);
    }
    absl::StrAppend(&rounds, "}");
  }
  std::printf("{\"rounds\": [%s]}\n", rounds.c_str());
  return absl::OkStatus();
}

}  // namespace
}  // namespace h2bd::bench

int main(int argc, char** argv) {
  h2bd::bench::TuneAllocator();
  h2bd::bench::Arguments arguments;
  CLI::App app("How a cycle gains from flusher threads");
  app.add_option("--device", arguments.device, "file, \"memory\" or \"sink\"; is overwritten");
  app.add_option("--content", arguments.content, "random or text");
  app.add_option("--threads", arguments.threads, "numbers of flusher threads")->delimiter(',');
  app.add_option("--dirty", arguments.dirty_bytes, "bytes that a cycle stores, whole MiB");
  app.add_option("--rounds", arguments.rounds, "rounds")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  if (const absl::Status status = h2bd::bench::Run(arguments); !status.ok()) {
    h2bd::bench::Die("scaling_bench", status);
  }
  return 0;
}
