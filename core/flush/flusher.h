// The flush cycle: from the cut to the barrier after the volume header (spec 04 section 6.1).
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "core/flush/data_stage.h"
#include "core/flush/flush_metrics.h"
#include "core/flush/flush_types.h"
#include "core/flush/flusher_parts.h"
#include "core/flush/pfs_stage.h"

namespace h2bd {

// How one cycle ended.
struct CycleResult {
  absl::Status status;
  OpSeq cut;  // S_k
  bool empty =
      false;  // nothing was dirty: no I/O was done, everything up to `cut` was durable already
  // Fail-stop: the volume takes no more writes (spec 04 section 6.3 point 5). `status` says why.
  bool failed_volume = false;
  // A disk is held because its device failed to read: without another cycle nothing will heal it.
  bool try_again = false;
  SyncResult sync;
};

// One cycle at a time (core/flush/group_commit.h sees to it).
//
// The order of the phases is the whole of crash safety:
//  1. every block of the new tree, freemap included, is on every device before a header points at
//  it;
//  2. nothing that a header in the ring can reach is overwritten: blocks are copy-on-write, freemap
//  blocks
//     rotate through copies that no ring header names, the header goes to a slot that is not the
//     confirmed one;
//  3. a Sync is answered after the barrier that follows the header.
// What an error does (spec 04 section 6.4):
//  - something of one disk cannot be read: that disk is held (HeldDisks), all others go on;
//  - no space, a damaged table that all share: the cycle aborts, everything stays dirty for the
//  next one;
//  - a block write or barrier 1 failed: all that no barrier has covered is written again, once; if
//  that fails, too, the volume is read-only for good (fail-stop);
//  - the header write or barrier 2 failed: its outcome is unknown, nobody is told that anything is
//  durable, the next cycle publishes again under a new id; fail-stop after three in a row.
class Flusher {
 public:
  // `header` is the header on media, of which the next one is made.
  Flusher(const FlusherParts& parts, const VolumeData& header, Tid first_modify_tid);

  // `retry_unavailable`: disks that are held because their device failed to read are tried again.
  CycleResult RunCycle(CycleReason reason, bool retry_unavailable);
  // Disks that cycles leave out because something of them is damaged.
  const HeldDisks& held() const { return held_; }

  // No cycle will run any more: changes of PFSs that no confirmed header has are answered.
  void AbandonChanges(const absl::Status& why) { pfs_stage_.Abandon(why); }

  // The next header says that the volume, of one device, has `bytes`; more than before, and served
  // by the device set already (spec 02 section 8.4). Any thread.
  void GrowTo(uint64_t bytes) { wanted_bytes_ = bytes; }

  // A cycle must publish even if no disk is dirty, e.g. after recovery.
  void RequirePublish() { publish_pending_ = true; }
  FlushMetrics& metrics() { return metrics_; }
  // Of the last confirmed header.
  Tid mirror_tid() const ABSL_LOCKS_EXCLUDED(mu_);
  SyncResult last_published() const ABSL_LOCKS_EXCLUDED(mu_);
  // Disks with changes that no confirmed header has. Any thread.
  size_t CountDirtyDisks() const ABSL_LOCKS_EXCLUDED(mu_);
  // The last kRememberedCycles cycles that had something to do, oldest first. Any thread.
  std::vector<CycleRecord> RecentCycles() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Cycle;
  CycleResult Run(Cycle& cycle);
  void Remember(const Cycle& cycle, CycleReason reason, const CycleResult& result)
      ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status Cut(Cycle& cycle);
  absl::Status FlushInodes(Cycle& cycle);
  // Data of all disks of the cycle into their trees; damaged disks are held.
  absl::Status StoreAndInstall(Cycle& cycle, const absl::flat_hash_set<DiskId>& removed);
  void HoldFaulty(Cycle& cycle, const HeldDisks::Faults& faults);
  // The generation leaves the disk; what it holds stays taken until the header is confirmed.
  void Pin(const DiskFlush& flush);
  bool IsPinned(const DiskId& disk) const;
  // An inode whose tree or meta data this cycle (or an aborted one) has changed.
  struct InodeFlush {
    Pfs* pfs = nullptr;
    std::shared_ptr<Inode> inode;
    size_t blocks = 0;  // stored for it in this cycle
    absl::Status status;
    Blockref bref;
  };
  std::vector<InodeFlush> ChangedInodes(const absl::flat_hash_set<DiskId>& removed) const;
  absl::Status FlushChangedInodes(Cycle& cycle, std::vector<InodeFlush> inodes);
  void FlushInode(InodeFlush& flush, const FlushTids& tids, Executor& executor);
  absl::Status FlushPfsRoots(Cycle& cycle);
  absl::Status FlushSuperRoot(Cycle& cycle);
  absl::Status FlushFreemap(Cycle& cycle);
  void MakeHeaderImage(Cycle& cycle);
  // P8 and P9, a second time when the first failed.
  absl::Status WriteOut(Cycle& cycle);
  absl::Status WriteOutOnce(Cycle& cycle);
  absl::Status SyncDevices();
  absl::Status PublishHeader(Cycle& cycle);
  void FinishCycle(Cycle& cycle);
  void AbandonRemoved();
  // Runs one phase: measures it, remembers the first error and where it was.
  template <class Body>
  absl::Status Phase(Cycle& cycle, FlushPhase phase, Body body);
  // Ends a cycle that has not touched a header: everything stays for the next one, unless device
  // writes have failed and fail again.
  CycleResult Aborted(Cycle& cycle, absl::Status status);
  CycleResult PublishFailed(Cycle& cycle, absl::Status status);
  CycleResult Failed(Cycle& cycle, absl::Status status, bool fail_stop);

  FlusherParts parts_;
  DataStage data_stage_;
  PfsStage pfs_stage_;
  FlushMetrics metrics_;
  std::unique_ptr<VolumeData> header_;  // last confirmed
  std::atomic<uint64_t> wanted_bytes_;  // of the address space
  uint64_t next_modify_tid_;
  int failed_publishes_ = 0;  // in a row
  bool publish_pending_ = false;
  absl::Status failure_;  // fail-stop

  // What a failed cycle leaves to the next one: disks whose generation is in no tree yet, disks
  // whose generation is in a tree that no confirmed header has, changed names.
  std::vector<std::shared_ptr<Disk>> carried_disks_;
  struct Pinned {
    std::shared_ptr<Disk> disk;
    Disk::Cost cost;
    size_t blocks = 0;
  };
  std::vector<Pinned> pinned_;
  Namespace::Applied carried_names_;
  HeldDisks held_;

  mutable absl::Mutex mu_;
  SyncResult last_published_ ABSL_GUARDED_BY(mu_);
  uint64_t cycles_run_ ABSL_GUARDED_BY(mu_) = 0;
  std::deque<CycleRecord> recent_ ABSL_GUARDED_BY(mu_);
  // Disks that a cycle has taken and no header has confirmed.
  std::set<DiskId> unconfirmed_disks_ ABSL_GUARDED_BY(mu_);
};

}  // namespace h2bd
