// What snapshots, clones and deletes cost:
//   snapshot  a snapshot of a PFS with `--disks` disks and `--dirty` dirty bytes, against a Sync of
//             the same
//   delete    delete of a disk of 100 GiB, every eighth block of which is stored, and the Sync
//             behind it, against a Sync of one 4 KiB write
//   clone     reading the last one of a chain of `--depth` clones, against reading the first disk
//
//   snapshot_bench --device PATH|memory --what snapshot|delete|clone --rounds N
//
// DESTROYS what PATH holds. Prints one JSON object: {"rounds": [{"ours": x, "other": y}, …]}, in
// milliseconds, for reads in MB/s.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/clock.h"
#include "tests/bench/bench_device.h"
#include "tests/bench/payload.h"
#include "tests/bench/scratch_volume.h"

namespace h2bd::bench {
namespace {

constexpr uint64_t kDirtyLimit = 3 * kGiB, kBlockBytes = 64 * kKiB;

struct Arguments {
  std::string device, what;
  uint64_t dirty_bytes = kGiB;
  int disks = 1000, depth = 1000, rounds = 5;
};

struct Pair {
  double ours = 0, other = 0;
};

absl::StatusOr<double> MillisecondsOf(absl::FunctionRef<absl::Status()> work) {
  const absl::Duration began = SystemClock().MonotonicNow();
  H2_RETURN_IF_ERROR(work());
  return absl::ToDoubleMilliseconds(SystemClock().MonotonicNow() - began);
}

absl::StatusOr<std::unique_ptr<Volume>> Fresh(const DeviceSource& source) {
  H2_ASSIGN_OR_RETURN(std::unique_ptr<BlockDevice> device, source.Open());
  return MakeScratchVolume(std::move(device), OnlyOnSync(kDirtyLimit));
}

// --- snapshot
// --------------------------------------------------------------------------------------

absl::Status WriteAll(Volume& volume, const std::vector<DiskRef>& disks, PayloadSource& payload) {
  for (const DiskRef& disk : disks) H2_RETURN_IF_ERROR(FillDisk(volume, disk, payload));
  return absl::OkStatus();
}

// On a volume of its own, since each round writes everything three times.
absl::StatusOr<Pair> SnapshotRound(const DeviceSource& source, const Arguments& arguments,
                                   int round) {
  H2_ASSIGN_OR_RETURN(const std::unique_ptr<Volume> volume, Fresh(source));
  const uint64_t each =
      arguments.dirty_bytes / static_cast<uint64_t>(arguments.disks) / kBlockBytes * kBlockBytes;
  std::vector<DiskRef> disks;
  for (int i = 0; i < arguments.disks; ++i) {
    H2_ASSIGN_OR_RETURN(DiskRef disk, MakeDisk(*volume, absl::StrCat("d", i), each));
    disks.push_back(std::move(disk));
  }
  PayloadSource payload(Content::kText, static_cast<uint64_t>(round));
  H2_RETURN_IF_ERROR(WriteAll(*volume, disks, payload));
  H2_RETURN_IF_ERROR(volume->Sync(nullptr, {}).status());
  Pair pair;
  for (int side = 0; side < 2; ++side) {
    H2_RETURN_IF_ERROR(WriteAll(*volume, disks, payload));
    if ((side + round) % 2 == 0) {
      H2_ASSIGN_OR_RETURN(pair.ours, MillisecondsOf([&] {
                            return volume->CreateSnapshots({{"DATA", "s"}}).status();
                          }));
    } else {
      H2_ASSIGN_OR_RETURN(pair.other,
                          MillisecondsOf([&] { return volume->Sync(nullptr, {}).status(); }));
    }
  }
  disks.clear();
  H2_RETURN_IF_ERROR(volume->Close());
  return pair;
}

// --- delete
// ----------------------------------------------------------------------------------------

constexpr uint64_t kLargeBytes = 100 * kGiB, kStoredEvery = 8, kBlocksPerCycle = 8192;
constexpr size_t kIoBytes = 4 * kKiB;

// Each stored block has its number in it and takes 1 KiB; all tables are there.
absl::Status Populate(Volume& volume, const DiskRef& disk) {
  AlignedBuffer piece = AlignedBuffer::Zeroed(kIoBytes);
  uint64_t stored = 0;
  for (uint64_t at = 0; at < kLargeBytes; at += kStoredEvery * kBlockBytes) {
    StoreAs(piece.span(), at + 1);
    H2_RETURN_IF_ERROR(volume.Write(disk, at, piece.span(), {}).status());
    if (++stored % kBlocksPerCycle == 0) H2_RETURN_IF_ERROR(volume.Sync(nullptr, {}).status());
  }
  return volume.Sync(nullptr, {}).status();
}

absl::StatusOr<Pair> DeleteRound(const DeviceSource& source, int round) {
  H2_ASSIGN_OR_RETURN(const std::unique_ptr<Volume> volume, Fresh(source));
  {
    H2_ASSIGN_OR_RETURN(const DiskRef large, MakeDisk(*volume, "large", kLargeBytes));
    H2_RETURN_IF_ERROR(Populate(*volume, large));
  }
  H2_ASSIGN_OR_RETURN(DiskRef small, MakeDisk(*volume, "small", kMiB));
  PayloadSource payload(Content::kRandom, static_cast<uint64_t>(round));
  Pair pair;
  H2_RETURN_IF_ERROR(volume->Write(small, 0, payload.Next(kIoBytes), {}).status());
  H2_ASSIGN_OR_RETURN(pair.other,
                      MillisecondsOf([&] { return volume->Sync(nullptr, {}).status(); }));
  H2_ASSIGN_OR_RETURN(pair.ours, MillisecondsOf([&] {
                        H2_RETURN_IF_ERROR(volume->DeleteDisk({"", "large"}));
                        return volume->Sync(nullptr, {}).status();
                      }));
  small.reset();
  H2_RETURN_IF_ERROR(volume->Close());
  return pair;
}

// --- clone
// -----------------------------------------------------------------------------------------

constexpr uint64_t kClonedBytes = 256 * kMiB;

std::string CloneName(int depth) { return absl::StrCat("clone", depth); }

absl::Status MakeClones(const DeviceSource& source, int depth) {
  H2_ASSIGN_OR_RETURN(const std::unique_ptr<Volume> volume, Fresh(source));
  {
    H2_ASSIGN_OR_RETURN(const DiskRef disk, MakeDisk(*volume, CloneName(0), kClonedBytes));
    PayloadSource payload(Content::kText, 1);
    H2_RETURN_IF_ERROR(FillDisk(*volume, disk, payload));
  }
  for (int i = 0; i < depth; ++i) {
    H2_RETURN_IF_ERROR(volume->CloneDisk({"", CloneName(i)}, {"", CloneName(i + 1)}).status());
  }
  return volume->Close();
}

absl::StatusOr<double> ReadRate(Volume& volume, const std::string& name) {
  H2_ASSIGN_OR_RETURN(const DiskRef disk, volume.OpenDisk({"", name}));
  AlignedBuffer into(kMiB);
  H2_ASSIGN_OR_RETURN(const double milliseconds, MillisecondsOf([&] {
                        for (uint64_t at = 0; at < kClonedBytes; at += into.size()) {
                          H2_RETURN_IF_ERROR(volume.Read(disk, at, into.span(), {}));
                        }
                        return absl::OkStatus();
                      }));
  return static_cast<double>(kClonedBytes) / 1e3 / milliseconds;
}

// With caches that hold nothing of either.
absl::StatusOr<Pair> CloneRound(const DeviceSource& source, int depth, int round) {
  Pair pair;
  for (int side = 0; side < 2; ++side) {
    std::vector<std::unique_ptr<BlockDevice>> devices(1);
    H2_ASSIGN_OR_RETURN(devices[0], source.Open());
    H2_ASSIGN_OR_RETURN(const std::unique_ptr<Volume> volume,
                        Volume::Open(std::move(devices), OnlyOnSync(kDirtyLimit), {}));
    const bool ours = (side + round) % 2 == 0;
    double& rate = ours ? pair.ours : pair.other;
    H2_ASSIGN_OR_RETURN(rate, ReadRate(*volume, CloneName(ours ? depth : 0)));
    H2_RETURN_IF_ERROR(volume->Close());
  }
  return pair;
}

// --------------------------------------------------------------------------------------------------

absl::StatusOr<Pair> Round(const DeviceSource& source, const Arguments& arguments, int round) {
  if (arguments.what == "snapshot") return SnapshotRound(source, arguments, round);
  if (arguments.what == "delete") return DeleteRound(source, round);
  return CloneRound(source, arguments.depth, round);
}

absl::Status Run(const Arguments& arguments) {
  H2_ASSIGN_OR_RETURN(const DeviceSource source, DeviceSource::Make(arguments.device));
  if (arguments.what == "clone") H2_RETURN_IF_ERROR(MakeClones(source, arguments.depth));
  std::string json;
  for (int round = 0; round < arguments.rounds; ++round) {
    H2_ASSIGN_OR_RETURN(const Pair pair, Round(source, arguments, round));
    absl::StrAppendFormat(&json, "%s{\"ours\": %.3f, \"other\": %.3f}", round > 0 ? ", " : "",
                          pair.ours, pair.other);
  }
  std::printf("{\"rounds\": [%s]}\n", json.c_str());
  return absl::OkStatus();
}

}  // namespace
}  // namespace h2bd::bench

int main(int argc, char** argv) {
  h2bd::bench::TuneAllocator();
  h2bd::bench::Arguments arguments;
  CLI::App app("What snapshots, clones and deletes cost");
  app.add_option("--device", arguments.device, "file, block device or \"memory\"; is overwritten")
      ->required();
  app.add_option("--what", arguments.what, "which comparison")
      ->required()
      ->check(CLI::IsMember({"snapshot", "delete", "clone"}));
  app.add_option("--rounds", arguments.rounds, "rounds")->check(CLI::PositiveNumber);
  app.add_option("--disks", arguments.disks, "disks of the PFS")->check(CLI::PositiveNumber);
  app.add_option("--dirty", arguments.dirty_bytes, "bytes that are dirty");
  app.add_option("--depth", arguments.depth, "of the chain of clones")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  if (const absl::Status status = h2bd::bench::Run(arguments); !status.ok()) {
    h2bd::bench::Die("snapshot_bench", status);
  }
  return 0;
}
