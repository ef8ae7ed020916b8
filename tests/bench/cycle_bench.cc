// What a cycle with `--dirty` dirty blocks costs on a large disk and on a small one, in turn:
//   small    random blocks of a disk of 10,000 blocks
//   spread   random blocks of a disk of 1,000,000 blocks: most lie in a table of their own
//   window   random blocks out of 10,000 neighbours of that disk
// Each dirty block has 4 KiB of new bytes that compress well, so that every block is stored in 1
// KiB; the rest of it comes from the device ("cold"), or was read shortly before ("warm").
//
//   cycle_bench --device PATH|memory --rounds N [--blocks N]
//
// DESTROYS what PATH and PATH.small hold. Prints one JSON object.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/clock.h"
#include "tests/bench/bench_device.h"
#include "tests/bench/payload.h"
#include "tests/bench/scratch_volume.h"

namespace h2bd::bench {
namespace {

constexpr uint64_t kBlockBytes = 64 * kKiB, kSmallBlocks = 10'000;
constexpr size_t kIoBytes = 4 * kKiB;
constexpr uint64_t kBlocksPerCycle = 8192;  // of the first writes
constexpr uint64_t kColdCacheBytes = kMiB;

struct Arguments {
  std::string device;
  uint64_t blocks = 1'000'000;
  size_t dirty = 1000;
  int rounds = 3;
};

absl::Duration ProcessorTime() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return absl::DurationFromTimespec(now);
}

// A volume with one disk, each of whose blocks is stored in 1 KiB.
class Subject {
 public:
  Subject(DeviceSource source, uint64_t blocks)
      : source_(std::move(source)), blocks_(blocks), rng_(1) {}

  absl::Status Make() {
    H2_ASSIGN_OR_RETURN(std::unique_ptr<BlockDevice> device, source_.Open());
    H2_ASSIGN_OR_RETURN(volume_, MakeScratchVolume(std::move(device), OnlyOnSync(kGiB)));
    H2_ASSIGN_OR_RETURN(disk_, MakeDisk(*volume_, "disk", blocks_ * kBlockBytes));
    AlignedBuffer piece = AlignedBuffer::Zeroed(kIoBytes);
    for (uint64_t block = 0; block < blocks_; ++block) {
      StoreAs(piece.span(), block + 1);
      H2_RETURN_IF_ERROR(volume_->Write(disk_, block * kBlockBytes, piece.span(), {}).status());
      if (block % kBlocksPerCycle == 0) H2_RETURN_IF_ERROR(volume_->Sync(nullptr, {}).status());
    }
    return volume_->Sync(nullptr, {}).status();
  }

  absl::Status Reopen(bool warm) {
    H2_RETURN_IF_ERROR(Close());
    std::vector<std::unique_ptr<BlockDevice>> devices(1);
    H2_ASSIGN_OR_RETURN(devices[0], source_.Open());
    VolumeOptions options = OnlyOnSync(kGiB);
    if (!warm) options.block_cache_bytes = kColdCacheBytes;
    H2_ASSIGN_OR_RETURN(volume_, Volume::Open(std::move(devices), options, {}));
    H2_ASSIGN_OR_RETURN(const DiskName name, DiskName::Parse("disk"));
    H2_ASSIGN_OR_RETURN(disk_, volume_->OpenDisk(name));
    return FillCaches();
  }

  absl::Status Close() {
    disk_.reset();
    const absl::Status closed = volume_->Close();
    volume_.reset();  // and with it the device
    return closed;
  }

  // One cycle over random blocks of [first, first + range).
  absl::StatusOr<std::string> OneCycle(uint64_t first, uint64_t range, size_t dirty, bool warm) {
    std::set<uint64_t> chosen;
    while (chosen.size() < dirty) chosen.insert(first + rng_() % range);
    std::vector<uint64_t> order(chosen.begin(), chosen.end());
    std::shuffle(order.begin(), order.end(), rng_);
    AlignedBuffer into(kIoBytes), piece = AlignedBuffer::Zeroed(kIoBytes);
    for (const uint64_t block : order) {
      if (warm) H2_RETURN_IF_ERROR(volume_->Read(disk_, block * kBlockBytes, into.span(), {}));
      StoreAs(piece.span(), rng_());
      const uint64_t at = block * kBlockBytes + rng_() % (kBlockBytes / kIoBytes) * kIoBytes;
      H2_RETURN_IF_ERROR(volume_->Write(disk_, at, piece.span(), {}).status());
    }
    const absl::Duration wall = SystemClock().MonotonicNow(), cpu = ProcessorTime();
    H2_ASSIGN_OR_RETURN(const SyncResult result, volume_->Sync(nullptr, {}));
    const absl::Duration wall_took = SystemClock().MonotonicNow() - wall;
    return absl::StrFormat(R"({"cpu_ms": %.3f, "wall_ms": %.3f, "phases_ms": %s})",
                           absl::ToDoubleMilliseconds(ProcessorTime() - cpu),
                           absl::ToDoubleMilliseconds(wall_took), PhasesJson(result));
  }

  uint64_t RandomWindow() { return rng_() % (blocks_ - kSmallBlocks + 1); }
  uint64_t blocks() const { return blocks_; }

 private:
  // All tables of both disks fit the cache of tables, and as many blocks as are read here fill the
  // cache of blocks: neither is to grow while cycles are measured.
  absl::Status FillCaches() {
    constexpr uint64_t kReads = 10'000;
    AlignedBuffer into(kIoBytes);
    for (uint64_t block = 0; block < blocks_; block += std::max<uint64_t>(1, blocks_ / kReads)) {
      H2_RETURN_IF_ERROR(volume_->Read(disk_, block * kBlockBytes, into.span(), {}));
    }
    return absl::OkStatus();
  }

  const DeviceSource source_;
  const uint64_t blocks_;
  std::mt19937_64 rng_;
  std::unique_ptr<Volume> volume_;
  DiskRef disk_;
};

absl::StatusOr<std::string> Round(Subject& small, Subject& large, size_t dirty, bool warm) {
  H2_ASSIGN_OR_RETURN(const std::string a, small.OneCycle(0, kSmallBlocks, dirty, warm));
  H2_ASSIGN_OR_RETURN(const std::string b, large.OneCycle(0, large.blocks(), dirty, warm));
  H2_ASSIGN_OR_RETURN(const std::string c,
                      large.OneCycle(large.RandomWindow(), kSmallBlocks, dirty, warm));
  return absl::StrCat("{\"small\": ", a, ", \"spread\": ", b, ", \"window\": ", c, "}");
}

absl::Status Run(const Arguments& arguments) {
  const bool in_memory = arguments.device == "memory";
  H2_ASSIGN_OR_RETURN(DeviceSource large_source, DeviceSource::Make(arguments.device));
  H2_ASSIGN_OR_RETURN(
      DeviceSource small_source,
      DeviceSource::Make(in_memory ? arguments.device : arguments.device + ".small"));
  Subject small(std::move(small_source), kSmallBlocks);
  Subject large(std::move(large_source), arguments.blocks);
  H2_RETURN_IF_ERROR(small.Make());
  H2_RETURN_IF_ERROR(large.Make());
  std::string json;
  for (const bool warm : {false, true}) {
    H2_RETURN_IF_ERROR(small.Reopen(warm));
    H2_RETURN_IF_ERROR(large.Reopen(warm));
    // The first cycle after an open meets cold allocators and caches; it is not counted.
    H2_RETURN_IF_ERROR(Round(small, large, arguments.dirty, warm).status());
    absl::StrAppend(&json, warm ? "], \"warm\": [" : "\"cold\": [");
    for (int i = 0; i < arguments.rounds; ++i) {
      H2_ASSIGN_OR_RETURN(const std::string round, Round(small, large, arguments.dirty, warm));
      absl::StrAppend(&json, i > 0 ? ",\n" : "", round);
    }
  }
  std::printf("{%s]}\n", json.c_str());
  H2_RETURN_IF_ERROR(small.Close());
  return large.Close();
}

}  // namespace
}  // namespace h2bd::bench

int main(int argc, char** argv) {
  h2bd::bench::TuneAllocator();
  h2bd::bench::Arguments arguments;
  CLI::App app("What a cycle costs on a large disk and on a small one");
  app.add_option("--device", arguments.device, "file, block device or \"memory\"; is overwritten")
      ->required();
  app.add_option("--blocks", arguments.blocks, "of the large disk");
  app.add_option("--dirty", arguments.dirty, "dirty blocks in a cycle");
  app.add_option("--rounds", arguments.rounds, "rounds")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  if (const absl::Status status = h2bd::bench::Run(arguments); !status.ok()) {
    h2bd::bench::Die("cycle_bench", status);
  }
  return 0;
}
