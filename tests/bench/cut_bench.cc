// For how long a cut holds up new operations: with `--dirty` bytes in memory, spread over `--disks`
// disks, and with one block of each disk; in turn, on one volume, while another disk is written to
// 2000 times a second.
//
//   cut_bench --device PATH|memory --disks N --cycles N [--dirty N]
//
// What is dirty is blocks of zeros, which a cycle drops: the cut sees the same memory, and the
// cycle is short. DESTROYS what PATH holds. Prints one JSON object.
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "core/base/clock.h"
#include "core/base/metrics.h"
#include "tests/bench/bench_device.h"
#include "tests/bench/load.h"
#include "tests/bench/payload.h"
#include "tests/bench/scratch_volume.h"

namespace h2bd::bench {
namespace {

constexpr uint64_t kDirtyLimit = 3 * kGiB, kBlockBytes = 64 * kKiB, kLoadDiskBytes = 16 * kMiB;
constexpr size_t kIoBytes = 4 * kKiB;
constexpr double kWritesPerSecond = 2000;

struct Arguments {
  std::string device;
  uint64_t dirty_bytes = kGiB;
  int disks = 1, cycles = 20;
};

// The histogram of the volume; its sum grows by the exact time of each cut.
class CutHolds final : public MetricVisitor {
 public:
  void OnCounter(absl::string_view, absl::string_view, const MetricLabels&, double) override {}
  void OnGauge(absl::string_view, absl::string_view, const MetricLabels&, double) override {}
  void OnHistogram(absl::string_view name, absl::string_view, const MetricLabels&,
                   const Histogram& histogram) override {
    if (name == "h2bd_cut_hold_seconds") snapshot_ = histogram.Read();
  }
  const Histogram::Snapshot& snapshot() const { return snapshot_; }

 private:
  Histogram::Snapshot snapshot_;
};

Histogram::Snapshot ReadHolds(const Volume& volume) {
  CutHolds holds;
  volume.Describe(holds);
  return holds.snapshot();
}

struct Series {
  std::vector<absl::Duration> hold, phase;
  std::string Json() const {
    return absl::StrCat("{\"hold\": ", LatencyJson(hold), ", \"cut_phase\": ", LatencyJson(phase),
                        "}");
  }
};

absl::Status DirtyAll(Volume& volume, const std::vector<DiskRef>& disks, uint64_t bytes_each) {
  static const AlignedBuffer kZeros = AlignedBuffer::Zeroed(kBlockBytes);
  for (const DiskRef& disk : disks) {
    for (uint64_t at = 0; at < bytes_each; at += kBlockBytes) {
      H2_RETURN_IF_ERROR(volume.Write(disk, at, kZeros.span(), {}).status());
    }
  }
  return absl::OkStatus();
}

absl::Status OneCut(Volume& volume, Series& series) {
  const Histogram::Snapshot before = ReadHolds(volume);
  H2_ASSIGN_OR_RETURN(const SyncResult result, volume.Sync(nullptr, {}));
  const Histogram::Snapshot after = ReadHolds(volume);
  if (after.count != before.count + 1) {
    return absl::InternalError(absl::StrCat(after.count - before.count, " cuts instead of one"));
  }
  series.hold.push_back(absl::Seconds(after.sum - before.sum));
  series.phase.push_back(result.phases[static_cast<size_t>(FlushPhase::kCut)]);
  return absl::OkStatus();
}

absl::Status Measure(Volume& volume, const Arguments& arguments) {
  const uint64_t each =
      arguments.dirty_bytes / static_cast<uint64_t>(arguments.disks) / kBlockBytes * kBlockBytes;
  std::vector<DiskRef> disks;
  for (int i = 0; i < arguments.disks; ++i) {
    H2_ASSIGN_OR_RETURN(DiskRef disk, MakeDisk(volume, absl::StrCat("d", i), each));
    disks.push_back(std::move(disk));
  }
  H2_ASSIGN_OR_RETURN(const DiskRef loaded, MakeDisk(volume, "load", kLoadDiskBytes));
  H2_RETURN_IF_ERROR(volume.Sync(nullptr, {}).status());

  Series full, little;
  PayloadSource payload(Content::kText, 1);
  std::mt19937_64 rng(2);
  Load writes(kWritesPerSecond, [&] {
    const uint64_t at = rng() % (kLoadDiskBytes / kIoBytes) * kIoBytes;
    return volume.Write(loaded, at, payload.Next(kIoBytes), {}).status();
  });
  for (int i = 0; i < arguments.cycles; ++i) {
    H2_RETURN_IF_ERROR(DirtyAll(volume, disks, each));
    H2_RETURN_IF_ERROR(OneCut(volume, full));
    H2_RETURN_IF_ERROR(DirtyAll(volume, disks, kBlockBytes));
    H2_RETURN_IF_ERROR(OneCut(volume, little));
  }
  H2_RETURN_IF_ERROR(writes.Stop().status());
  std::printf("{\"full\": %s, \"little\": %s}\n", full.Json().c_str(), little.Json().c_str());
  return absl::OkStatus();
}

absl::Status Run(const Arguments& arguments) {
  H2_ASSIGN_OR_RETURN(const DeviceSource source, DeviceSource::Make(arguments.device));
  H2_ASSIGN_OR_RETURN(std::unique_ptr<BlockDevice> device, source.Open());
  H2_ASSIGN_OR_RETURN(const std::unique_ptr<Volume> volume,
                      MakeScratchVolume(std::move(device), OnlyOnSync(kDirtyLimit)));
  H2_RETURN_IF_ERROR(Measure(*volume, arguments));
  return volume->Close();
}

}  // namespace
}  // namespace h2bd::bench

int main(int argc, char** argv) {
  h2bd::bench::TuneAllocator();
  h2bd::bench::Arguments arguments;
  CLI::App app("How long a cut holds up new operations");
  app.add_option("--device", arguments.device, "file, block device or \"memory\"; is overwritten")
      ->required();
  app.add_option("--disks", arguments.disks, "disks that are dirty")->check(CLI::PositiveNumber);
  app.add_option("--cycles", arguments.cycles, "cuts of each kind")->check(CLI::PositiveNumber);
  app.add_option("--dirty", arguments.dirty_bytes, "bytes that are dirty");
  CLI11_PARSE(app, argc, argv);
  if (const absl::Status status = h2bd::bench::Run(arguments); !status.ok()) {
    h2bd::bench::Die("cut_bench", status);
  }
  return 0;
}
