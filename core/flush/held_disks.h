// Quarantine: disks that a cycle had to leave out because a block or a table of theirs cannot be
// read (spec 04 F-145 and section 8.5, fault row 13).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/strategy/disk.h"

namespace h2bd {

// A disk is held as a whole, with every disk that shares a transaction with what is held of it: so
// a header has each operation wholly or not at all (I-09), and each disk as of one moment. What is
// held stays dirty in memory, can be read, and is tried again when something of it has changed
// (overwriting or discarding the damaged range repairs it, deleting the disk ends it), or in every
// cycle when it was the device that failed. All other disks go on.
class HeldDisks {
 public:
  using Faults = std::map<DiskId, absl::Status>;

  // --- the flusher ------------------------------------------------------------------------------
  // Transactions over several disks that the cycle has frozen.
  void Note(std::set<DiskGroup> groups);
  // The held disks that a cycle with these changed disks must try again: all or none, as they may
  // hang together. `retry_unavailable`: also because the device may read by now what it could not.
  std::vector<std::shared_ptr<Disk>> ToTryAgain(std::span<const std::shared_ptr<Disk>> changed,
                                                bool retry_unavailable) const
      ABSL_LOCKS_EXCLUDED(mu_);
  // `faults`, and every disk that hangs together with one of them.
  Faults WithGroups(Faults faults) const;
  // `tried` were in the cycle; those in `faults` are held from now on, the others are stored.
  // `confirmed`: up to here everything was durable that was not held before. Returns the ones that
  // are newly held.
  std::vector<std::shared_ptr<Disk>> Settle(std::span<const std::shared_ptr<Disk>> tried,
                                            const Faults& faults, OpSeq confirmed)
      ABSL_LOCKS_EXCLUDED(mu_);
  // The header that has what was stored is confirmed: those disks are held no more. Until then a
  // Sync of them must not be answered, although earlier cycles were durable beyond it.
  void Published() ABSL_LOCKS_EXCLUDED(mu_);

  // --- any thread -------------------------------------------------------------------------------
  // Why not everything up to `seq` is durable: the first held disk that lacks something of it; OK
  // when there is none. In order: of these disks, of this PFS, of all.
  absl::Status WhyAmong(std::span<const DiskId> disks, OpSeq seq) const ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status WhyIn(Key pfs, OpSeq seq) const ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status WhyAny(OpSeq seq) const ABSL_LOCKS_EXCLUDED(mu_);
  // Why a disk, or the first held one of a PFS, has changes that the running cycle leaves out; OK
  // where none has.
  absl::Status WhyHeld(const DiskId& disk) const ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status WhyHeldIn(Key pfs) const ABSL_LOCKS_EXCLUDED(mu_);
  // Whether a disk is held because the device failed to read, which may pass.
  bool AnyUnavailable() const ABSL_LOCKS_EXCLUDED(mu_);
  // Whether its changes could not be stored.
  bool contains(const DiskId& disk) const ABSL_LOCKS_EXCLUDED(mu_);
  size_t size() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Held {
    std::shared_ptr<Disk> disk;
    absl::Status why;
    OpSeq durable;        // of this disk, everything up to here
    bool stored = false;  // by a cycle that is not confirmed
  };
  std::set<DiskGroup> groups_;  // the flusher's alone
  mutable absl::Mutex mu_;
  std::map<DiskId, Held> held_ ABSL_GUARDED_BY(mu_);
};

}  // namespace h2bd
