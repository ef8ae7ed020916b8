#include "core/flush/flusher.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/volhdr/volume_size.h"

namespace h2bd {

// What one cycle knows. It dies with the cycle; what must survive a failure is in the flusher.
struct Flusher::Cycle {
  absl::Duration began;  // monotonic
  absl::Time began_wall;
  uint64_t data_blocks_before = 0, data_bytes_before = 0;
  bool retry_unavailable = false;
  FlushTids tids;
  TransGate::Cut cut;
  std::vector<DiskFlush> disks;
  std::array<Blockref, 4> sroot_blockset{};
  Freemap::Flushed freemap;
  std::unique_ptr<VolumeData> image;
  bool empty = false;
  SyncResult sync;
};

Flusher::Flusher(const FlusherParts& parts, const VolumeData& header, Tid first_modify_tid)
    : parts_(parts),
      data_stage_(parts.store, parts.cache, parts.executor, metrics_),
      pfs_stage_(parts),
      header_(std::make_unique<VolumeData>(header)),
      wanted_bytes_(header.address_space()),
      next_modify_tid_(first_modify_tid.v) {
  last_published_.mirror_tid = header.mirror_tid;
  last_published_.header_slot = parts_.ring.confirmed_slot();
  metrics_.mirror_tid.Set(static_cast<int64_t>(header.mirror_tid.v));
  metrics_.freemap_tid.Set(static_cast<int64_t>(header.freemap_tid.v));
  metrics_.header_slot.Set(parts_.ring.confirmed_slot());
  metrics_.rotations_left.Set(parts_.freemap.rotations_left(parts_.ring.entries()));
  for (size_t i = 0; i < parts_.devices.size(); ++i) {
    metrics_.devices.emplace_back(parts_.devices.device(i));
  }
}

template <class Body>
absl::Status Flusher::Phase(Cycle& cycle, FlushPhase phase, Body body) {
  const auto index = static_cast<size_t>(phase);
  const absl::Duration began = parts_.clock.MonotonicNow();
  const absl::Status status = body();
  const absl::Duration took = parts_.clock.MonotonicNow() - began;
  // A cycle that finds nothing to do is no cycle: its phases are not counted.
  if (cycle.empty) return status;
  cycle.sync.phases[index] += took;
  metrics_.phase_duration[index].Observe(took);
  if (status.ok()) return status;
  metrics_.CountError(phase, status);
  parts_.logger.Error("flush phase failed", {{"phase", std::string(Name(phase))},
                                             {"mirror_tid", absl::StrCat(cycle.tids.mirror_tid.v)},
                                             {"error", status.ToString()}});
  return Annotate(status, absl::StrCat("flush phase ", Name(phase)));
}

CycleResult Flusher::RunCycle(CycleReason reason, bool retry_unavailable) {
  Cycle cycle;
  cycle.retry_unavailable = retry_unavailable;
  cycle.began = parts_.clock.MonotonicNow();
  if (!failure_.ok()) return Failed(cycle, failure_, /*fail_stop=*/true);
  cycle.began_wall = parts_.clock.WallNow();
  cycle.data_blocks_before = metrics_.data_blocks.value();
  cycle.data_bytes_before = metrics_.data_bytes.value();
  CycleResult result = Run(cycle);
  if (!result.empty) Remember(cycle, reason, result);
  return result;
}

void Flusher::Remember(const Cycle& cycle, CycleReason reason, const CycleResult& result) {
  metrics_.cycle_reasons[static_cast<size_t>(reason)].Add();
  CycleRecord record;
  record.reason = reason;
  record.began = cycle.began_wall;
  record.took = parts_.clock.MonotonicNow() - cycle.began;
  record.status = result.status;
  record.cut = cycle.cut.opseq;
  record.mirror_tid = cycle.tids.mirror_tid;
  record.header_slot = cycle.sync.header_slot;
  record.disks = cycle.disks.size();
  record.data_blocks = metrics_.data_blocks.value() - cycle.data_blocks_before;
  record.data_bytes = metrics_.data_bytes.value() - cycle.data_bytes_before;
  record.phases = cycle.sync.phases;
  absl::MutexLock lock(&mu_);
  record.number = ++cycles_run_;
  recent_.push_back(std::move(record));
  if (recent_.size() > kRememberedCycles) recent_.pop_front();
}

CycleResult Flusher::Run(Cycle& cycle) {
  // The id of this publish: above every header on media, valid or not (F-216, F-218).
  const uint64_t last_tid = std::max(header_->mirror_tid.v, parts_.ring.highest_tid_seen().v);
  cycle.tids = {Tid(last_tid + 1), Tid(next_modify_tid_)};

  absl::Status status = Phase(cycle, FlushPhase::kCut, [&] { return Cut(cycle); });
  if (cycle.empty) {
    metrics_.cycles_empty.Add();
    CycleResult result{.cut = cycle.cut.opseq, .empty = true, .sync = last_published()};
    result.sync.durable_opseq = cycle.cut.opseq;
    return result;
  }
  if (last_tid >= kTidLimit - 1 || next_modify_tid_ >= kTidLimit) {
    return Failed(cycle, absl::FailedPreconditionError("transaction ids are used up"), true);
  }
  ++next_modify_tid_;
  parts_.store.metrics().depth.Reset();
  const auto phase = [&](FlushPhase which, absl::Status (Flusher::*body)(Cycle&)) {
    if (status.ok()) status = Phase(cycle, which, [&] { return (this->*body)(cycle); });
  };
  phase(FlushPhase::kInodes, &Flusher::FlushInodes);
  phase(FlushPhase::kPfsRoots, &Flusher::FlushPfsRoots);
  phase(FlushPhase::kSuperRoot, &Flusher::FlushSuperRoot);
  // The seal: no block is allocated from here to the end of the cycle (F-205, F-207).
  phase(FlushPhase::kFreemap, &Flusher::FlushFreemap);
  metrics_.max_depth.Set(parts_.store.metrics().depth.value());
  // Up to here nothing but unreferenced blocks was written: the next cycle can go on from here
  // (I-26).
  if (!status.ok()) return Aborted(cycle, std::move(status));

  Phase(cycle, FlushPhase::kHeaderImage, [&] {
    MakeHeaderImage(cycle);
    return absl::OkStatus();
  }).IgnoreError();
  status = WriteOut(cycle);
  if (!status.ok()) return Failed(cycle, std::move(status), /*fail_stop=*/true);
  status = PublishHeader(cycle);
  if (!status.ok()) return PublishFailed(cycle, std::move(status));

  FinishCycle(cycle);
  return CycleResult{
      .cut = cycle.cut.opseq, .try_again = held_.AnyUnavailable(), .sync = cycle.sync};
}

absl::Status Flusher::Cut(Cycle& cycle) {
  parts_.freemap.BeginCycle();
  parts_.store.readers().TryAdvance();
  cycle.cut = parts_.gate.TakeCut();
  const bool pfs_changes = pfs_stage_.Take(cycle.cut);
  DirtyRegistry::Taken taken = parts_.dirty.Take(cycle.cut.frozen);
  held_.Note(std::move(taken.groups));
  std::vector<std::shared_ptr<Disk>> disks = std::move(taken.disks);
  const auto add = [&disks](std::shared_ptr<Disk> disk) {
    if (std::find(disks.begin(), disks.end(), disk) == disks.end())
      disks.push_back(std::move(disk));
  };
  for (std::shared_ptr<Disk>& disk : held_.ToTryAgain(disks, cycle.retry_unavailable)) {
    add(std::move(disk));
  }
  for (std::shared_ptr<Disk>& disk : std::exchange(carried_disks_, {})) add(std::move(disk));
  for (std::shared_ptr<Disk>& disk : disks) {
    std::shared_ptr<const DirtyGeneration> frozen = disk->Freeze(cycle.cut.frozen);
    if (frozen != nullptr) cycle.disks.push_back({std::move(disk), std::move(frozen)});
  }
  {
    absl::MutexLock lock(&mu_);
    for (const DiskFlush& flush : cycle.disks) unconfirmed_disks_.insert(flush.disk->id());
  }
  const bool grows = wanted_bytes_ > header_->address_space();
  cycle.empty = cycle.disks.empty() && pinned_.empty() && !publish_pending_ && !pfs_changes &&
                !grows && carried_names_.touched.empty() &&
                !parts_.names.HasPending(cycle.cut.frozen);
  return absl::OkStatus();
}

absl::Status Flusher::FlushInodes(Cycle& cycle) {
  pfs_stage_.MakeAndRemove();
  std::erase_if(carried_names_.touched, [](const auto& touched) { return touched.first->gone(); });
  H2_RETURN_IF_ERROR(parts_.names.Apply(cycle.cut.frozen, cycle.tids, carried_names_));
  absl::flat_hash_set<DiskId> removed;
  for (const auto& [pfs, inum] : carried_names_.removed) removed.insert(DiskId{pfs->key(), inum});
  H2_RETURN_IF_ERROR(StoreAndInstall(cycle, removed));
  return FlushChangedInodes(cycle, ChangedInodes(removed));
}

absl::Status Flusher::StoreAndInstall(Cycle& cycle, const absl::flat_hash_set<DiskId>& removed) {
  // A disk whose deletion is in this cut has nothing to write. (One that is deleted after the cut
  // has: until the next header it exists, and what was acknowledged for it is in this one.)
  std::vector<DiskFlush> alive;
  for (const DiskFlush& flush : cycle.disks) {
    if (!removed.contains(flush.disk->id()) && !flush.disk->pfs().gone()) alive.push_back(flush);
  }
  H2_ASSIGN_OR_RETURN(DataStage::Stored stored, data_stage_.Store(alive, cycle.tids));
  HeldDisks::Faults faults = held_.WithGroups(std::move(stored.faults));
  // Its removal is done: held, it would be put back into the index by the cycle that heals it.
  for (const DiskId& id : removed) faults.erase(id);
  for (const DiskFlush& flush : cycle.disks) {
    if (flush.disk->pfs().gone()) faults.erase(flush.disk->id());
  }
  for (const DiskFlush& flush : alive) {
    // The inode goes into the next header: with it would go what a held disk must keep back.
    const auto fault = faults.find(flush.disk->id());
    if (fault == faults.end() || !data_stage_.TreeIsAhead(fault->first)) continue;
    if (!IsPinned(fault->first) && flush.disk->inode().bref().data_off.radix() != 0) continue;
    data_stage_.Drop(std::move(stored));
    return fault->second;
  }
  H2_RETURN_IF_ERROR(data_stage_.Install(alive, std::move(stored), faults, cycle.tids));
  for (const DiskFlush& flush : cycle.disks) {
    if (!faults.contains(flush.disk->id())) Pin(flush);
  }
  HoldFaulty(cycle, faults);
  return absl::OkStatus();
}

void Flusher::HoldFaulty(Cycle& cycle, const HeldDisks::Faults& faults) {
  std::vector<std::shared_ptr<Disk>> tried;
  for (const DiskFlush& flush : cycle.disks) tried.push_back(flush.disk);
  for (const std::shared_ptr<Disk>& disk :
       held_.Settle(tried, faults, last_published().durable_opseq)) {
    parts_.budget.SetAside(disk->memory_account());
    metrics_.CountError(FlushPhase::kInodes, faults.at(disk->id()));
    parts_.logger.Error(
        "a disk is held back: its changes cannot be stored until the damaged range is overwritten "
        "or discarded, or the disk deleted; all other disks go on",
        {{"pfs", disk->pfs().label()},
         {"inode", absl::StrCat(disk->id().inum.v)},
         {"error", std::string(faults.at(disk->id()).message())}});
  }
  std::erase_if(cycle.disks,
                [&](const DiskFlush& flush) { return faults.contains(flush.disk->id()); });
  metrics_.held_disks.Set(static_cast<int64_t>(held_.size()));
  // A new disk that is held must exist all the same: its name is in the directory already.
  for (const std::shared_ptr<Disk>& disk : tried) {
    if (!faults.contains(disk->id()) || disk->inode().bref().data_off.radix() != 0) continue;
    carried_names_.touched.emplace_back(&disk->pfs(), disk->shared_inode());
  }
}

void Flusher::Pin(const DiskFlush& flush) {
  const size_t blocks = flush.frozen->blocks.size();
  parts_.budget.TakeBack(flush.disk->memory_account());  // if it had been held
  pinned_.push_back({flush.disk, flush.disk->Installed(), blocks});
  metrics_.pinned_bytes.Add(pinned_.back().cost.memory_bytes);
}

bool Flusher::IsPinned(const DiskId& disk) const {
  return std::any_of(pinned_.begin(), pinned_.end(),
                     [&](const Pinned& pinned) { return pinned.disk->id() == disk; });
}

std::vector<Flusher::InodeFlush> Flusher::ChangedInodes(
    const absl::flat_hash_set<DiskId>& removed) const {
  std::map<DiskId, InodeFlush> changed;
  for (const Pinned& pinned : pinned_) {
    InodeFlush& flush = changed[pinned.disk->id()];
    flush.pfs = &pinned.disk->pfs();
    flush.inode = pinned.disk->shared_inode();
    flush.blocks += pinned.blocks;
  }
  for (const auto& [pfs, inode] : carried_names_.touched) {
    const DiskId id{pfs->key(), inode->meta().inum};
    // The tree of a held disk may be half changed, unless the inode is new.
    if (held_.contains(id) && inode->bref().data_off.radix() != 0) continue;
    InodeFlush& flush = changed[id];
    flush.pfs = pfs;
    flush.inode = inode;
  }
  std::vector<InodeFlush> inodes;
  for (auto& [id, flush] : changed) {
    if (!removed.contains(id) && !flush.pfs->gone()) inodes.push_back(std::move(flush));
  }
  return inodes;
}

absl::Status Flusher::FlushChangedInodes(Cycle& cycle, std::vector<InodeFlush> inodes) {
  // Many small trees at once, each by one worker; large ones one after the other, each by all.
  constexpr size_t kSmallTree = 256;
  const auto large = std::partition(inodes.begin(), inodes.end(), [](const InodeFlush& flush) {
    return flush.blocks <= kSmallTree;
  });
  ParallelFor(parts_.executor, static_cast<size_t>(large - inodes.begin()), [&](size_t i) {
    InlineExecutor inline_executor;
    FlushInode(inodes[i], cycle.tids, inline_executor);
  });
  for (auto it = large; it != inodes.end(); ++it) FlushInode(*it, cycle.tids, parts_.executor);
  for (InodeFlush& flush : inodes) {
    // Also when nothing changed just now: a cycle that failed may have flushed it and not indexed
    // it.
    if (flush.status.ok()) flush.status = flush.pfs->PutIndex(flush.bref);
    if (flush.status.ok()) flush.inode->Named();
    (flush.status.ok() ? metrics_.inodes_flushed : metrics_.inodes_failed).Add();
  }
  for (const InodeFlush& flush : inodes) {
    H2_RETURN_IF_ERROR(Annotate(flush.status, absl::StrCat("inode ", flush.inode->meta().inum.v,
                                                           " of PFS ", flush.pfs->label())));
  }
  return absl::OkStatus();
}

void Flusher::FlushInode(InodeFlush& flush, const FlushTids& tids, Executor& executor) {
  const absl::Duration began = parts_.clock.MonotonicNow();
  const absl::StatusOr<Inode::Flushed> flushed = flush.inode->Flush(tids, executor);
  flush.status = flushed.status();
  if (flushed.ok()) flush.bref = flushed->bref;
  metrics_.inode_duration.Observe(parts_.clock.MonotonicNow() - began);
}

absl::Status Flusher::FlushPfsRoots(Cycle& cycle) {
  const absl::Status flushed = pfs_stage_.FlushRoots(cycle.tids, held_, carried_names_);
  // What is written from now on is told from what copies share (F-130).
  next_modify_tid_ = std::max(next_modify_tid_, pfs_stage_.shared_upto().v + 1);
  return flushed;
}

absl::Status Flusher::FlushSuperRoot(Cycle& cycle) {
  H2_ASSIGN_OR_RETURN(cycle.sroot_blockset, pfs_stage_.FlushSuperRoot(cycle.tids));
  return absl::OkStatus();
}

absl::Status Flusher::FlushFreemap(Cycle& cycle) {
  if (const uint64_t bytes = wanted_bytes_; bytes > parts_.freemap.total_size()) {
    parts_.freemap.Grow(bytes, AllocatorSizeFor(*header_, bytes));
  }
  H2_ASSIGN_OR_RETURN(cycle.freemap, parts_.freemap.Flush(cycle.tids, parts_.ring.entries()));
  return absl::OkStatus();
}

void Flusher::MakeHeaderImage(Cycle& cycle) {
  cycle.image = std::make_unique<VolumeData>(*header_);
  cycle.image->sroot_blockset = cycle.sroot_blockset;
  cycle.image->freemap_blockset = cycle.freemap.blockset;
  if (parts_.freemap.total_size() > header_->address_space()) {
    SetVolumeBytes(*cycle.image, parts_.freemap.total_size());
  }
  cycle.image->allocator_free = cycle.freemap.allocator_free;
  // Equal in every header of ours, so that no reference mount ever needs recovery (I-22, F-208).
  cycle.image->mirror_tid = cycle.tids.mirror_tid;
  cycle.image->freemap_tid = cycle.tids.mirror_tid;
  SealVolumeData(*cycle.image);
  metrics_.finalized_headers.Add();
}

absl::Status Flusher::WriteOutOnce(Cycle& cycle) {
  H2_RETURN_IF_ERROR(Phase(cycle, FlushPhase::kWriteout, [&] { return parts_.dio.Drain(); }));
  return Phase(cycle, FlushPhase::kBarrier1, [&] { return SyncDevices(); });
}

absl::Status Flusher::SyncDevices() {
  return parts_.devices.SyncAll(
      [&](size_t device, absl::Duration took) { metrics_.devices[device].barrier1.Observe(took); });
}

absl::Status Flusher::WriteOut(Cycle& cycle) {
  absl::Status status = WriteOutOnce(cycle);
  if (!status.ok()) {
    // A barrier that succeeds now would prove nothing about what was written before (F-224).
    metrics_.rewrites.Add();
    parts_.logger.Warning("everything that no barrier has covered is written again",
                          {{"mirror_tid", absl::StrCat(cycle.tids.mirror_tid.v)}});
    parts_.dio.WriteAgain();
    status = WriteOutOnce(cycle);
  }
  if (status.ok()) parts_.dio.Confirm();
  return status;
}

absl::Status Flusher::PublishHeader(Cycle& cycle) {
  HeaderRing::PublishTimes times{};
  const absl::StatusOr<int> slot = parts_.ring.Publish(*cycle.image, &times);
  const auto observe = [&](FlushPhase phase, absl::Duration took) {
    cycle.sync.phases[static_cast<size_t>(phase)] = took;
    metrics_.phase_duration[static_cast<size_t>(phase)].Observe(took);
  };
  observe(FlushPhase::kHeader, times.header);
  observe(FlushPhase::kBarrier2, times.barrier2);
  if (times.header > absl::ZeroDuration()) metrics_.header_write.Observe(times.header);
  if (times.barrier2 > absl::ZeroDuration()) {
    metrics_.devices.front().barrier2.Observe(times.barrier2);
  }
  parts_.freemap.Published(cycle.tids.mirror_tid, slot.ok());
  if (slot.ok()) {
    cycle.sync.header_slot = *slot;
    return absl::OkStatus();
  }
  const FlushPhase failed = times.barrier_failed ? FlushPhase::kBarrier2 : FlushPhase::kHeader;
  metrics_.CountError(failed, slot.status());
  return Annotate(slot.status(), "publishing the volume header");
}

CycleResult Flusher::PublishFailed(Cycle& cycle, absl::Status status) {
  constexpr int kPublishesMax = 3;  // fault row 9
  ++failed_publishes_;
  metrics_.outcome_unknown.Set(1);
  metrics_.failed_publishes.Set(failed_publishes_);
  parts_.logger.Error("volume header not confirmed; its outcome is unknown",
                      {{"mirror_tid", absl::StrCat(cycle.tids.mirror_tid.v)},
                       {"failed_in_a_row", absl::StrCat(failed_publishes_)},
                       {"error", status.ToString()}});
  const bool no_slot_left = ReasonOf(status) == kReasonReadOnlyFailstop;
  return Failed(cycle, std::move(status), no_slot_left || failed_publishes_ >= kPublishesMax);
}

// What an aborted cycle did to the tree of a removed disk is of no use any more; somebody may have
// the disk open still.
void Flusher::AbandonRemoved() {
  std::set<DiskId> removed;
  for (const auto& [pfs, inum] : carried_names_.removed) removed.insert(DiskId{pfs->key(), inum});
  for (const Pinned& pinned : pinned_) {
    if (removed.contains(pinned.disk->id()) || pinned.disk->pfs().gone()) {
      pinned.disk->inode().tree().Abandon();
    }
  }
  metrics_.inodes_deleted.Add(carried_names_.removed.size());
  carried_names_.removed.clear();
}

void Flusher::FinishCycle(Cycle& cycle) {
  header_ = std::move(cycle.image);
  publish_pending_ = false;
  failed_publishes_ = 0;
  held_.Published();
  metrics_.held_disks.Set(static_cast<int64_t>(held_.size()));
  metrics_.failed_publishes.Set(0);
  metrics_.outcome_unknown.Set(0);
  AbandonRemoved();
  std::erase_if(carried_names_.touched, [&](const auto& touched) {
    const auto& [pfs, inode] = touched;
    return !inode->modified() || !held_.contains(DiskId{pfs->key(), inode->meta().inum});
  });
  uint64_t drained = 0;
  for (const Pinned& pinned : std::exchange(pinned_, {})) {
    const auto bytes = static_cast<uint64_t>(pinned.cost.memory_bytes);
    parts_.budget.Release(bytes, &pinned.disk->memory_account());
    parts_.freemap.Unreserve(pinned.cost.reserved_bytes);
    drained += bytes;
  }
  parts_.budget.NoteDrained(drained, parts_.clock.MonotonicNow() - cycle.began);
  metrics_.pinned_bytes.Set(0);

  cycle.sync.durable_opseq = cycle.cut.opseq;
  cycle.sync.mirror_tid = header_->mirror_tid;
  cycle.sync.ran_cycle = true;
  metrics_.cycles_ok.Add();
  metrics_.cycle_duration.Observe(parts_.clock.MonotonicNow() - cycle.began);
  metrics_.header_slot.Set(cycle.sync.header_slot);
  metrics_.mirror_tid.Set(static_cast<int64_t>(header_->mirror_tid.v));
  metrics_.freemap_tid.Set(static_cast<int64_t>(header_->freemap_tid.v));
  metrics_.rotations_left.Set(parts_.freemap.rotations_left(parts_.ring.entries()));
  {
    absl::MutexLock lock(&mu_);
    last_published_ = cycle.sync;
    last_published_.ran_cycle = false;
    std::erase_if(unconfirmed_disks_, [&](const DiskId& disk) { return !held_.contains(disk); });
  }
  pfs_stage_.Confirmed(header_->mirror_tid);
}

CycleResult Flusher::Aborted(Cycle& cycle, absl::Status status) {
  if (parts_.dio.failure().ok()) return Failed(cycle, std::move(status), /*fail_stop=*/false);
  // A device write has failed in the middle: what is in the trees must reach the media all the
  // same, or no later header may name it.
  parts_.dio.Drain().IgnoreError();
  metrics_.rewrites.Add();
  parts_.dio.WriteAgain();
  const absl::Status again = parts_.dio.Drain();
  return Failed(cycle, again.ok() ? std::move(status) : again, /*fail_stop=*/!again.ok());
}

CycleResult Flusher::Failed(Cycle& cycle, absl::Status status, bool fail_stop) {
  CycleResult result{.cut = cycle.cut.opseq};
  // Every disk of the cycle stays as it is; the next cycle takes it again.
  metrics_.inodes_requeued.Add(cycle.disks.size());
  for (const DiskFlush& flush : cycle.disks) carried_disks_.push_back(flush.disk);
  pfs_stage_.Aborted();
  if (!fail_stop) {
    metrics_.cycles_aborted.Add();
    publish_pending_ = true;
    result.status = std::move(status);
    return result;
  }
  if (failure_.ok()) {
    metrics_.cycles_error.Add();
    failure_ = WithReason(
        absl::FailedPreconditionError(absl::StrCat(
            "the volume takes no more writes after a failed commit; reads go on. First error: ",
            status.message())),
        kReasonReadOnlyFailstop);
    parts_.logger.Error("fail-stop: the volume is read-only until it is opened again",
                        {{"error", status.ToString()}});
    pfs_stage_.Abandon(failure_);
  }
  result.status = failure_;
  result.cut = parts_.gate.opseq();
  result.failed_volume = true;
  return result;
}

}  // namespace h2bd
