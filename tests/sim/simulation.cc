#include "tests/sim/simulation.h"

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/media/placement.h"
#include "core/volume/format.h"
#include "tests/sim/sim_clients.h"
#include "tests/sim/sim_judge.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

constexpr uint64_t kEpochs = 6;             // power losses that a world lives through
constexpr uint64_t kCrashesPerEpoch = 160;  // that are looked at
constexpr uint64_t kCheckEvery = 8;

// One device of the volume, with everything that is above its memory.
struct SimDisk {
  SimDisk(const SparseImage& image, IoLog& log, int number, SimWorld& world)
      : memory(image, 512, absl::StrCat("device", number)),
        lying(memory),
        recorder(lying, log, number),
        device(recorder, lying, world) {}
  MemoryDevice memory;
  LyingDevice lying;
  RecordingDevice recorder;
  SimDevice device;
};

// What holds for one world as long as it lives.
struct Circumstances {
  std::vector<uint64_t> device_bytes;
  FormatOptions format;
  VolumeOptions volume;
  FaultRates faults;
  bool fills_up = false;
};

Circumstances Draw(SimWorld& world) {
  Circumstances drawn;
  // One, two and four header slots; two devices.
  static const std::array<std::vector<uint64_t>, 4> kVolumes = {
      {{1 * kGiB}, {3 * kGiB}, {8 * kGiB}, {2 * kGiB, 3 * kGiB}}};
  drawn.device_bytes = kVolumes[world.Pick(kVolumes.size())];
  drawn.fills_up = world.OneIn(8);
  if (drawn.fills_up) {
    drawn.device_bytes = {(4 + world.Pick(3)) * 8 * kMiB};
    drawn.format.boot_bytes = drawn.format.aux_bytes = 8 * kMiB;
  }
  if (world.OneIn(2)) drawn.format.labels = {"DATA", "MORE"};
  constexpr std::array kMethods = {CompMethod::kLz4, CompMethod::kLz4, CompMethod::kNone,
                                   CompMethod::kZlib};
  drawn.format.comp = kMethods[world.Pick(kMethods.size())];
  drawn.volume = ManualOptions();
  drawn.volume.sync_runs_cycle = false;
  if (world.OneIn(2)) drawn.volume.block_cache_bytes = 256 * kKiB;
  if (world.OneIn(2)) drawn.volume.chain_cache_bytes = 64 * kKiB;
  if (world.OneIn(2)) drawn.faults.reads = 60;
  if (world.OneIn(3)) drawn.faults.writes = 300;
  if (world.OneIn(3)) drawn.faults.headers = 15;
  if (world.OneIn(3)) drawn.faults.syncs = 80;
  return drawn;
}

// A volume from its format on, through servers that end and power that is lost.
class SimVolume {
 public:
  SimVolume(uint64_t seed, bool trace, SimReport& report)
      : world_(seed), clock_(world_), executor_(world_), logger_(world_), report_(report) {
    world_.set_trace(trace);
    world_.set_on_yield([this] { StepWhileACycleRuns(); });
    world_.set_on_preempt([this] { CycleWithinAStep(); });
    circumstances_ = Draw(world_);
  }

  absl::Status Live() {
    H2_RETURN_IF_ERROR(FormatDevices());
    for (uint64_t epoch = 0; epoch < kEpochs; ++epoch) {
      world_.Tell(absl::StrCat("=== epoch ", epoch));
      const absl::Status lived = LiveUntilPowerIsLost();
      if (!lived.ok()) return Annotate(lived, absl::StrCat("epoch ", epoch));
    }
    return absl::OkStatus();
  }
  uint64_t digest() { return world_.digest().value(); }

 private:
  absl::Status FormatDevices() {
    std::vector<std::unique_ptr<MemoryDevice>> memories;
    std::vector<std::unique_ptr<BlockDevice>> devices;
    for (const uint64_t bytes : circumstances_.device_bytes) {
      memories.push_back(std::make_unique<MemoryDevice>(bytes));
      devices.push_back(std::make_unique<BorrowedDevice>(*memories.back()));
    }
    H2_RETURN_IF_ERROR(Format(devices, circumstances_.format, clock_, world_.rng()).status());
    for (const auto& memory : memories) images_.push_back(memory->Snapshot());
    return absl::OkStatus();
  }

  // Some servers after each other on one record of device events; then the crashes.
  absl::Status LiveUntilPowerIsLost() {
    log_ = std::make_unique<IoLog>();
    history_ = std::make_unique<History>(state_);
    disks_.clear();
    for (size_t i = 0; i < images_.size(); ++i) {
      disks_.push_back(std::make_unique<SimDisk>(images_[i], *log_, static_cast<int>(i), world_));
    }
    const uint64_t servers = 1 + world_.Pick(3);
    for (uint64_t server = 0; server < servers; ++server) {
      H2_RETURN_IF_ERROR(Serve());
      std::vector<SparseImage> left;
      for (const auto& disk : disks_) left.push_back(disk->memory.Snapshot());
      H2_ASSIGN_OR_RETURN(const Moment* const found, Judge(std::move(left), log_->size()));
      history_->ServerEnded(log_->size(), *found);
    }
    report_.operations += history_->now().operation;
    return LosePower();
  }

  absl::Status Serve() {
    ++report_.servers;
    world_.NewServer();
    log_->ServerRestarted();
    H2_RETURN_IF_ERROR(Start());
    if (world_.OneIn(3)) world_.KillAfter(1 + world_.Pick(300));
    world_.set_faults(circumstances_.faults);
    const uint64_t cycles = 1 + world_.Pick(12);
    for (uint64_t i = 0; i < cycles && GoesOn(); ++i) {
      for (uint64_t steps = 1 + world_.Pick(8); steps > 0 && GoesOn(); --steps) clients_->Step();
      // When nothing arrives meanwhile everything is durable afterwards.
      if (GoesOn()) RunCycle(/*quiet=*/world_.OneIn(4));
    }
    if (world_.read_failed()) history_->LetDisksLag();
    absl::Status outcome = Stop();
    if (world_.read_failed()) history_->LetDisksLag();
    world_.set_faults({});
    return outcome;
  }

  bool GoesOn() { return clients_->failure().ok() && !world_.dead() && !stopped_; }

  // A server that cannot read its devices is started again.
  absl::Status Start() {
    stopped_ = false;
    const bool faults = world_.OneIn(2);
    FaultRates rates = circumstances_.faults;
    // Of the two copies of the header on a small volume either may be found, and they may differ
    // after a crash; the judge has looked at one of them.
    if (HeaderSlotCount(circumstances_.device_bytes.front()) == 1) rates.reads = 0;
    if (faults) world_.set_faults(rates);
    absl::Status opened = Open();
    world_.set_faults({});
    if (!opened.ok() && world_.faulted()) {
      world_.Tell(absl::StrCat("open: ", opened.ToString()));
      world_.NewServer();
      log_->ServerRestarted();
      opened = Open();
    }
    H2_RETURN_IF_ERROR(Annotate(opened, "the volume does not open"));
    clients_ = std::make_unique<SimClients>(world_, *volume_, *log_, *history_);
    if (circumstances_.fills_up) {
      clients_->ExpectFullVolume([this] {
        if (!world_.dead()) RunCycle(/*quiet=*/true);
      });
    }
    return Annotate(clients_->Begin(), "opening the disks");
  }

  absl::Status Open() {
    std::vector<std::unique_ptr<BlockDevice>> devices;
    for (const auto& disk : disks_) {
      devices.push_back(std::make_unique<BorrowedDevice>(disk->device));
    }
    VolumeEnv env;
    env.clock = &clock_;
    env.random = &world_.rng();
    env.logger = &logger_;
    env.flusher_executor = &executor_;
    H2_ASSIGN_OR_RETURN(volume_, Volume::Open(std::move(devices), circumstances_.volume, env));
    return absl::OkStatus();
  }

  void RunCycle(bool quiet) {
    world_.Tell("  cycle");
    clients_may_step_ = !quiet;
    cycle_runs_ = true;
    const absl::Status status = volume_->RunCycle();
    clients_may_step_ = cycle_runs_ = false;
    world_.Tell(absl::StrCat("  cycle: ", absl::StatusCodeToString(status.code())));
    if (!status.ok() && !world_.faulted()) wrong_.Update(Annotate(status, "a cycle failed"));
    const VolumeStatus now = volume_->GetStatus();
    // After a fail-stop readers go on for a while.
    if (!now.failure.ok() && world_.OneIn(2)) stopped_ = true;
    if (!now.failure.ok() && !world_.dead()) clients_->ReadSomething();
    const bool idle = status.ok() && now.opseq == now.durable_opseq;
    // A disk that a failed read holds back keeps both.
    if (idle && !world_.read_failed() && (now.dirty_bytes != 0 || now.space.reserved_bytes != 0)) {
      wrong_.Update(absl::InternalError(absl::StrFormat(
          "everything is durable, and yet %d bytes of memory and %d of space are taken",
          now.dirty_bytes, now.space.reserved_bytes)));
    }
  }

  void StepWhileACycleRuns() {
    if (!clients_may_step_) return;
    for (int i = 0; i < 3 && world_.OneIn(3); ++i) clients_->StepInCycle();
  }

  void CycleWithinAStep() {
    if (cycle_runs_ || volume_ == nullptr) return;
    world_.Tell("  cycle within a step");
    const absl::Status status = volume_->RunCycle();
    world_.Tell(absl::StrCat("  cycle: ", absl::StatusCodeToString(status.code())));
  }

  // In order, or as kill -9 does it.
  absl::Status Stop() {
    absl::Status outcome = clients_->failure();
    outcome.Update(wrong_);
    clients_->End();
    if (!world_.dead() && world_.OneIn(3)) {
      const absl::Status closed = volume_->Close();
      world_.Tell(absl::StrCat("close: ", absl::StatusCodeToString(closed.code())));
      if (closed.ok()) history_->Promised(log_->size(), history_->now().operation);
      if (!closed.ok() && !world_.faulted()) outcome.Update(Annotate(closed, "close"));
    }
    world_.Kill();
    volume_.reset();
    clients_.reset();
    return outcome;
  }

  // Power is lost at many points of the record; life goes on from one of them.
  absl::Status LosePower() {
    const std::vector<IoEvent> events = log_->events();
    report_.device_events += events.size();
    CrashStates states(images_, events);
    const size_t cuts = events.size() + 1;
    std::vector<SparseImage> chosen;
    const Moment* survivor = nullptr;
    uint64_t seen = 0;
    for (size_t cut = 0; cut < cuts; ++cut) {
      states.AdvanceTo(cut);
      const uint64_t draws =
          kCrashesPerEpoch / cuts + (world_.Pick(cuts) < kCrashesPerEpoch % cuts ? 1 : 0);
      for (uint64_t draw = 0; draw < draws; ++draw) {
        std::vector<SparseImage> images = states.Draw(world_.rng());
        const absl::StatusOr<const Moment*> found = Judge(images, cut);
        if (!found.ok()) {
          return Annotate(found.status(), absl::StrFormat("power is lost at device event %d of %d",
                                                          cut, events.size()));
        }
        if (world_.Pick(++seen) != 0) continue;
        chosen = std::move(images);
        survivor = *found;
      }
    }
    if (survivor == nullptr) return absl::OkStatus();
    images_ = std::move(chosen);
    state_ = survivor->state;
    return absl::OkStatus();
  }

  // Whether what is on the images after a crash at `cut` is what it may be.
  absl::StatusOr<const Moment*> Judge(std::vector<SparseImage> images, size_t cut) {
    ++report_.crashes;
    const bool check = world_.OneIn(kCheckEvery);
    report_.checked += check ? 1 : 0;
    H2_ASSIGN_OR_RETURN(
        const DiskFingerprints found,
        ReadVolume(std::move(images), {.clock = clock_, .random = world_.rng(), .check = check}));
    const uint64_t fingerprint = StateFingerprint(found);
    const Moment* const moment = history_->Find(cut, found);
    world_.digest().Add(fingerprint);
    if (moment != nullptr) return moment;
    return absl::DataLossError(history_->Explain(cut, found));
  }

  SimWorld world_;
  SimClock clock_;
  SimExecutor executor_;
  SimLogger logger_;
  SimReport& report_;
  Circumstances circumstances_;
  // What is durable where the epoch begins.
  std::vector<SparseImage> images_;
  ModelState state_;
  // Of the epoch.
  std::unique_ptr<IoLog> log_;
  std::unique_ptr<History> history_;
  std::vector<std::unique_ptr<SimDisk>> disks_;
  // Of the server.
  std::unique_ptr<Volume> volume_;
  std::unique_ptr<SimClients> clients_;
  bool clients_may_step_ = false, cycle_runs_ = false, stopped_ = false;
  absl::Status wrong_;
};

}  // namespace

SimReport Simulate(const SimOptions& options) {
  SimReport report;
  Digest digest;
  for (uint64_t seed = options.seed; report.crashes < options.crashes; ++seed) {
    ++report.worlds;
    SimVolume volume(seed, options.trace, report);
    const absl::Status lived = volume.Live();
    digest.Add(volume.digest());
    if (lived.ok()) continue;
    report.failure = Annotate(lived, absl::StrCat("world ", seed));
    report.failed_seed = seed;
    break;
  }
  report.digest = digest.value();
  return report;
}

}  // namespace h2bd
