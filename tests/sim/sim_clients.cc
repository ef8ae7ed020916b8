#include "tests/sim/sim_clients.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace h2bd {
namespace {

constexpr size_t kClients = 3;
constexpr size_t kDisksMost = 6;
constexpr uint64_t kDiskBytesMost = 330'000;
constexpr uint64_t kLongRange = 150'000, kShortRange = 5'000;

// Nobody runs a cycle for a client that would have to wait for space.
constexpr IoOptions kAtOnce{.deadline = absl::InfinitePast()};

using enum absl::StatusCode;

}  // namespace

SimClients::SimClients(SimWorld& world, Volume& volume, const IoLog& log, History& history)
    : world_(world), volume_(volume), log_(log), history_(history), clients_(kClients) {}

absl::Status SimClients::Begin() {
  for (const auto& [name, disk] : model()) {
    H2_ASSIGN_OR_RETURN(DiskRef ref, volume_.OpenDisk({name.first, name.second}));
    disks_[++next_disk_] = {name, std::move(ref), disk.id(), history_.now().operation};
  }
  return absl::OkStatus();
}

void SimClients::End() {
  ended_ = true;
  disks_.clear();
}

void SimClients::Step() {
  in_cycle_ = false;
  if (disks_.size() < 2) return Create();
  switch (world_.Pick(20)) {
    case 0:
      return disks_.size() < kDisksMost ? Create() : Delete();
    case 1:
      return Rename();
    case 2:
      return Resize();
    case 3:
    case 4:
      return Zero();
    case 5:
    case 6:
      return SyncSomething();
    case 7:
      return ReadSomething();
    case 8:
    case 9:
    case 10:
    case 11:
    case 12:
    case 13:
      return Transact(clients_[world_.Pick(clients_.size())]);
    default:
      return Write();
  }
}

void SimClients::StepInCycle() {
  in_cycle_ = true;
  if (disks_.empty()) return;
  switch (world_.Pick(12)) {
    case 0:
      return Zero();
    case 1:
    case 2:
    case 3:
      return SyncSomething();
    case 4:
    case 5:
    case 6:
    case 7:
      return Transact(clients_[world_.Pick(clients_.size())]);
    default:
      return Write();
  }
}

SimClients::DiskNumber SimClients::AnyDisk() {
  auto it = disks_.begin();
  std::advance(it, world_.Pick(disks_.size()));
  return it->first;
}

SimClients::Range SimClients::AnyRange(uint64_t size, uint64_t longest) {
  Range range;
  if (size == 0) return range;
  range.offset = world_.Pick(size);
  uint64_t length = 1 + world_.Pick(longest);
  if (world_.OneIn(3)) {  // whole blocks
    range.offset = RoundDown(range.offset, kLogicalBytes);
    length = RoundUp(length, kLogicalBytes);
  }
  length = std::min(length, size - range.offset);
  // Some of it is incompressible; the rest is a text with its number in it.
  range.bytes.resize(length);
  const std::string word = absl::StrCat("<", world_.Serial(), ">");
  if (settle_ || world_.OneIn(3)) {
    world_.rng().Fill(std::as_writable_bytes(std::span(range.bytes)));
  } else {
    for (uint64_t i = 0; i < length; ++i) range.bytes[i] = word[i % word.size()];
  }
  return range;
}

std::string SimClients::NewName() {
  // Some names are too long to stand in their blockref.
  return absl::StrCat("d", world_.Serial(), world_.OneIn(2) ? std::string(80, 'n') : "");
}

void SimClients::Wrong(const std::string& what) {
  world_.Tell(absl::StrCat("WRONG: ", what));
  failure_.Update(absl::InternalError(what));
}

bool SimClients::Went(absl::string_view what, const absl::Status& status,
                      std::initializer_list<absl::StatusCode> known) {
  world_.Tell(absl::StrCat(in_cycle_ ? "    " : "", what, ": ",
                           absl::StatusCodeToString(status.code()), " at operation ",
                           history_.now().operation));
  if (status.ok()) return true;
  if (std::find(known.begin(), known.end(), status.code()) != known.end()) return false;
  const bool full = status.code() == kResourceExhausted || status.code() == kDeadlineExceeded;
  if (settle_ && full) return false;
  const bool of_a_fault = status.code() == kUnavailable || status.code() == kFailedPrecondition ||
                          status.code() == kResourceExhausted || status.code() == kDeadlineExceeded;
  if (!world_.faulted() || !of_a_fault) Wrong(absl::StrCat(what, ": ", status.ToString()));
  return false;
}

void SimClients::Applied(OpSeq opseq, size_t began, const std::vector<DiskNumber>& disks,
                         Change change) {
  if (opseq <= history_.now().opseq) {
    Wrong(absl::StrFormat("operation %d after %d", opseq.v, history_.now().opseq.v));
  }
  ModelState next = model();
  change(next);
  std::vector<uint64_t> changed;
  for (const DiskNumber disk : disks) changed.push_back(disks_.at(disk).id);
  history_.Acknowledged(std::move(next), std::move(changed), opseq, began);
  for (const DiskNumber disk : disks) disks_.at(disk).last_operation = history_.now().operation;
}

void SimClients::Write() {
  const DiskNumber number = AnyDisk();
  const OpenDisk& disk = disks_.at(number);
  const Range range = AnyRange(SizeOf(disk), settle_ || world_.OneIn(3) ? kLongRange : kShortRange);
  if (range.bytes.empty()) return;
  const size_t began = log_.size();
  const auto seq = volume_.Write(disk.ref, range.offset, AsBytes(range.bytes), kAtOnce);
  if (!Went(
          absl::StrFormat("write %s [%d, +%d)", disk.name.second, range.offset, range.bytes.size()),
          seq.status())) {
    return;
  }
  Applied(*seq, began, {number}, [&](ModelState& state) {
    state.at(disk.name).Write(range.offset, AsBytes(range.bytes));
  });
}

void SimClients::Zero() {
  const DiskNumber number = AnyDisk();
  const OpenDisk& disk = disks_.at(number);
  const Range range = AnyRange(SizeOf(disk), kDiskBytesMost);
  if (range.bytes.empty()) return;
  const uint64_t length = range.bytes.size();
  const bool discard = world_.OneIn(2);
  const size_t began = log_.size();
  const auto seq = discard ? volume_.Discard(disk.ref, range.offset, length, kAtOnce)
                           : volume_.WriteZeroes(disk.ref, range.offset, length, kAtOnce);
  if (!Went(absl::StrFormat("%s %s [%d, +%d)", discard ? "discard" : "zero", disk.name.second,
                            range.offset, length),
            seq.status())) {
    return;
  }
  Applied(*seq, began, {number},
          [&](ModelState& state) { state.at(disk.name).Zero(range.offset, length); });
}

void SimClients::SettleIfFull() {
  if (settle_) settle_();
}

void SimClients::Create() {
  SettleIfFull();
  const std::vector<PfsInfo> pfses = volume_.ListPfs();
  const SimDiskName name = {pfses[world_.Pick(pfses.size())].label, NewName()};
  const uint64_t size = world_.Pick(kDiskBytesMost);
  const size_t began = log_.size();
  const auto made = volume_.CreateDisk({name.first, name.second}, {size});
  if (!Went(absl::StrCat("create ", name.second), made.status())) return;
  const uint64_t id = world_.Serial();
  disks_[++next_disk_] = {.name = name, .ref = nullptr, .id = id};
  Applied(volume_.GetStatus().opseq, began, {next_disk_},
          [&](ModelState& state) { state.emplace(name, ModelDisk(id, size)); });
  absl::StatusOr<DiskRef> ref = volume_.OpenDisk({name.first, name.second});
  if (Went("open", ref.status())) {
    disks_[next_disk_].ref = *std::move(ref);
  } else {
    disks_.erase(next_disk_);  // nobody uses it before the next restart
  }
}

void SimClients::Delete() {
  SettleIfFull();
  const DiskNumber number = AnyDisk();
  const SimDiskName name = disks_.at(number).name;
  const size_t began = log_.size();
  // Refused while a transaction stages on it.
  if (!Went(absl::StrCat("delete ", name.second), volume_.DeleteDisk({name.first, name.second}),
            {kFailedPrecondition})) {
    return;
  }
  Applied(volume_.GetStatus().opseq, began, {}, [&](ModelState& state) { state.erase(name); });
  disks_.erase(number);
}

void SimClients::Rename() {
  SettleIfFull();
  const DiskNumber number = AnyDisk();
  const SimDiskName from = disks_.at(number).name;
  const SimDiskName to = {from.first, NewName()};
  const size_t began = log_.size();
  if (!Went(absl::StrCat("rename ", from.second, " to ", to.second),
            volume_.RenameDisk({from.first, from.second}, {to.first, to.second}).status())) {
    return;
  }
  disks_.at(number).name = to;
  Applied(volume_.GetStatus().opseq, began, {number}, [&](ModelState& state) {
    auto disk = state.extract(from);
    disk.key() = to;
    state.insert(std::move(disk));
  });
}

void SimClients::Resize() {
  SettleIfFull();
  const DiskNumber number = AnyDisk();
  const OpenDisk& disk = disks_.at(number);
  const uint64_t size = world_.Pick(kDiskBytesMost);
  const size_t began = log_.size();
  if (!Went(absl::StrCat("resize ", disk.name.second, " to ", size),
            volume_.ResizeDisk({disk.name.first, disk.name.second}, size).status(),
            {kFailedPrecondition})) {
    return;
  }
  Applied(volume_.GetStatus().opseq, began, {number},
          [&](ModelState& state) { state.at(disk.name).Resize(size); });
}

void SimClients::Transact(Client& client) {
  if (!client.txn.has_value()) {
    const absl::StatusOr<TxnInfo> txn = volume_.Begin({});
    if (!Went("begin", txn.status())) return;
    client.txn = txn->id;
    client.staged.clear();
  }
  if (client.staged.size() < 2 || world_.OneIn(3)) {
    Stage(client);
    if (client.staged.size() < 2) Stage(client);
    if (world_.OneIn(3)) return;
  }
  return world_.OneIn(6) ? Abort(client) : Commit(client);
}

uint64_t SimClients::SizeIn(const Client& client, DiskNumber number) {
  uint64_t size = SizeOf(disks_.at(number));
  for (const Staged& staged : client.staged) {
    if (staged.disk == number) size = staged.new_size.value_or(size);
  }
  return size;
}

void SimClients::StageSize(Client& client) {
  Staged staged;
  staged.disk = AnyDisk();
  staged.new_size = world_.Pick(kDiskBytesMost);
  const OpenDisk& disk = disks_.at(staged.disk);
  // Another transaction may have staged behind it.
  if (Went(absl::StrFormat("stage %s to %d bytes", disk.name.second, *staged.new_size),
           volume_.TxnResize(*client.txn, disk.ref, *staged.new_size, {}), {kAborted})) {
    client.staged.push_back(std::move(staged));
  }
}

void SimClients::Stage(Client& client) {
  if (world_.OneIn(6)) return StageSize(client);
  Staged staged;
  staged.disk = AnyDisk();
  const OpenDisk& disk = disks_.at(staged.disk);
  staged.range =
      AnyRange(SizeIn(client, staged.disk), settle_ || world_.OneIn(5) ? kLongRange : kShortRange);
  staged.zeroes = world_.OneIn(6);
  if (staged.range.bytes.empty()) return;
  const ConstByteSpan bytes = AsBytes(staged.range.bytes);
  const absl::Status status =
      staged.zeroes
          ? volume_.TxnWriteZeroes(*client.txn, disk.ref, staged.range.offset, bytes.size(), {})
          : volume_.TxnWrite(*client.txn, disk.ref, staged.range.offset,
                             std::span<const ConstByteSpan>(&bytes, 1), {});
  // Another transaction may have staged there.
  if (!Went(absl::StrFormat("stage %s [%d, +%d)", disk.name.second, staged.range.offset,
                            bytes.size()),
            status, {kAborted})) {
    return;
  }
  client.staged.push_back(std::move(staged));
}

void SimClients::Commit(Client& client) {
  const size_t began = log_.size();
  const absl::StatusOr<TxnInfo> info = volume_.Commit(*client.txn, kAtOnce);
  client.txn.reset();
  if (!Went(absl::StrCat("commit of ", client.staged.size()), info.status())) return;
  if (client.staged.empty()) return;
  std::vector<DiskNumber> disks;
  for (const Staged& staged : client.staged) disks.push_back(staged.disk);
  Applied(info->seq, began, disks, [&](ModelState& state) {
    for (const Staged& staged : client.staged) {
      ModelDisk& disk = state.at(disks_.at(staged.disk).name);
      if (staged.new_size.has_value()) {
        disk.Resize(*staged.new_size);
      } else if (staged.zeroes) {
        disk.Zero(staged.range.offset, staged.range.bytes.size());
      } else {
        disk.Write(staged.range.offset, AsBytes(staged.range.bytes));
      }
    }
  });
}

void SimClients::Abort(Client& client) {
  Went("abort", volume_.Abort(*client.txn).status());
  client.txn.reset();
}

SimClients::SyncTarget SimClients::TargetOf(const OpenDisk& disk) const {
  return {disk.last_operation, disk.ref->last_opseq(), {disk.id}};
}

SimClients::SyncTarget SimClients::TargetOfPfs(const std::string& label) const {
  SyncTarget target;
  for (const auto& [number, disk] : disks_) {
    if (disk.name.first != label) continue;
    target.operation = std::max(target.operation, disk.last_operation);
    target.disks.push_back(disk.id);
  }
  return target;
}

void SimClients::SyncSomething() {
  const auto answer = [this](SyncTarget target) {
    return [this, target = std::move(target)](const absl::StatusOr<SyncResult>& result) {
      OnSynced(target, result);
    };
  };
  const OpenDisk& disk = disks_.at(AnyDisk());
  switch (world_.Pick(4)) {
    case 0:
      world_.Tell("    sync of everything");
      return volume_.SyncAsync(nullptr,
                               answer({history_.now().operation, history_.now().opseq, {}}));
    case 1:
      world_.Tell(absl::StrCat("    sync of ", disk.name.second));
      return volume_.SyncAsync(disk.ref, answer(TargetOf(disk)));
    case 2:
      world_.Tell(absl::StrCat("    sync of PFS ", disk.name.first));
      return volume_.SyncPfsAsync(disk.name.first, answer(TargetOfPfs(disk.name.first)));
    default: {
      const OpSeq opseq(world_.Pick(history_.now().opseq.v + 1));
      world_.Tell(absl::StrCat("    sync to ", opseq.v));
      return volume_.SyncToAsync(opseq, {}, answer({history_.OperationOf(opseq), opseq, {}}));
    }
  }
}

void SimClients::OnSynced(const SyncTarget& target, const absl::StatusOr<SyncResult>& result) {
  if (world_.dead()) return;  // nobody hears it
  if (ended_ && !result.ok()) return;
  if (!Went(absl::StrCat("synced operation ", target.operation), result.status())) return;
  if (result->durable_opseq < target.opseq) {
    Wrong(absl::StrFormat("a Sync to %d says that %d is durable", target.opseq.v,
                          result->durable_opseq.v));
  }
  history_.Promised(log_.size(), target.operation, target.disks);
}

void SimClients::ReadSomething() {
  if (disks_.empty()) return;
  const OpenDisk& disk = disks_.at(AnyDisk());
  const Range range = AnyRange(SizeOf(disk), kDiskBytesMost);
  std::string found(range.bytes.size(), '\xff');
  if (!Went(absl::StrFormat("read %s [%d, +%d)", disk.name.second, range.offset, found.size()),
            volume_.Read(disk.ref, range.offset, std::as_writable_bytes(std::span(found)), {}))) {
    return;
  }
  if (!model().at(disk.name).Holds(range.offset, AsBytes(found))) {
    Wrong(absl::StrFormat("%s [%d, +%d) does not read as it was written", disk.name.second,
                          range.offset, found.size()));
  }
}

}  // namespace h2bd
