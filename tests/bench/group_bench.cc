// Durable writes a second: one client, `--clients` at the same time, and the barriers of the
// device; in turn.
//
//   group_bench --device PATH --rounds N [--clients N]
//
// A client is a thread with a disk of its own that writes 4 KiB and calls Sync, over and over. The
// barriers are fdatasyncs of a file beside PATH, each after a 4 KiB write and each alone.
// DESTROYS what PATH holds. Prints one JSON object.
#include <atomic>
#include <cstdio>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "core/base/clock.h"
#include "tests/bench/bench_device.h"
#include "tests/bench/cpu_meter.h"
#include "tests/bench/direct_file.h"
#include "tests/bench/payload.h"
#include "tests/bench/scratch_volume.h"

namespace h2bd::bench {
namespace {

constexpr uint64_t kDiskBytes = 4 * kMiB;
constexpr size_t kIoBytes = 4 * kKiB;
constexpr int kAloneSyncs = 1500, kBarriers = 1500;

struct Arguments {
  std::string device;
  int clients = 64, rounds = 1;
  int syncs_each = 150;  // so many that a volume of 4 GiB has room for their blocks
};

// What the clients of one run have done.
class Tally {
 public:
  void Add(const SyncResult& result) {
    absl::MutexLock lock(&mu_);
    ++syncs_;
    headers_.insert(result.mirror_tid.v);
  }
  void Fail(const absl::Status& status) {
    absl::MutexLock lock(&mu_);
    status_.Update(status);
  }
  absl::Status status() const {
    absl::MutexLock lock(&mu_);
    return status_;
  }
  std::string Json(absl::Duration took, const std::string& cpu) const {
    absl::MutexLock lock(&mu_);
    const double seconds = absl::ToDoubleSeconds(took);
    return absl::StrFormat(
        R"({"per_s": %.1f, "cycles_per_s": %.1f, "syncs_per_cycle": %.2f, "cpu": %s})",
        static_cast<double>(syncs_) / seconds, static_cast<double>(headers_.size()) / seconds,
        static_cast<double>(syncs_) / static_cast<double>(headers_.size()), cpu);
  }

 private:
  mutable absl::Mutex mu_;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
  uint64_t syncs_ ABSL_GUARDED_BY(mu_) = 0;
  std::set<uint64_t> headers_ ABSL_GUARDED_BY(mu_);
};

void RunClient(Volume& volume, const DiskRef& disk, int syncs, uint64_t seed, Tally& tally) {
  std::mt19937_64 rng(seed);
  AlignedBuffer piece(kIoBytes);
  for (int i = 0; i < syncs; ++i) {
    for (size_t at = 0; at < kIoBytes; at += sizeof(uint64_t)) StoreAs(piece.span(), rng(), at);
    const uint64_t to = rng() % (kDiskBytes / kIoBytes) * kIoBytes;
    const absl::Status written = volume.Write(disk, to, piece.span(), {}).status();
    const absl::StatusOr<SyncResult> synced = volume.Sync(disk, {});
    tally.Fail(written);
    tally.Fail(synced.status());
    if (!written.ok() || !synced.ok()) return;
    tally.Add(*synced);
  }
}

absl::StatusOr<std::string> Clients(Volume& volume, const std::vector<DiskRef>& disks, size_t count,
                                    int syncs_each) {
  Tally tally;
  std::vector<std::thread> threads;
  const CpuMeter meter;
  const absl::Duration begin = SystemClock().MonotonicNow();
  for (size_t i = 0; i < count; ++i) {
    threads.emplace_back([&, i] { RunClient(volume, disks[i], syncs_each, i + 1, tally); });
  }
  for (std::thread& thread : threads) thread.join();
  const absl::Duration took = SystemClock().MonotonicNow() - begin;
  H2_RETURN_IF_ERROR(tally.status());
  return tally.Json(took, meter.Json());
}

absl::StatusOr<double> BarriersPerSecond(DirectFile& file, bool after_a_write) {
  const AlignedBuffer buffer = AlignedBuffer::Zeroed(kIoBytes);
  const absl::Duration begin = SystemClock().MonotonicNow();
  for (uint64_t i = 0; i < kBarriers; ++i) {
    const uint64_t at = i * 7919 % (kDiskBytes / kIoBytes) * kIoBytes;
    if (after_a_write) H2_RETURN_IF_ERROR(file.Write(at, buffer, kIoBytes));
    H2_RETURN_IF_ERROR(file.Barrier());
  }
  return kBarriers / absl::ToDoubleSeconds(SystemClock().MonotonicNow() - begin);
}

absl::StatusOr<std::string> RunClients(const DeviceSource& source, const Arguments& arguments) {
  H2_ASSIGN_OR_RETURN(std::unique_ptr<BlockDevice> device, source.Open());
  H2_ASSIGN_OR_RETURN(const std::unique_ptr<Volume> volume,
                      MakeScratchVolume(std::move(device), {}));
  std::string json;
  {
    PayloadSource payload(Content::kRandom, 1);
    std::vector<DiskRef> disks;
    for (int i = 0; i < arguments.clients; ++i) {
      H2_ASSIGN_OR_RETURN(const DiskRef disk, MakeDisk(*volume, absl::StrCat("d", i), kDiskBytes));
      H2_RETURN_IF_ERROR(FillDisk(*volume, disk, payload));
      disks.push_back(disk);
    }
    H2_RETURN_IF_ERROR(volume->Sync(nullptr, {}).status());
    H2_ASSIGN_OR_RETURN(const std::string one, Clients(*volume, disks, 1, kAloneSyncs));
    H2_ASSIGN_OR_RETURN(const std::string many,
                        Clients(*volume, disks, disks.size(), arguments.syncs_each));
    json = absl::StrCat("\"one\": ", one, ", \"many\": ", many);
  }
  H2_RETURN_IF_ERROR(volume->Close());
  return json;
}

absl::Status Run(const Arguments& arguments) {
  H2_ASSIGN_OR_RETURN(const DeviceSource source, DeviceSource::Make(arguments.device));
  const std::string beside = arguments.device + ".barriers";
  H2_RETURN_IF_ERROR(MakeWrittenFile(beside, 2 * kDiskBytes));
  H2_ASSIGN_OR_RETURN(DirectFile file, DirectFile::Open(beside));
  std::string rounds;
  for (int i = 0; i < arguments.rounds; ++i) {
    H2_ASSIGN_OR_RETURN(const std::string clients, RunClients(source, arguments));
    H2_ASSIGN_OR_RETURN(const double written, BarriersPerSecond(file, true));
    H2_ASSIGN_OR_RETURN(const double alone, BarriersPerSecond(file, false));
    absl::StrAppend(&rounds, i > 0 ? ",\n" : "", "{", clients,
                    absl::StrFormat(R"(, "write_barriers_per_s": %.1f, "barriers_per_s": %.1f})",
                                    written, alone));
  }
  std::printf("{\"rounds\": [%s]}\n", rounds.c_str());
  return absl::OkStatus();
}

}  // namespace
}  // namespace h2bd::bench

int main(int argc, char** argv) {
  h2bd::bench::TuneAllocator();
  h2bd::bench::Arguments arguments;
  CLI::App app("Durable writes a second of many clients");
  app.add_option("--device", arguments.device, "file or block device; is overwritten")->required();
  app.add_option("--clients", arguments.clients, "at the same time")->check(CLI::PositiveNumber);
  app.add_option("--syncs", arguments.syncs_each, "of each of them")->check(CLI::PositiveNumber);
  app.add_option("--rounds", arguments.rounds, "rounds")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  if (const absl::Status status = h2bd::bench::Run(arguments); !status.ok()) {
    h2bd::bench::Die("group_bench", status);
  }
  return 0;
}
