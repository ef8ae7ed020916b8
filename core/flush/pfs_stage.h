// What a cycle does with PFSs as a whole: changes of them, their roots and the super-root (spec 04
// section 6.1, P3 and P4; spec 03 section 11).
#pragma once

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "core/flush/flusher_parts.h"
#include "core/flush/held_disks.h"

namespace h2bd {

// The flusher's alone. Its cost depends on the PFSs that have changed, not on how many there are.
//
// Each change is applied to the trees in memory as a whole or not at all, so it is in one header as
// a whole (I-09). What is wrong with one change (a name that is gone, a damaged table, a held disk)
// ends that change and not the cycle; what aborts the cycle leaves it for the next one.
class PfsStage {
 public:
  explicit PfsStage(const FlusherParts& parts) : parts_(parts) {}

  // The changes that the cut covers belong to this cycle; whether there are any, or are any left.
  bool Take(const TransGate::Cut& cut);
  // P2, first: PFSs come and go. Afterwards nothing of a PFS that is gone is to be flushed.
  void MakeAndRemove();
  // P3, first: copies. The cycle has flushed and indexed all inodes that are not in `held` (F-106).
  // Inodes that lose their name are added to `names`. After it the roots of all PFSs that have
  // changed.
  absl::Status FlushRoots(const FlushTids& tids, const HeldDisks& held, Namespace::Applied& names);
  // P4; returns sroot_blockset of the next header.
  absl::StatusOr<std::array<Blockref, 4>> FlushSuperRoot(const FlushTids& tids);
  // The highest modify_tid up to which copies share; ids to come lie above it (F-130).
  Tid shared_upto() const { return shared_upto_; }

  // The cycle has failed: what was not applied waits for the next one.
  void Aborted();
  // The header that has all of it is confirmed: callers are answered.
  void Confirmed(Tid mirror_tid);
  // No cycle will run any more.
  void Abandon(const absl::Status& why);

 private:
  // Applies the changes of type `Args` that wait. An error that `apply` gives ends the change.
  template <class Args, class Apply>
  void ApplyAll(Apply apply);
  // The same for changes that store blocks: an error that is everybody's (no space, a device that
  // fails to write) ends the cycle instead, and is returned.
  template <class Args, class Apply>
  absl::Status ApplyWhileSpaceLasts(Apply apply);
  void Settle(PfsChange change, absl::Status status);
  bool IsEverybodys(const absl::Status& status) const;
  // A free key for a label; one that is missing ends the change, not the cycle.
  absl::StatusOr<Key> FreeKey(absl::string_view label, const Pfs* replaced = nullptr,
                              std::span<const Key> besides = {});
  absl::Status Create(PfsCreation& args, PfsChangeOutcome& outcome);
  absl::Status Delete(PfsRemoval& args);
  absl::Status Rollback(PfsRollback& args, PfsChangeOutcome& outcome);
  absl::Status Change(ChangeSettings& args);
  // --- pfs_copies.cc
  absl::Status Clone(DiskClone& args, PfsChangeOutcome& outcome, const FlushTids& tids,
                     const HeldDisks& held, Namespace::Applied& names);
  absl::StatusOr<std::shared_ptr<Inode>> CloneSource(const DiskClone& args, const HeldDisks& held);
  // The inode that the clone takes the name of; null where there is none that can be removed.
  absl::StatusOr<std::shared_ptr<Inode>> Replaced(const DiskClone& args, const HeldDisks& held);
  // Gives the clone its name, and removes `replaced`. On error nothing has changed.
  absl::Status NameClone(const DiskClone& args, Inum inum, Inode* replaced, const FlushTids& tids);
  absl::Status Snapshot(SnapshotPfses& args, PfsChangeOutcome& outcome, const FlushTids& tids,
                        const HeldDisks& held);
  // Flushes the PFS for a copy of its blockset, which it shares from then on; returns up to which
  // id.
  absl::StatusOr<Tid> FlushToShare(Pfs& pfs, const FlushTids& tids);
  // Blocks of `pfs` up to `upto` have, or may have, a second owner.
  void Share(Pfs& pfs, Tid upto);
  Pfs& AddRoot(InodeData root, Key key);

  const FlusherParts parts_;
  OpSeq cut_;
  std::vector<PfsChange> waiting_;  // of this cycle
  std::vector<PfsChange> applied_;  // in memory, in no confirmed header
  Tid shared_upto_;
};

}  // namespace h2bd
