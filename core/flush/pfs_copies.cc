// Copies that share blocks: clones of disks and snapshots (spec 03 sections 11.6 and 11.7, R12).
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/flush/pfs_stage.h"

namespace h2bd {

namespace {

absl::Status Removed(const Pfs& pfs) {
  return absl::NotFoundError(absl::StrCat("PFS ", pfs.label(), " was removed meanwhile"));
}

InodeData NewCloneInode(Inum inum, const InodeMeta& parent, const InodeData& from, absl::Time now) {
  InodeData clone = NewDiskInode(inum, parent, from.meta.size, now);
  clone.meta.op_flags = from.meta.op_flags;
  clone.meta.comp_algo = from.meta.comp_algo;
  clone.meta.check_algo = from.meta.check_algo;
  clone.u = from.u;
  return clone;
}

InodeData NewSnapshotRoot(const InodeData& from, const SnapshotPfses& args,
                          const SnapshotPfses::One& one, absl::Time now) {
  InodeData root;
  InodeMeta& meta = root.meta;
  meta.type = ObjectType::kDirectory;
  meta.op_flags = kOpFlagPfsroot;
  meta.uflags = args.held ? kUflagHeld : 0;
  meta.ctime = meta.mtime = meta.btime = ToMediaTime(now);
  meta.uid = from.meta.uid;
  meta.gid = from.meta.gid;
  meta.mode = from.meta.mode;
  meta.comp_algo = from.meta.comp_algo;
  meta.check_algo = from.meta.check_algo;
  meta.inum = kInumPfsRoot;
  meta.iparent = kInumPfsRoot;
  meta.nlinks = 1;
  meta.pfs_type = kPfsTypeMaster;
  meta.pfs_subtype = args.subtype;
  meta.pfs_inum = from.meta.pfs_inum;
  meta.pfs_clid = one.clid;  // its own: equal ones would be nodes of one cluster (R11)
  meta.pfs_fsid = one.fsid;
  meta.pfs_lsnap_tid = from.meta.pfs_lsnap_tid;
  root.set_name(one.label);
  root.u = from.u;
  return root;
}

}  // namespace

absl::StatusOr<std::shared_ptr<Inode>> PfsStage::CloneSource(const DiskClone& args,
                                                             const HeldDisks& held) {
  for (const Pfs* pfs : {args.from, args.to}) {
    if (pfs->gone()) return Removed(*pfs);
  }
  const std::string shown =
      absl::StrCat("disk inode ", args.inum.v, " of PFS ", args.from->label());
  H2_RETURN_IF_ERROR(Annotate(held.WhyHeld(DiskId{args.from->key(), args.inum}), shown));
  H2_ASSIGN_OR_RETURN(std::shared_ptr<Inode> source, args.from->GetInode(args.inum));
  if (source->meta().type != ObjectType::kRegfile) {
    return absl::InvalidArgumentError(absl::StrCat(shown, " is not a regular file"));
  }
  // The cycle has flushed all that is not held.
  H2_ASSERT(!source->modified());
  return source;
}

absl::StatusOr<std::shared_ptr<Inode>> PfsStage::Replaced(const DiskClone& args,
                                                          const HeldDisks& held) {
  if (!args.replaces.has_value()) return nullptr;
  H2_RETURN_IF_ERROR(Annotate(held.WhyHeld(DiskId{args.to->key(), *args.replaces}),
                              absl::StrCat("the disk that is to be rolled back, ", args.name)));
  absl::StatusOr<std::shared_ptr<Inode>> found = args.to->GetInode(*args.replaces);
  if (absl::IsUnavailable(found.status())) return found.status();
  // One that is missing or damaged stays where it is, as when its disk is deleted (P6).
  if (!found.ok()) return nullptr;
  if ((*found)->meta().nlinks > 1) {
    return absl::FailedPreconditionError(absl::StrCat(
        args.name, " has further names (hard links), which would keep the old content"));
  }
  return found;
}

absl::Status PfsStage::Clone(DiskClone& args, PfsChangeOutcome& outcome, const FlushTids& tids,
                             const HeldDisks& held, Namespace::Applied& names) {
  H2_ASSIGN_OR_RETURN(const std::shared_ptr<Inode> source, CloneSource(args, held));
  H2_ASSIGN_OR_RETURN(const std::shared_ptr<Inode> replaced, Replaced(args, held));
  Pfs& to = *args.to;
  const Inum inum = to.NewInum();
  H2_RETURN_IF_ERROR(to.root().tree().CheckPut(Key(inum.v), 0));
  if (!args.replaces.has_value()) {
    const absl::Status place = FreeDirentKey(to.root().tree(), args.name).status();
    // No space is everybody's matter, a full bucket of names is not.
    if (absl::IsResourceExhausted(place)) return absl::FailedPreconditionError(place.message());
    H2_RETURN_IF_ERROR(place);
  }
  const InodeMeta parent = to.root().meta();
  Blockref bref;
  bref.type = BrefType::kInode;
  bref.key = Key(inum.v);
  bref.set_methods(RealCheckMethod(parent.check_method()), parent.comp_method());
  const std::shared_ptr<Inode> clone =
      Inode::Create(NewCloneInode(inum, parent, source->flushed_data(), parts_.clock.WallNow()),
                    bref, parts_.store, parts_.chains, to.root().horizon());
  // From here on what both name is nobody's own, whatever becomes of the rest (R12).
  const Tid upto = std::max(source->bref().modify_tid, source->tree().highest_modify_tid());
  Share(*args.from, upto);
  Share(to, upto);
  H2_ASSIGN_OR_RETURN(const Inode::Flushed flushed, clone->Flush(tids, parts_.executor));
  const absl::Status indexed = to.PutIndex(flushed.bref);
  if (!indexed.ok()) {
    to.root().tree().Drop(flushed.bref);
    return indexed;
  }
  const absl::Status named = NameClone(args, inum, replaced.get(), tids);
  if (!named.ok()) {
    // The tables on the way are modified, hence in memory: this does not read.
    H2_ASSERT(to.EraseIndex(inum).ok());
    return named;
  }
  if (replaced != nullptr) names.removed.emplace_back(&to, *args.replaces);
  clone->Named();
  to.Adopt(inum, clone);
  outcome.inum = inum;
  return absl::OkStatus();
}

absl::Status PfsStage::NameClone(const DiskClone& args, Inum inum, Inode* replaced,
                                 const FlushTids& tids) {
  Pfs& to = *args.to;
  InodeMeta meta = to.root().meta();
  meta.mtime = ToMediaTime(parts_.clock.WallNow());
  if (!args.replaces.has_value()) {
    H2_RETURN_IF_ERROR(
        InsertDirent(to.root(), parts_.store, args.name, inum, ObjectType::kRegfile, tids));
    to.root().set_meta(meta);
    return absl::OkStatus();
  }
  H2_RETURN_IF_ERROR(RelinkDirent(to.root(), parts_.store, args.name, inum, tids));
  if (replaced != nullptr) {
    const absl::Status removed = to.RemoveInode(*args.replaces, *replaced);
    if (!removed.ok()) {
      H2_ASSERT(RelinkDirent(to.root(), parts_.store, args.name, *args.replaces, tids).ok());
      return removed;
    }
  }
  to.root().set_meta(meta);
  return absl::OkStatus();
}

absl::StatusOr<Tid> PfsStage::FlushToShare(Pfs& pfs, const FlushTids& tids) {
  Inode& root = pfs.root();
  const absl::Status tables = root.tree().Flush(tids, parts_.executor);
  if (!tables.ok()) return Annotate(tables, absl::StrCat("PFS ", pfs.label()));
  const Tid upto =
      std::max({tids.modify_tid, root.tree().highest_modify_tid(), root.meta().pfs_lsnap_tid});
  Share(pfs, upto);
  H2_RETURN_IF_ERROR(pfs.Flush(tids, parts_.executor).status());
  return upto;
}

absl::Status PfsStage::Snapshot(SnapshotPfses& args, PfsChangeOutcome& outcome,
                                const FlushTids& tids, const HeldDisks& held) {
  std::vector<Key> keys;
  for (const SnapshotPfses::One& one : args.of) {
    if (one.pfs->gone()) return Removed(*one.pfs);
    // Its changes are older than the snapshot and would be missing in it.
    H2_RETURN_IF_ERROR(Annotate(held.WhyHeldIn(one.pfs->key()),
                                absl::StrCat("no snapshot of PFS ", one.pfs->label())));
    H2_ASSIGN_OR_RETURN(const Key key, FreeKey(one.label, nullptr, keys));
    keys.push_back(key);
  }
  for (const SnapshotPfses::One& one : args.of) {
    H2_RETURN_IF_ERROR(FlushToShare(*one.pfs, tids).status());
  }
  // All of them from here on: nothing fails any more.
  const absl::Time now = parts_.clock.WallNow();
  for (size_t i = 0; i < keys.size(); ++i) {
    const SnapshotPfses::One& one = args.of[i];
    outcome.made.push_back(
        &AddRoot(NewSnapshotRoot(one.pfs->root().flushed_data(), args, one, now), keys[i]));
  }
  return absl::OkStatus();
}

}  // namespace h2bd
