// The inside of Volume, shared by volume*.cc.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "core/flush/group_commit.h"
#include "core/pfs/pfs_changes.h"
#include "core/volume/operations.h"
#include "core/volume/scrub.h"
#include "core/volume/volume.h"

namespace h2bd {

// kInvalidArgument for a size that no disk can have.
absl::Status CheckDiskSize(uint64_t size);

// Stands in for the freemap on a volume that is open read-only.
class RefusingAllocator final : public BlockAllocator {
 public:
  absl::StatusOr<Allocation> Allocate(BrefType, unsigned, Key) override {
    return WithReason(absl::FailedPreconditionError("the volume is open read-only"),
                      kReasonReadOnly);
  }
  void Undo(DataOff, BrefType) override {}
  void Dropped(std::span<const DroppedBlock>, std::span<const DroppedTree>) override {}
};

struct VolumeMetrics {
  Counter read_ops, read_bytes, write_ops, write_bytes, zero_ops;
  LatencyHistogram read_latency, write_latency;
  LatencyHistogram space_waits;
  LatencyHistogram txn_prepare, txn_lock, txn_apply;
  Counter recovered_blocks;
  Gauge reads_running;

  void Describe(MetricVisitor& visitor) const;
};

using PfsChangeDone = absl::AnyInvocable<void(const PfsChangeOutcome&)>;

struct DeletePfsOptions {
  bool force = false;     // with all that is in it
  bool snapshot = false;  // it must be one, or must not
};

struct Volume::Impl {
  Impl(const VolumeOptions& options_in, const VolumeEnv& env_in)
      : options(options_in), env(env_in) {}
  ~Impl();

  // One namespace change at a time: "is the name free" and the change are one step.
  absl::Mutex names_mu;

  // --- volume.cc
  absl::Status Open(std::vector<std::unique_ptr<BlockDevice>> devices);
  // Whether the volume headers are such that the volume may be written.
  absl::Status CheckHeaders() const;
  absl::Status OpenForWriting();
  absl::Status Close();
  // OK when modifying calls may go on. A Sync may also when the volume has failed: what is durable
  // stays so. CheckOpen is the part that is asked again inside the gate.
  absl::Status CheckWritable() const;
  absl::Status CheckSyncs() const;
  absl::Status CheckOpen() const;

  // --- volume_disks.cc
  absl::StatusOr<Pfs*> FindPfs(const std::string& label);
  // kNotFound for a PFS that was found before it was marked; asked again under names_mu.
  absl::Status CheckStays(const Pfs& pfs) const;
  // Where a path leads; `in_root` when it has one component.
  absl::StatusOr<Dirent> Resolve(Pfs& pfs, const std::string& path);
  absl::StatusOr<DiskRef> OpenDisk(const DiskName& name);
  absl::StatusOr<DiskRef> DiskById(const DiskId& id);
  absl::StatusOr<DiskRef> DiskOf(Pfs& pfs, Inum inum);
  DiskInfo InfoOf(Disk& disk, const std::string& path);
  // Of an entry of a listing, which may be damaged.
  DiskInfo InfoOf(Pfs& pfs, const Dirent& entry);

  // --- volume_io.cc
  // Memory and space for a change, waiting where it must; given back by the destructor unless Spend
  // was called with what the change really cost.
  class Admission;
  // `disk` null: every disk. kDeadlineExceeded when it passes; the cycle goes on (F-314).
  absl::StatusOr<SyncResult> WaitFor(OpSeq target, absl::Time deadline, bool fresh = false);
  // Waits for `target`, and says so when something in `scope` is held.
  absl::StatusOr<SyncResult> SyncAndWait(OpSeq target, const SyncScope& scope, absl::Time deadline);
  OpSeq SyncTarget(const DiskRef& disk) const;
  // Why not everything up to `seq` in `scope` can be made durable: a held disk. OK when there is
  // none.
  absl::Status HeldIn(const SyncScope& scope, OpSeq seq) const;
  absl::Status CheckLength(uint64_t length) const;
  absl::Status CheckNotSnapshot(const Pfs& pfs) const;
  // What every change of a disk's content needs before it asks for memory and space.
  absl::Status CheckChange(const Disk& disk, uint64_t offset, uint64_t length) const;
  // The same without the check of the range.
  absl::Status CheckAccepts(const Disk& disk, uint64_t offset, uint64_t length) const;

  // --- volume_operations.cc
  void StartOperations();
  // Whether clients wait for memory or for a device, so that long operations step back.
  bool ClientsWait() const;
  // The name of a disk in the root directory of a PFS; "" when it has none there.
  std::string NameOfDisk(const std::string& pfs, Inum inum);

  // --- volume_grow.cc
  // The size that is asked for; a file has it then.
  absl::StatusOr<uint64_t> NewSize(const GrowOptions& grow) ABSL_EXCLUSIVE_LOCKS_REQUIRED(grow_mu);

  // --- volume_txn.cc
  struct TxnDisk {
    DiskRef ref;
    uint64_t bound_size = 0;  // the largest one that it has between two changes
  };
  using TxnDisks = std::map<DiskId, TxnDisk>;  // in the order of locking
  absl::Status StageWrite(TxnId id, const Disk& disk, StagedWrite write);
  absl::StatusOr<TxnDisks> DisksOf(const std::vector<StagedWrite>& writes);
  static absl::Status CheckInTurn(const std::vector<StagedWrite>& writes, const TxnDisks& by_id);
  // All writes or none; `by_id` holds each disk that they name, `prepared` those writes that carry
  // bytes.
  absl::StatusOr<OpSeq> CommitStaged(const std::vector<StagedWrite>& writes, absl::Time deadline);
  absl::StatusOr<OpSeq> ApplyAll(const std::vector<StagedWrite>& writes, const TxnDisks& by_id,
                                 std::vector<PreparedWrite>& prepared, Admission& admission);

  // --- volume_pfs.cc, volume_snapshots.cc: changes of PFSs (core/pfs/pfs_changes.h)
  // Space that one may need for each root that it changes: the root, and tables on the way to it.
  static constexpr uint64_t kChangeSpace = 128 * kKiB;
  static constexpr size_t kSnapshotsMax = 256;  // in one call
  struct Queued {
    uint64_t id = 0;
    OpSeq seq;
  };
  // What a change does besides: `mark` inside the gate, when nothing but the queue can refuse it
  // any more; `clean` once, whatever becomes of it; `done` once it is queued and has ended.
  struct ChangeHooks {
    absl::AnyInvocable<void()> mark;
    absl::AnyInvocable<void(const absl::Status&)> clean;
    PfsChangeDone done;
  };
  // With names_mu held: checks and reservations of names are one step with it. After an error
  // `clean` has run.
  absl::StatusOr<Queued> Enqueue(PfsChange::Args args, Admission& admission, ChangeHooks hooks)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(names_mu);
  // With deadline InfinitePast it does not wait.
  absl::Status AdmitChange(Admission& admission, size_t roots, absl::Time deadline,
                           bool frees_space);
  // Asks for the cycle.
  void BeginChange(const Queued& queued);
  static PfsChangeDone AnswerInfo(ChangeDone done);
  // The PFS and its disks cannot be found or used any more; returns the disks that could be before.
  std::vector<DiskRef> MarkRemoving(Pfs& pfs);
  ChangeHooks RemovalHooks(Pfs& pfs, PfsChangeDone done);
  absl::Status CheckNoStaging(const Pfs& pfs) const;
  // `done` is not used when these give an error.
  absl::StatusOr<Queued> QueueCreatePfs(const std::string& label, const PfsSettings& settings,
                                        absl::Time deadline, ChangeDone done);
  absl::StatusOr<Queued> QueueDeletePfs(const std::string& label, const DeletePfsOptions& how,
                                        absl::Time deadline, ChangeDone done);
  absl::StatusOr<Queued> QueueSettings(
      const std::string& label, absl::Time deadline, ChangeDone done,
      absl::FunctionRef<absl::StatusOr<ChangeSettings>(const Pfs&)> make);
  absl::StatusOr<Queued> QueueSnapshots(const std::vector<SnapshotName>& names_wanted,
                                        const SnapshotOptions& options_in, absl::Time deadline,
                                        SnapshotsDone done);
  absl::StatusOr<Queued> QueueClone(const DiskName& source, const DiskName& target,
                                    absl::Time deadline, ChangeDone done);
  absl::StatusOr<Queued> QueueRollbackDisk(const DiskName& source, const DiskName& target,
                                           absl::Time deadline, ChangeDone done);
  absl::StatusOr<Queued> QueueRollbackPfs(const SnapshotName& snapshot, absl::Time deadline,
                                          ChangeDone done);
  // volume_pfs.h
  template <class T, class Queue>
  void RunChange(absl::AnyInvocable<void(absl::StatusOr<T>)> done, Queue queue);
  template <class T, class Queue>
  absl::StatusOr<T> WaitForChange(Queue queue, absl::Time deadline);

  const VolumeOptions options;
  const VolumeEnv env;
  std::string default_pfs;
  bool read_only = false;
  absl::Duration recovery_time;
  VolumeMetrics metrics;

  // In the order of their construction; the reverse is the order of destruction.
  VolumeSet set;
  std::unique_ptr<HeaderRing> ring;
  std::unique_ptr<Dio> dio;
  RefusingAllocator refusing;
  std::unique_ptr<Freemap> freemap;  // null when read-only
  std::unique_ptr<BlockStore> store;
  std::unique_ptr<ChainCache> chains;
  std::unique_ptr<PfsTable> pfses;
  std::unique_ptr<BlockCache> cache;
  std::unique_ptr<TransGate> gate;
  std::unique_ptr<DirtyRegistry> dirty;
  std::unique_ptr<ByteBudget> budget;
  std::unique_ptr<Namespace> names;
  std::unique_ptr<PfsChanges> changes;
  std::unique_ptr<TransactionTable> transactions;
  std::unique_ptr<StrategyContext> context;

  absl::Mutex disks_mu;
  absl::flat_hash_map<DiskId, DiskRef> disks ABSL_GUARDED_BY(disks_mu);
  absl::Mutex grow_mu;  // one growth at a time

  std::unique_ptr<Executor> flusher_pool;  // null when the executor was handed in
  Executor* flusher_executor = nullptr;
  std::unique_ptr<Executor> read_ahead;
  std::unique_ptr<Flusher> flusher;     // null when read-only
  std::unique_ptr<GroupCommit> commit;  // null when read-only
  ScrubLog scrub_log;
  std::unique_ptr<Operations> operations;

  // Set before the final cut. A change looks at it inside the gate, so it is in the final cycle or
  // refused.
  std::atomic<bool> closing{false};
  absl::Mutex close_mu;
  bool closed ABSL_GUARDED_BY(close_mu) = false;
  absl::Status close_status ABSL_GUARDED_BY(close_mu);
};

class Volume::Impl::Admission {
 public:
  explicit Admission(Impl& volume) : volume_(volume) {}
  ~Admission();
  Admission(const Admission&) = delete;
  Admission& operator=(const Admission&) = delete;
  // What a change may use besides what everybody may.
  struct Privileges {
    bool space_reserve = false;   // it frees space, so it must work on a full volume (P6)
    bool memory_reserve = false;  // ... and also while all dirty memory is taken; for small ones
  };
  // Takes what `bound` names, for a change of `disk` (null: of several, or of none that is known).
  absl::Status Admit(const Disk::Cost& bound, const Disk* disk, absl::Time deadline,
                     Privileges privileges);
  absl::Status Admit(const Disk::Cost& bound, const Disk* disk, absl::Time deadline) {
    return Admit(bound, disk, deadline, Privileges());
  }
  // A change of `disk` is applied: `cost` stays taken. Called for each change, then Finish once,
  // which gives the rest back.
  void Spend(Disk& disk, const Disk::Cost& cost);
  void Finish();
  // The space stays taken and is the caller's to give back.
  uint64_t Keep() { return std::exchange(space_, 0); }

 private:
  absl::Status ReserveSpace(uint64_t bytes, absl::Time deadline, bool from_reserve);
  absl::Status VolumeIsFull(uint64_t bytes) const;
  Impl& volume_;
  int64_t memory_ = 0;
  uint64_t space_ = 0;
};

}  // namespace h2bd
