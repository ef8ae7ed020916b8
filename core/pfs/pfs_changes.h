// Changes of PFSs as a whole: create, delete, snapshot, clone of a disk, rollback, settings. Like a
// name, a change is entered inside the gate; the cycle whose cut covers it applies it, and the call
// is answered when the header with it is confirmed (F-106, F-207). The instant of a copy is the
// cut.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "core/pfs/pfs.h"
#include "core/trans/trans_gate.h"

namespace h2bd {

// In pfs_subtype: a snapshot that no person has asked for.
inline constexpr uint8_t kPfsSubtypeAutomatic = 2;
// In uflags of a snapshot's root: it is held, that is, not to be removed (nounlink).
inline constexpr uint32_t kUflagHeld = 0x10;

// Pointers name PFSs of the table, which keeps them; one that is gone by the time of the cycle
// makes the change fail.
struct PfsCreation {
  InodeData root;  // NewPfsRootInode; the cycle gives it a key
};
struct PfsRemoval {
  Pfs* pfs = nullptr;
};
struct SnapshotPfses {
  struct One {
    Pfs* pfs = nullptr;
    std::string label;
    Uuid clid{}, fsid{};
  };
  std::vector<One> of;  // all as of one instant
  uint8_t subtype = kPfsSubtypeSnapshot;
  bool held = false;
};
struct DiskClone {
  Pfs* from = nullptr;
  Inum inum;
  Pfs* to = nullptr;
  std::string name;              // in the root directory of `to`
  std::optional<Inum> replaces;  // rollback: the disk that has the name now and goes
};
struct PfsRollback {
  Pfs* pfs = nullptr;
  Pfs* snapshot = nullptr;
};
struct ChangeSettings {
  Pfs* pfs = nullptr;
  std::optional<uint8_t> comp_algo, check_algo;  // as in the inode, for new disks
  std::optional<uint64_t> quota_bytes;           // 0: none
  std::optional<bool> held;
};

struct PfsChangeOutcome {
  absl::Status status;
  OpSeq seq;                 // OK: the cut at which it was applied (S_k)
  Tid mirror_tid;            // OK: of the header
  std::vector<Pfs*> made;    // new PFSs, in the order of the request
  std::optional<Inum> inum;  // of the clone
};

struct PfsChange {
  using Args =
      std::variant<PfsCreation, PfsRemoval, SnapshotPfses, DiskClone, PfsRollback, ChangeSettings>;
  Generation generation;
  Args args;
  // Runs once, on a flusher thread, on the thread that withdraws the change or that closes the
  // volume. It must not wait for a cycle.
  absl::AnyInvocable<void(const PfsChangeOutcome&)> done;
  uint64_t id = 0;           // Push gives it
  PfsChangeOutcome outcome;  // the flusher's
};

// The changes that no cycle has taken. Thread-safe; runs `done` without its lock.
class PfsChanges {
 public:
  static constexpr size_t kPendingMax = 1024;

  // Inside the gate. kResourceExhausted at kPendingMax, and what Close says; `done` does not run
  // then.
  absl::StatusOr<uint64_t> Push(PfsChange change) ABSL_LOCKS_EXCLUDED(mu_);
  bool HasPending(Generation upto) const ABSL_LOCKS_EXCLUDED(mu_);
  // The flusher's: what is up to `frozen`, in order; and what an aborted cycle has not applied
  // comes back to the front.
  std::vector<PfsChange> Take(Generation frozen) ABSL_LOCKS_EXCLUDED(mu_);
  void PutBack(std::vector<PfsChange> changes) ABSL_LOCKS_EXCLUDED(mu_);
  // Answers the change with `why` and forgets it, if no cycle has it; else false.
  bool Withdraw(uint64_t id, const absl::Status& why) ABSL_LOCKS_EXCLUDED(mu_);
  // Answers everything with `why`, also what comes later.
  void Close(const absl::Status& why) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  mutable absl::Mutex mu_;
  std::deque<PfsChange> changes_ ABSL_GUARDED_BY(mu_);
  absl::Status closed_ ABSL_GUARDED_BY(mu_);
  uint64_t next_id_ ABSL_GUARDED_BY(mu_) = 1;
};

// Answers `change` with what its outcome says.
void Answer(PfsChange change);
void Answer(PfsChange change, absl::Status why);

}  // namespace h2bd
