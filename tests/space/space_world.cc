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

constexpr size_t kDisksMax = 6;  // of all live PFSs
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
  model_.pfses["DATA"] = {};
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

std::string SpaceWorld::AnyPfs() {
  std::vector<std::string> live;
  for (const auto& [label, pfs] : model_.pfses) {
    if (!absl::StrContains(label, '@')) live.push_back(label);
  }
  return live[Below(live.size())];
}

bool SpaceWorld::AnyDisk(Place& place) {
  place.pfs = AnyPfs();
  const PfsModel& pfs = model_.pfses.at(place.pfs);
  if (pfs.empty()) return false;
  place.disk = std::next(pfs.begin(), static_cast<std::ptrdiff_t>(Below(pfs.size())))->first;
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
  H2_RETURN_IF_ERROR(
      Refused(volume_->CreateDisk({place.pfs, place.disk}, {size}).status(), refused));
  if (!refused) model_.pfses[place.pfs].emplace(place.disk, ModelDisk(++disk_ids_, size));
  return absl::OkStatus();
}

absl::Status SpaceWorld::DeleteDisk() {
  Place place;
  if (!AnyDisk(place)) return absl::OkStatus();
  H2_RETURN_IF_ERROR(volume_->DeleteDisk({place.pfs, place.disk}));
  model_.pfses[place.pfs].erase(place.disk);
  return absl::OkStatus();
}

absl::Status SpaceWorld::RenameDisk() {
  Place place;
  if (!AnyDisk(place)) return absl::OkStatus();
  const std::string to = NewName("renamed");
  bool refused = false;
  H2_RETURN_IF_ERROR(
      Refused(volume_->RenameDisk({place.pfs, place.disk}, {place.pfs, to}).status(), refused));
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
  H2_RETURN_IF_ERROR(Refused(volume_->ResizeDisk({place.pfs, place.disk}, size).status(), refused));
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
  H2_ASSIGN_OR_RETURN(const DiskRef ref, volume_->OpenDisk({place.pfs, place.disk}));
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
  H2_ASSIGN_OR_RETURN(const DiskRef ref, volume_->OpenDisk({place.pfs, place.disk}));
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
    H2_ASSIGN_OR_RETURN(const DiskRef ref, volume_->OpenDisk({place.pfs, place.disk}));
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
  H2_RETURN_IF_ERROR(volume_->Sync(nullptr, {}).status());
  H2_RETURN_IF_ERROR(Published());
  return CheckVolume();
}

absl::Status SpaceWorld::Published() {
  ++tally_.cycles;
  const uint64_t tid = volume_->GetStatus().mirror_tid.v;
  published_[tid] = model_;
  promises_.push_back({devices_->log().size(), tid});
  return absl::OkStatus();
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
