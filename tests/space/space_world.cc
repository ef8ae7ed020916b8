#include "tests/space/space_world.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/fsck/check.h"
#include "tests/space/second_checker.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

constexpr absl::string_view kDefaultPfs = "DATA";
constexpr size_t kDisksMax = 12;       // snapshots' included, above which none is created
constexpr size_t kModelDisksMax = 24;  // and none cloned
constexpr size_t kPfsesMax = 3, kSnapshotsMax = 4;
constexpr uint64_t kDiskBytesMax = 1200 * 1000;

struct Geometry {
  std::vector<uint64_t> sizes;
};

// One, two and four header slots, one device and several.
const Geometry& GeometryOf(uint64_t number) {
  static const auto* const geometries = new std::vector<Geometry>{
      {{256 * kMiB}},
      {{3 * kGiB}},
      {{8 * kGiB}},
      {{1 * kGiB, 256 * kMiB}},
      {{3 * kGiB, 1 * kGiB, 512 * kMiB}},
  };
  return (*geometries)[number % geometries->size()];
}

}  // namespace

struct SpaceWorld::Action {
  int weight;
  absl::string_view name;
  absl::Status (SpaceWorld::*run)();
};

const std::vector<SpaceWorld::Action>& SpaceWorld::Actions() {
  static const auto* const actions = new std::vector<Action>{
      {24, "write", &SpaceWorld::Write},
      {8, "discard", &SpaceWorld::Discard},
      {6, "create disk", &SpaceWorld::CreateDisk},
      {4, "delete disk", &SpaceWorld::DeleteDisk},
      {3, "rename disk", &SpaceWorld::RenameDisk},
      {5, "resize disk", &SpaceWorld::ResizeDisk},
      {5, "transaction", &SpaceWorld::Transaction},
      {14, "sync", &SpaceWorld::Sync},
      {3, "create PFS", &SpaceWorld::CreatePfs},
      {1, "delete PFS", &SpaceWorld::DeletePfs},
      {2, "set PFS", &SpaceWorld::SetPfs},
      {8, "snapshot", &SpaceWorld::Snapshot},
      {5, "delete snapshot", &SpaceWorld::DeleteSnapshot},
      {5, "clone disk", &SpaceWorld::CloneDisk},
      {3, "roll back disk", &SpaceWorld::RollbackDisk},
      {2, "roll back PFS", &SpaceWorld::RollbackPfs},
      {4, "crash", &SpaceWorld::Crash},
      {2, "restart", &SpaceWorld::Restart},
  };
  return *actions;
}

SpaceWorld::SpaceWorld(uint64_t seed, bool inspected)
    : inspected_(inspected), rng_(seed), uuids_(seed + 1) {}

absl::Status SpaceWorld::Run(int steps) {
  H2_RETURN_IF_ERROR(Annotate(Prepare(), "at the start"));
  for (int step = 0; step < steps; ++step) {
    H2_RETURN_IF_ERROR(Annotate(Step(), absl::StrFormat("step %d", step)));
    ++tally_.steps;
  }
  H2_RETURN_IF_ERROR(Annotate(Sync(), "at the end"));
  H2_RETURN_IF_ERROR(Annotate(Restart(), "at the end"));
  if (!inspected_) return absl::OkStatus();
  return Annotate(RunSecondChecker(devices_->Snapshot()).status(), "at the end");
}

absl::Status SpaceWorld::Prepare() {
  H2_ASSIGN_OR_RETURN(const SetImages images, FormattedSet(GeometryOf(rng_.Next64()).sizes));
  model_.pfses[std::string(kDefaultPfs)] = {};
  return Open(images);
}

// What the images hold is what is known to be durable.
absl::Status SpaceWorld::Open(const SetImages& images) {
  volume_.reset();
  base_ = images;
  devices_ = std::make_unique<DeviceStack>(images);
  VolumeEnv env;
  env.random = &uuids_;
  H2_ASSIGN_OR_RETURN(volume_, devices_->Open(ManualOptions(), env));
  const uint64_t tid = volume_->GetStatus().mirror_tid.v;
  published_ = {{tid, model_}};
  promises_ = {{0, tid}};
  return absl::OkStatus();
}

absl::Status SpaceWorld::Step() {
  int total = 0;
  for (const Action& action : Actions()) total += action.weight;
  int drawn = static_cast<int>(Below(static_cast<uint64_t>(total)));
  for (const Action& action : Actions()) {
    drawn -= action.weight;
    if (drawn < 0) return Annotate((this->*action.run)(), action.name);
  }
  return absl::InternalError("no action was drawn");
}

// Every third name is too long to stand in its blockref.
std::string SpaceWorld::NewName(absl::string_view prefix) {
  ++serial_;
  return absl::StrCat(prefix, serial_, serial_ % 3 == 0 ? std::string(80, 'n') : "");
}

std::vector<std::string> SpaceWorld::LivePfses() const {
  std::vector<std::string> live;
  for (const auto& [label, pfs] : model_.pfses) {
    if (!absl::StrContains(label, '@')) live.push_back(label);
  }
  return live;
}

std::vector<SnapshotName> SpaceWorld::Snapshots() const {
  std::vector<SnapshotName> snapshots;
  for (const auto& [label, pfs] : model_.pfses) {
    if (absl::StrContains(label, '@')) snapshots.push_back(SnapshotName::OfLabel(label));
  }
  return snapshots;
}

bool SpaceWorld::AnyDisk(Place& place) { return AnyDiskOf(AnyPfs(), place); }

bool SpaceWorld::AnyDiskOf(const std::string& pfs, Place& place) {
  place.pfs = pfs;
  const PfsModel& disks = model_.pfses.at(pfs);
  if (disks.empty()) return false;
  place.disk = std::next(disks.begin(), static_cast<std::ptrdiff_t>(Below(disks.size())))->first;
  return true;
}

std::string SpaceWorld::SomeBytes(uint64_t length) {
  std::string bytes(length, '\0');
  const uint64_t kind = Below(4);
  if (kind == 0) return bytes;
  const std::string word = absl::StrCat("<", Below(1000), ">");
  for (uint64_t i = 0; i < length; ++i) bytes[i] = word[i % word.size()];
  // None of it, or all but a little, does not compress.
  if (kind >= 2) rng_.Fill(std::as_writable_bytes(std::span(bytes)).first(length - length / 8));
  return bytes;
}

absl::Status SpaceWorld::Refused(const absl::Status& status, bool& refused) {
  refused = absl::IsResourceExhausted(status);
  if (!refused) return status;
  ++tally_.refused;
  return absl::OkStatus();
}

absl::Status SpaceWorld::CreateDisk() {
  if (model_.disks() >= kDisksMax) return DeleteDisk();
  const Place place{AnyPfs(), NewName("disk")};
  const uint64_t size = 1 + Below(kDiskBytesMax);
  bool refused = false;
  H2_RETURN_IF_ERROR(Refused(volume_->CreateDisk(place.name(), {size}).status(), refused));
  if (!refused) model_.pfses[place.pfs].emplace(place.disk, ModelDisk(++disk_ids_, size));
  return absl::OkStatus();
}

absl::Status SpaceWorld::DeleteDisk() {
  Place place;
  if (!AnyDisk(place)) return absl::OkStatus();
  H2_RETURN_IF_ERROR(volume_->DeleteDisk(place.name()));
  model_.pfses[place.pfs].erase(place.disk);
  return absl::OkStatus();
}

absl::Status SpaceWorld::RenameDisk() {
  Place place;
  if (!AnyDisk(place)) return absl::OkStatus();
  const std::string to = NewName("renamed");
  bool refused = false;
  H2_RETURN_IF_ERROR(Refused(volume_->RenameDisk(place.name(), {place.pfs, to}).status(), refused));
  if (refused) return absl::OkStatus();
  PfsModel& pfs = model_.pfses[place.pfs];
  auto node = pfs.extract(place.disk);
  node.key() = to;
  pfs.insert(std::move(node));
  return absl::OkStatus();
}

absl::Status SpaceWorld::ResizeDisk() {
  Place place;
  if (!AnyDisk(place)) return absl::OkStatus();
  const uint64_t size = 1 + Below(kDiskBytesMax);
  bool refused = false;
  H2_RETURN_IF_ERROR(Refused(volume_->ResizeDisk(place.name(), size).status(), refused));
  if (!refused) In(place).Resize(size);
  return absl::OkStatus();
}

absl::Status SpaceWorld::Write() {
  Place place;
  if (!AnyDisk(place)) return CreateDisk();
  ModelDisk& disk = In(place);
  const uint64_t offset = Below(disk.size());
  const uint64_t length = std::min(disk.size() - offset, 1 + Below(Below(3) == 0 ? 300000 : 9000));
  const std::string bytes = SomeBytes(length);
  H2_ASSIGN_OR_RETURN(const DiskRef ref, volume_->OpenDisk(place.name()));
  bool refused = false;
  H2_RETURN_IF_ERROR(Refused(WriteText(*volume_, ref, offset, bytes), refused));
  if (!refused) disk.Write(offset, AsBytes(bytes));
  return absl::OkStatus();
}

absl::Status SpaceWorld::Discard() {
  Place place;
  if (!AnyDisk(place)) return absl::OkStatus();
  ModelDisk& disk = In(place);
  const uint64_t offset = Below(disk.size());
  const uint64_t length = Below(disk.size() - offset + 1);
  H2_ASSIGN_OR_RETURN(const DiskRef ref, volume_->OpenDisk(place.name()));
  bool refused = false;
  H2_RETURN_IF_ERROR(Refused(volume_->Discard(ref, offset, length, {}).status(), refused));
  if (!refused) disk.Zero(offset, length);
  return absl::OkStatus();
}

absl::Status SpaceWorld::Transaction() {
  H2_ASSIGN_OR_RETURN(const TxnInfo txn, volume_->Begin({}));
  VolumeModel after = model_;
  for (int change = 0; change < 3; ++change) {
    Place place;
    if (!AnyDisk(place)) continue;
    ModelDisk& disk = after.pfses.at(place.pfs).at(place.disk);
    const uint64_t offset = Below(disk.size());
    const std::string bytes = SomeBytes(std::min(disk.size() - offset, 1 + Below(100000)));
    H2_ASSIGN_OR_RETURN(const DiskRef ref, volume_->OpenDisk(place.name()));
    const ConstByteSpan piece = AsBytes(bytes);
    bool refused = false;
    H2_RETURN_IF_ERROR(
        Refused(volume_->TxnWrite(txn.id, ref, offset, std::span(&piece, 1), {}), refused));
    if (refused) return volume_->Abort(txn.id).status();
    disk.Write(offset, piece);
  }
  bool refused = false;
  H2_RETURN_IF_ERROR(Refused(volume_->Commit(txn.id, {}).status(), refused));
  if (!refused) model_ = std::move(after);
  return absl::OkStatus();
}

absl::Status SpaceWorld::Sync() {
  return AfterCycle(volume_->Sync(nullptr, {}).status(), [] {});
}

template <class Changed>
absl::Status SpaceWorld::AfterCycle(const absl::Status& status, Changed changed) {
  bool refused = false;
  H2_RETURN_IF_ERROR(Refused(status, refused));
  if (refused) return absl::OkStatus();
  changed();
  ++tally_.cycles;
  const uint64_t tid = volume_->GetStatus().mirror_tid.v;
  published_[tid] = model_;
  promises_.push_back({devices_->log().size(), tid});
  return CheckVolume();
}

absl::Status SpaceWorld::CreatePfs() {
  if (LivePfses().size() >= kPfsesMax) return DeletePfs();
  const std::string label = NewName("PFS");
  return AfterCycle(volume_->CreatePfs(label, {}).status(),
                    [&] { model_.pfses[label] = PfsModel{}; });
}

absl::Status SpaceWorld::DeletePfs() {
  const std::string label = AnyPfs();
  if (label == kDefaultPfs) return absl::OkStatus();
  return AfterCycle(volume_->DeletePfs(label, /*force=*/true).status(),
                    [&] { model_.pfses.erase(label); });
}

absl::Status SpaceWorld::SetPfs() {
  constexpr CompMethod kComp[] = {CompMethod::kAutozero, CompMethod::kLz4, CompMethod::kZlib};
  constexpr CheckMethod kCheck[] = {CheckMethod::kIscsi32, CheckMethod::kXxhash64,
                                    CheckMethod::kSha192};
  PfsSettings settings;
  settings.comp = kComp[Below(std::size(kComp))];
  settings.check = kCheck[Below(std::size(kCheck))];
  return AfterCycle(volume_->SetPfs(AnyPfs(), settings).status(), [] {});
}

// Of one PFS or of all, as of one instant.
absl::Status SpaceWorld::Snapshot() {
  if (Snapshots().size() >= kSnapshotsMax) return DeleteSnapshot();
  const std::string name = NewName("s");
  std::vector<SnapshotName> wanted;
  for (const std::string& pfs : LivePfses()) wanted.push_back({pfs, name});
  if (Below(2) == 0) wanted = {AnyOf(wanted)};
  return AfterCycle(volume_->CreateSnapshots(wanted).status(), [&] {
    for (const SnapshotName& snapshot : wanted) {
      model_.pfses[snapshot.Label()] = PfsModel(model_.pfses[snapshot.pfs]);
    }
  });
}

absl::Status SpaceWorld::DeleteSnapshot() {
  const std::vector<SnapshotName> snapshots = Snapshots();
  if (snapshots.empty()) return absl::OkStatus();
  const SnapshotName& snapshot = AnyOf(snapshots);
  return AfterCycle(volume_->DeleteSnapshot(snapshot).status(),
                    [&] { model_.pfses.erase(snapshot.Label()); });
}

absl::Status SpaceWorld::CloneDisk() {
  if (model_.disks() >= kModelDisksMax) return DeleteSnapshot();
  Place source;
  const std::vector<SnapshotName> snapshots = Snapshots();
  const bool live = snapshots.empty() || Below(2) == 0;
  if (!AnyDiskOf(live ? AnyPfs() : AnyOf(snapshots).Label(), source)) return absl::OkStatus();
  const Place target{AnyPfs(), NewName("clone")};
  return AfterCycle(volume_->CloneDisk(source.name(), target.name()).status(),
                    [&] { model_.pfses[target.pfs].emplace(target.disk, ModelDisk(In(source))); });
}

absl::Status SpaceWorld::RollbackDisk() {
  const std::vector<SnapshotName> snapshots = Snapshots();
  Place source, target;
  if (snapshots.empty() || !AnyDiskOf(AnyOf(snapshots).Label(), source) || !AnyDisk(target)) {
    return absl::OkStatus();
  }
  return AfterCycle(volume_->RollbackDisk(source.name(), target.name()).status(),
                    [&] { In(target) = ModelDisk(In(source)); });
}

absl::Status SpaceWorld::RollbackPfs() {
  std::vector<SnapshotName> possible;
  for (const SnapshotName& snapshot : Snapshots()) {
    if (model_.pfses.contains(snapshot.pfs)) possible.push_back(snapshot);
  }
  if (possible.empty()) return absl::OkStatus();
  const SnapshotName& snapshot = AnyOf(possible);
  return AfterCycle(volume_->RollbackPfs(snapshot).status(),
                    [&] { model_.pfses[snapshot.pfs] = PfsModel(model_.pfses[snapshot.Label()]); });
}

// Power is lost at some point since the volume was opened.
absl::Status SpaceWorld::Crash() {
  ++tally_.crashes;
  const std::vector<IoEvent> log = devices_->log().events();
  const size_t cut = Below(log.size() + 1);
  CrashStates states(base_, log);
  states.AdvanceTo(cut);
  const SetImages images = states.Draw(rng_);
  const std::map<uint64_t, VolumeModel> published = std::move(published_);
  uint64_t promised = 0;
  for (const Promise& promise : promises_) {
    if (promise.events <= cut) promised = promise.mirror_tid;
  }
  H2_RETURN_IF_ERROR(Annotate(Open(images), absl::StrFormat("event %d of %d", cut, log.size())));
  const uint64_t tid = volume_->GetStatus().mirror_tid.v;
  const auto state = published.find(tid);
  if (tid < promised || state == published.end()) {
    return absl::DataLossError(
        absl::StrFormat("event %d of %d: mirror_tid %d was found, %d was promised", cut, log.size(),
                        tid, promised));
  }
  model_ = state->second;
  published_ = {{tid, model_}};
  return CheckVolume();
}

absl::Status SpaceWorld::Restart() {
  H2_RETURN_IF_ERROR(volume_->Close());
  H2_RETURN_IF_ERROR(Open(devices_->Snapshot()));
  return CheckVolume();
}

absl::Status SpaceWorld::CheckVolume() {
  H2_RETURN_IF_ERROR(CompareWithModel(*volume_, model_));
  const SetImages images = devices_->Snapshot();
  std::vector<std::unique_ptr<MemoryDevice>> owned;
  std::vector<BlockDevice*> devices;
  for (const SparseImage& image : images) {
    owned.push_back(std::make_unique<MemoryDevice>(image));
    devices.push_back(owned.back().get());
  }
  CheckOptions strict;
  strict.all_slots_strict = true;
  const CheckReport report = CheckDevices(devices, strict);
  if (report.errors == 0) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("the checker: ", report.ToString(Severity::kError)));
}

}  // namespace h2bd
