#include "core/flush/pfs_stage.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace h2bd {
namespace {

absl::Status NoPfs(const Pfs& pfs) {
  return absl::NotFoundError(absl::StrCat("PFS ", pfs.label(), " was removed meanwhile"));
}

}  // namespace

bool PfsStage::Take(const TransGate::Cut& cut) {
  cut_ = cut.opseq;
  waiting_ = parts_.changes.Take(cut.frozen);
  return !waiting_.empty() || !applied_.empty();
}

bool PfsStage::IsEverybodys(const absl::Status& status) const {
  if (status.ok()) return false;
  return absl::IsResourceExhausted(status) || !parts_.dio.failure().ok();
}

template <class Args, class Apply>
absl::Status PfsStage::ApplyWhileSpaceLasts(Apply apply) {
  std::vector<PfsChange> rest;
  absl::Status everybodys;
  for (PfsChange& change : std::exchange(waiting_, {})) {
    Args* const args = std::get_if<Args>(&change.args);
    if (args == nullptr || !everybodys.ok()) {
      rest.push_back(std::move(change));
      continue;
    }
    absl::Status status = apply(*args, change.outcome);
    if (IsEverybodys(status)) {
      everybodys = std::move(status);
      rest.push_back(std::move(change));
    } else {
      Settle(std::move(change), std::move(status));
    }
  }
  waiting_ = std::move(rest);
  return everybodys;
}

template <class Args, class Apply>
void PfsStage::ApplyAll(Apply apply) {
  std::vector<PfsChange> rest;
  for (PfsChange& change : std::exchange(waiting_, {})) {
    if (Args* const args = std::get_if<Args>(&change.args); args != nullptr) {
      absl::Status status = apply(*args, change.outcome);
      Settle(std::move(change), std::move(status));
    } else {
      rest.push_back(std::move(change));
    }
  }
  waiting_ = std::move(rest);
}

void PfsStage::Settle(PfsChange change, absl::Status status) {
  if (status.ok()) {
    change.outcome.seq = cut_;
    applied_.push_back(std::move(change));
  } else {
    Answer(std::move(change), std::move(status));
  }
}

void PfsStage::MakeAndRemove() {
  ApplyAll<PfsCreation>(
      [&](PfsCreation& args, PfsChangeOutcome& outcome) { return Create(args, outcome); });
  ApplyAll<PfsRollback>(
      [&](PfsRollback& args, PfsChangeOutcome& outcome) { return Rollback(args, outcome); });
  ApplyAll<PfsRemoval>([&](PfsRemoval& args, PfsChangeOutcome&) { return Delete(args); });
}

absl::StatusOr<Key> PfsStage::FreeKey(absl::string_view label, const Pfs* replaced,
                                      std::span<const Key> besides) {
  absl::StatusOr<Key> key = parts_.pfses.FreeKey(label, replaced, besides);
  if (!absl::IsResourceExhausted(key.status())) return key;
  return absl::FailedPreconditionError(key.status().message());
}

Pfs& PfsStage::AddRoot(InodeData root, Key key) {
  root.meta.name_key = key;
  return parts_.pfses.Add(
      Inode::Create(root, parts_.pfses.NewRootBref(key), parts_.store, parts_.chains));
}

absl::Status PfsStage::Create(PfsCreation& args, PfsChangeOutcome& outcome) {
  H2_ASSIGN_OR_RETURN(const Key key, FreeKey(args.root.name()));
  outcome.made = {&AddRoot(args.root, key)};
  return absl::OkStatus();
}

absl::Status PfsStage::Delete(PfsRemoval& args) {
  if (args.pfs->gone()) return NoPfs(*args.pfs);
  H2_RETURN_IF_ERROR(parts_.pfses.Remove(args.pfs->key()));
  parts_.names.Drop(*args.pfs);
  return absl::OkStatus();
}

// A new root with the snapshot's tables takes the place of the old one in the super-root, in one
// header: two roots with one pfs_clid would be one cluster for others (R11).
absl::Status PfsStage::Rollback(PfsRollback& args, PfsChangeOutcome& outcome) {
  Pfs& old = *args.pfs;
  Pfs& source = *args.snapshot;
  if (old.gone()) return NoPfs(old);
  if (source.gone()) return NoPfs(source);
  H2_ASSERT(!source.root().tree().modified());
  InodeData root = source.root().flushed_data();
  const InodeMeta from = root.meta;
  const Tid upto =
      std::max({from.pfs_lsnap_tid, source.root().bref().modify_tid,
                source.root().tree().highest_modify_tid(), old.root().meta().pfs_lsnap_tid});
  H2_ASSIGN_OR_RETURN(const Key key, FreeKey(old.label(), &old));
  H2_RETURN_IF_ERROR(parts_.pfses.Remove(old.key()));
  parts_.names.Drop(old);
  root.meta = old.root().meta();
  root.meta.pfs_inum = std::max(root.meta.pfs_inum, from.pfs_inum);
  root.meta.pfs_lsnap_tid = upto;
  root.meta.mtime = root.meta.ctime = ToMediaTime(parts_.clock.WallNow());
  root.set_name(old.label());
  Share(source, upto);
  outcome.made = {&AddRoot(root, key)};
  return absl::OkStatus();
}

absl::Status PfsStage::Change(ChangeSettings& args) {
  if (args.pfs->gone()) return NoPfs(*args.pfs);
  Inode& root = args.pfs->root();
  InodeMeta meta = root.meta();
  meta.comp_algo = args.comp_algo.value_or(meta.comp_algo);
  meta.check_algo = args.check_algo.value_or(meta.check_algo);
  meta.data_quota = args.quota_bytes.value_or(meta.data_quota);
  if (args.held.has_value()) {
    meta.uflags = *args.held ? meta.uflags | kUflagHeld : meta.uflags & ~kUflagHeld;
  }
  root.set_meta(meta);
  args.pfs->MarkDirty();
  return absl::OkStatus();
}

absl::Status PfsStage::FlushRoots(const FlushTids& tids, const HeldDisks& held,
                                  Namespace::Applied& names) {
  ApplyAll<ChangeSettings>([&](ChangeSettings& args, PfsChangeOutcome&) { return Change(args); });
  H2_RETURN_IF_ERROR(
      ApplyWhileSpaceLasts<DiskClone>([&](DiskClone& args, PfsChangeOutcome& outcome) {
        return Clone(args, outcome, tids, held, names);
      }));
  H2_RETURN_IF_ERROR(
      ApplyWhileSpaceLasts<SnapshotPfses>([&](SnapshotPfses& args, PfsChangeOutcome& outcome) {
        return Snapshot(args, outcome, tids, held);
      }));
  for (Pfs* pfs : parts_.pfses.dirty()) {
    if (!pfs->root().modified()) continue;
    const absl::Status flushed = pfs->Flush(tids, parts_.executor).status();
    if (!flushed.ok()) return Annotate(flushed, absl::StrCat("PFS ", pfs->label()));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::array<Blockref, 4>> PfsStage::FlushSuperRoot(const FlushTids& tids) {
  // A root that an aborted cycle has flushed already is not modified any more, but the super-root
  // may not know its blockref: hand in all that are dirty, unchanged ones cost nothing.
  std::vector<Blockref> roots;
  for (Pfs* pfs : parts_.pfses.dirty()) roots.push_back(pfs->root().bref());
  return parts_.pfses.FlushSuperRoot(tids, roots, parts_.executor);
}

void PfsStage::Share(Pfs& pfs, Tid upto) {
  pfs.Share(upto);
  shared_upto_ = std::max(shared_upto_, upto);
}

void PfsStage::Aborted() { parts_.changes.PutBack(std::exchange(waiting_, {})); }

void PfsStage::Confirmed(Tid mirror_tid) {
  H2_ASSERT(waiting_.empty());
  parts_.pfses.ForgetClean();
  parts_.pfses.TrimInodes();
  for (PfsChange& change : std::exchange(applied_, {})) {
    change.outcome.mirror_tid = mirror_tid;
    Answer(std::move(change));
  }
}

void PfsStage::Abandon(const absl::Status& why) {
  parts_.changes.Close(why);
  for (auto* changes : {&waiting_, &applied_}) {
    for (PfsChange& change : std::exchange(*changes, {})) Answer(std::move(change), why);
  }
}

}  // namespace h2bd
