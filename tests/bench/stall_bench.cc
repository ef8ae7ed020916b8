// What a running cycle costs those who read and write meanwhile: 4 KiB writes and 4 KiB reads of
// cached blocks, idle, beside threads that only burn the processors, and while a cycle stores
// `--dirty` bytes. All three in each round, on one volume.
//
//   stall_bench --device PATH|memory --rounds N [--rate N] [--dirty N] [--content random|text]
//
// The load is paced, 2000 a second each by default: a closed loop on a machine with as many flusher
// threads as processors measures nothing but how the kernel shares them. --rate 0 is that loop.
// DESTROYS what PATH holds. Prints one JSON object.
#include <cstdio>
#include <memory>
#include <random>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "core/base/clock.h"
#include "tests/bench/bench_device.h"
#include "tests/bench/cpu_meter.h"
#include "tests/bench/load.h"
#include "tests/bench/payload.h"
#include "tests/bench/scratch_volume.h"

namespace h2bd::bench {
namespace {

constexpr uint64_t kDirtyLimit = 3 * kGiB;      // the bulk and the load fit below it
constexpr uint64_t kLoadDiskBytes = 64 * kMiB;  // of each kind; both stay in the cache
constexpr size_t kIoBytes = 4 * kKiB;
constexpr absl::Duration kWarmUp = absl::Milliseconds(300);

struct Arguments {
  std::string device, content = "random";
  uint64_t dirty_bytes = kGiB;
  double rate = 2000;
  int rounds = 1, window_ms = 1500;
};

// A part of the run, and who used the processors in it.
struct Part {
  Window window;
  std::string cpu;
};

Part Watch(absl::Duration length) {
  const CpuMeter meter;
  const absl::Duration from = SystemClock().MonotonicNow();
  absl::SleepFor(length);
  return {{from, SystemClock().MonotonicNow()}, meter.Json()};
}

struct Cycle {
  Part part;
  SyncResult result;
};

absl::StatusOr<Cycle> RunCycle(Volume& volume) {
  Cycle cycle;
  absl::Status status;
  absl::Notification done;
  const CpuMeter meter;
  cycle.part.window.from = SystemClock().MonotonicNow();
  volume.SyncAsync(nullptr, [&](absl::StatusOr<SyncResult> result) {
    cycle.part.window.to = SystemClock().MonotonicNow();
    status = result.status();
    if (result.ok()) cycle.result = *result;
    done.Notify();
  });
  done.WaitForNotification();
  cycle.part.cpu = meter.Json();
  H2_RETURN_IF_ERROR(status);
  return cycle;
}

// The second time each block has proved its use and is kept before what a cycle puts in.
absl::Status ReadTwice(Volume& volume, const DiskRef& disk) {
  AlignedBuffer into(kMiB);
  for (uint64_t at = 0; at < 2 * kLoadDiskBytes; at += kMiB) {
    H2_RETURN_IF_ERROR(volume.Read(disk, at % kLoadDiskBytes, into.span(), {}));
  }
  return absl::OkStatus();
}

class Scene {
 public:
  Scene(Volume& volume, const Arguments& arguments, Content content)
      : volume_(volume), arguments_(arguments), payload_(content, 1) {}

  absl::Status Prepare() {
    H2_ASSIGN_OR_RETURN(bulk_, MakeDisk(volume_, "bulk", arguments_.dirty_bytes));
    H2_ASSIGN_OR_RETURN(written_, MakeDisk(volume_, "written", kLoadDiskBytes));
    H2_ASSIGN_OR_RETURN(read_, MakeDisk(volume_, "read", kLoadDiskBytes));
    for (const DiskRef& disk : {written_, read_}) {
      H2_RETURN_IF_ERROR(FillDisk(volume_, disk, payload_));
    }
    H2_RETURN_IF_ERROR(volume_.Sync(nullptr, {}).status());
    for (const DiskRef& disk : {written_, read_}) H2_RETURN_IF_ERROR(ReadTwice(volume_, disk));
    return FillDisk(volume_, bulk_, payload_);
  }

  absl::StatusOr<std::string> Measure() {
    PayloadSource pieces(Content::kRandom, 2);
    std::mt19937_64 write_rng(3), read_rng(4);
    AlignedBuffer into(kIoBytes);
    Load writes(arguments_.rate, [&] {
      const uint64_t at = write_rng() % (kLoadDiskBytes / kIoBytes) * kIoBytes;
      return volume_.Write(written_, at, pieces.Next(kIoBytes), {}).status();
    });
    Load reads(arguments_.rate, [&] {
      const uint64_t at = read_rng() % (kLoadDiskBytes / kIoBytes) * kIoBytes;
      return volume_.Read(read_, at, into.span(), {});
    });
    absl::SleepFor(kWarmUp);
    const Part idle = Watch(absl::Milliseconds(arguments_.window_ms));
    Part burn;
    {
      const Burners burners;
      absl::SleepFor(kWarmUp);
      burn = Watch(absl::Milliseconds(arguments_.window_ms));
    }
    absl::SleepFor(kWarmUp);
    H2_ASSIGN_OR_RETURN(const Cycle cycle, RunCycle(volume_));
    H2_ASSIGN_OR_RETURN(const std::vector<LoadSample> written, writes.Stop());
    H2_ASSIGN_OR_RETURN(const std::vector<LoadSample> read, reads.Stop());
    const auto json = [&](const Part& part) {
      return absl::StrCat("{\"write\": ", LoadJson(written, part.window),
                          ", \"read\": ", LoadJson(read, part.window), ", \"cpu\": ", part.cpu,
                          "}");
    };
    return absl::StrCat("{\"idle\": ", json(idle), ", \"burn\": ", json(burn),
                        ", \"cycle\": ", json(cycle.part),
                        ", \"phases_ms\": ", PhasesJson(cycle.result), "}");
  }

 private:
  Volume& volume_;
  const Arguments& arguments_;
  PayloadSource payload_;
  DiskRef bulk_, written_, read_;
};

absl::StatusOr<std::string> Round(const DeviceSource& source, const Arguments& arguments) {
  H2_ASSIGN_OR_RETURN(const Content content, ParseContent(arguments.content));
  H2_ASSIGN_OR_RETURN(std::unique_ptr<BlockDevice> device, source.Open());
  H2_ASSIGN_OR_RETURN(const std::unique_ptr<Volume> volume,
                      MakeScratchVolume(std::move(device), OnlyOnSync(kDirtyLimit)));
  std::string json;
  {
    Scene scene(*volume, arguments, content);
    H2_RETURN_IF_ERROR(scene.Prepare());
    H2_ASSIGN_OR_RETURN(json, scene.Measure());
  }
  H2_RETURN_IF_ERROR(volume->Close());
  return json;
}

absl::Status Run(const Arguments& arguments) {
  H2_ASSIGN_OR_RETURN(const DeviceSource source, DeviceSource::Make(arguments.device));
  std::string rounds;
  for (int i = 0; i < arguments.rounds; ++i) {
    H2_ASSIGN_OR_RETURN(const std::string round, Round(source, arguments));
    absl::StrAppend(&rounds, i > 0 ? ",\n" : "", round);
  }
  std::printf("{\"rounds\": [%s]}\n", rounds.c_str());
  return absl::OkStatus();
}

}  // namespace
}  // namespace h2bd::bench

int main(int argc, char** argv) {
  h2bd::bench::TuneAllocator();
  h2bd::bench::Arguments arguments;
  CLI::App app("Latency of small reads and writes while a cycle runs");
  app.add_option("--device", arguments.device, "file, block device or \"memory\"; is overwritten")
      ->required();
  app.add_option("--content", arguments.content, "of what the cycle stores: random or text");
  app.add_option("--dirty", arguments.dirty_bytes, "bytes that the cycle stores, whole MiB");
  app.add_option("--rate", arguments.rate, "reads, and writes, per second; 0: closed loops");
  app.add_option("--window", arguments.window_ms, "milliseconds without a cycle");
  app.add_option("--rounds", arguments.rounds, "rounds")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  if (const absl::Status status = h2bd::bench::Run(arguments); !status.ok()) {
    h2bd::bench::Die("stall_bench", status);
  }
  return 0;
}
