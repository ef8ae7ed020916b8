// The face of core: everything that server/ calls. One Volume owns one HAMMER2 volume for reading,
// or for reading and writing.
//
// All calls are thread-safe. Calls that may wait (for memory, for a cycle, for the device) say so
// and take a deadline; they give kDeadlineExceeded when it passes and leave no half-done change.
// Status codes are those of design section 8; reasons of kFailedPrecondition are in
// core/base/status.h.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/executor.h"
#include "core/base/log.h"
#include "core/base/metrics.h"
#include "core/base/random.h"
#include "core/device/block_device.h"
#include "core/flush/flush_types.h"
#include "core/freemap/freemap.h"
#include "core/pfs/pfs.h"
#include "core/strategy/disk.h"
#include "core/trans/transactions.h"
#include "core/volume/grow_types.h"
#include "core/volume/operation_types.h"
#include "core/volume/scrub_types.h"
#include "core/volume/snapshot_types.h"

namespace h2bd {

struct VolumeOptions {
  bool read_only = false;
  // Serve a volume with a single header slot read-write (F-217): a torn header write then depends
  // on the shadow copy in the aux area. Refused with reason ONE_HEADER_SLOT otherwise.
  bool allow_one_header_slot = false;
  // Serve a volume read-write although a header slot cannot be read that may hold the newest
  // header: what only that one has is then given up. Refused with reason UNREADABLE_HEADER
  // otherwise.
  bool allow_unreadable_header = false;

  // Look at the volume through an older header: 1 for the one before the newest, and so on. Then it
  // is read-only whatever `read_only` says.
  int header_back = 0;

  size_t flusher_threads = 0;  // 0: number of cores, at most 8. 1: deterministic
  // No background thread at all: a cycle runs inside Sync (or RunCycle) on the caller's thread. For
  // tests and simulation.
  bool manual_cycles = false;
  // With manual_cycles only. False: a Sync waits for the next RunCycle, so that one can also be
  // asked for while a cycle runs; then use SyncAsync, because a waiting Sync would wait for ever.
  bool sync_runs_cycle = true;

  absl::Duration flush_age =
      absl::Seconds(5);                     // oldest dirty data starts a cycle; ZeroDuration: off
  uint64_t dirty_limit_bytes = 256 * kMiB;  // writers wait above it
  double flush_start_fraction = 0.5;        // of dirty_limit_bytes starts a cycle
  uint64_t block_cache_bytes = 512 * kMiB;  // clean logical blocks
  uint64_t chain_cache_bytes = 256 * kMiB;  // tables
  TransactionLimits transactions;
  std::string default_pfs;  // "": DATA, or the only PFS that is not LOCAL
};

// Where the volume gets time, randomness and a log from. All outlive the volume.
struct VolumeEnv {
  Clock* clock = &SystemClock();
  RandomSource* random = &SystemRandom();
  Logger* logger = &NullLogger();
  Executor* flusher_executor = nullptr;  // null: threads of the volume's own
};

// A disk's name: a PFS label and a path in it. Disks lie in the root directory of their PFS;
// regular files in its directories can be read and written by path, too, but not created or
// removed.
struct DiskName {
  std::string pfs;   // "" stands for the default PFS
  std::string path;  // "vm1"; components are joined by '/'

  // "DATA/vm1" or "vm1" (default PFS) as the command line writes it: what stands before the first
  // '/' is the PFS. kInvalidArgument for illegal labels and names.
  static absl::StatusOr<DiskName> Parse(absl::string_view text);
  std::string ToString() const;  // "DATA/vm1"
};

struct DiskInfo {
  DiskName name;  // with the PFS spelled out
  Inum inum;
  uint64_t size_bytes = 0;
  uint64_t stored_bytes = 0;  // as of the last cycle, metadata included
  absl::Time create_time, modify_time;
  CompMethod comp = CompMethod::kNone;
  CheckMethod check = CheckMethod::kNone;
  // The inode cannot be read, then only the name and its number are known; or, in lists, the name:
  // then it is shown as "?unreadable-name-" and 16 digits, and cannot be opened; or the disk is
  // held: its changes cannot be stored, a Sync of it says why.
  bool damaged = false;
};

struct DiskList {
  std::vector<DiskInfo> disks;
  std::string next_page_token;  // "" at the end
};

struct CreateDiskOptions {
  uint64_t size_bytes = 0;  // up to 2^62; need not be a multiple of anything
};

struct IoOptions {
  absl::Time deadline = absl::InfiniteFuture();
};

// What a Sync answers for: these disks, or every disk of a PFS, or (neither) the whole volume. One
// cycle serves all who wait, whatever their scopes; a scope says up to which change everything must
// be durable, and which held disks make the answer an error.
struct SyncScope {
  std::vector<DiskId> disks;
  std::optional<Key> pfs;
};

struct VolumeStatus {
  std::string fsid;
  uint32_t version = 0;
  uint64_t total_bytes = 0;
  SpaceUsage space;
  std::vector<std::string> devices;
  int header_slot = 0, header_slots = 0;
  Tid mirror_tid, freemap_tid;
  OpSeq opseq, durable_opseq;
  uint64_t dirty_bytes = 0, dirty_limit_bytes = 0;
  uint64_t cached_block_bytes = 0, cached_chain_bytes = 0;
  bool read_only = false;
  absl::Status failure;  // not OK: fail-stop, with why (P4)
  std::vector<PfsInfo> pfses;
  std::string default_pfs;
};

class Volume {
 public:
  // Takes the devices of one volume, in any order. Read-write: fences the header ring, recovers the
  // freemap where it lags, and only then returns. Errors of AssembleVolumeSet, kFailedPrecondition
  // for what cannot be opened read-write.
  static absl::StatusOr<std::unique_ptr<Volume>> Open(
      std::vector<std::unique_ptr<BlockDevice>> devices, const VolumeOptions& options,
      const VolumeEnv& env);
  // Calls Close.
  ~Volume();

  // Refuses new work with reason VOLUME_CLOSED, aborts open transactions, runs a final cycle; OK
  // only when everything acknowledged is durable. Idempotent.
  absl::Status Close();

  // --- disks
  // -----------------------------------------------------------------------------------------
  // Changes are visible at once, and durable with the next cycle like any write. They may wait for
  // memory and space as Write does.

  absl::StatusOr<DiskInfo> CreateDisk(const DiskName& name, const CreateDiskOptions& options,
                                      const IoOptions& io = {});
  absl::StatusOr<DiskInfo> GetDisk(const DiskName& name);
  // Disks in the root directory of `pfs`, ordered by directory key. `page_size` 1..1000.
  // kInvalidArgument for a token that no ListDisks gave.
  absl::StatusOr<DiskList> ListDisks(const std::string& pfs, int page_size,
                                     const std::string& page_token);
  absl::StatusOr<DiskInfo> ResizeDisk(const DiskName& name, uint64_t size_bytes,
                                      const IoOptions& io = {});
  // Within one PFS. kAlreadyExists when the new name is taken.
  absl::StatusOr<DiskInfo> RenameDisk(const DiskName& from, const DiskName& to,
                                      const IoOptions& io = {});
  // Works on a full volume. Open handles give kNotFound from then on.
  absl::Status DeleteDisk(const DiskName& name, const IoOptions& io = {});

  // A handle for I/O; cheap to copy. Calls give kNotFound once the disk is deleted. All handles
  // must be gone before the Volume is destroyed.
  absl::StatusOr<DiskRef> OpenDisk(const DiskName& name);

  // --- I/O
  // -------------------------------------------------------------------------------------------
  // Offsets and lengths are bytes, any alignment. kOutOfRange when the range does not lie within
  // the disk, kInvalidArgument above kMaxIoBytes.
  static constexpr uint64_t kMaxIoBytes = 32 * kMiB;

  // All pieces as one write at `offset`: visible to every later read when it returns, durable after
  // a Sync that begins later. May wait for memory, not for a running cycle; on a nearly full volume
  // it may wait for a cycle that returns promised space before it gives kResourceExhausted.
  absl::StatusOr<OpSeq> Write(const DiskRef& disk, uint64_t offset,
                              std::span<const ConstByteSpan> pieces, const IoOptions& options);
  absl::StatusOr<OpSeq> Write(const DiskRef& disk, uint64_t offset, ConstByteSpan bytes,
                              const IoOptions& options) {
    return Write(disk, offset, std::span<const ConstByteSpan>(&bytes, 1), options);
  }
  // Whether a write of `bytes` to `disk` would wait or be slowed down now; a network thread uses it
  // to decide who runs the write.
  bool WouldWait(const DiskRef& disk, uint64_t bytes) const;
  // Reads zeros afterwards. Any length up to the disk's size; whole blocks give their space back.
  absl::StatusOr<OpSeq> WriteZeroes(const DiskRef& disk, uint64_t offset, uint64_t length,
                                    const IoOptions& options);
  // The same, as a hint: what it covers reads as zeros.
  absl::StatusOr<OpSeq> Discard(const DiskRef& disk, uint64_t offset, uint64_t length,
                                const IoOptions& options);
  // Fills `into` from `offset`; holes give zeros. May wait for the device. kDataLoss names the
  // damaged range.
  absl::Status Read(const DiskRef& disk, uint64_t offset, ByteSpan into, const IoOptions& options);

  // Which parts of [offset, +length) hold data (Disk::Extents); `max` 1 to kMaxExtents.
  static constexpr size_t kMaxExtents = 65536;
  absl::StatusOr<std::vector<Extent>> GetExtents(const DiskRef& disk, uint64_t offset,
                                                 uint64_t length, size_t max);

  // --- durability
  // --------------------------------------------------------------------------------------
  // Everything acknowledged before the call (on `disk`, or on the volume when it is null) survives
  // power loss when the result is OK (P2). Shares cycles with other callers.
  //
  // Errors say what became of the data: kResourceExhausted and kUnavailable: it is not known to be
  // durable, it is kept, a later Sync tries again; kDataLoss: a disk in the scope is held, because
  // a block or a table of it is damaged; kFailedPrecondition with reason READ_ONLY_FAILSTOP: the
  // volume has failed; kDeadlineExceeded: not known, the cycle goes on.
  using SyncDone = absl::AnyInvocable<void(absl::StatusOr<SyncResult>)>;
  absl::StatusOr<SyncResult> Sync(const DiskRef& disk, const IoOptions& options);
  // The same without waiting: `done` runs once, on a flusher thread or before SyncAsync returns.
  void SyncAsync(const DiskRef& disk, SyncDone done);
  // Everything acknowledged on the disks of one PFS. kNotFound for its label.
  void SyncPfsAsync(const std::string& pfs, SyncDone done);
  // Waits until `seq` is durable, as far as `scope` goes.
  absl::StatusOr<SyncResult> SyncTo(OpSeq seq, const IoOptions& options);
  void SyncToAsync(OpSeq seq, SyncScope scope, SyncDone done);

  // --- transactions (spec 04 section 9)
  // ------------------------------------------------------------------
  absl::StatusOr<TxnInfo> Begin(const TxnOptions& options);
  // Staged: not visible to others before Commit. kAborted on a range that another open transaction
  // has staged.
  absl::Status TxnWrite(TxnId id, const DiskRef& disk, uint64_t offset,
                        std::span<const ConstByteSpan> pieces, const IoOptions& options);
  absl::Status TxnWriteZeroes(TxnId id, const DiskRef& disk, uint64_t offset, uint64_t length,
                              const IoOptions& options);
  // A staged change of the size. The ranges of the transaction's later calls are checked against
  // it. It takes the disk from the smaller one of both sizes on: kAborted when another open
  // transaction has staged something there. kInvalidArgument for a size above 2^62.
  absl::Status TxnResize(TxnId id, const DiskRef& disk, uint64_t size_bytes,
                         const IoOptions& options);
  // Committed state with the transaction's own staging over it.
  absl::Status TxnRead(TxnId id, const DiskRef& disk, uint64_t offset, ByteSpan into,
                       const IoOptions& options);
  // All changes of all disks become visible and, in one cycle, durable as one (P3). Afterwards the
  // state is APPLIED; with SyncTo(info.seq) it is DURABLE, which the caller sees to where
  // `durable_by_default` asks for it.
  absl::StatusOr<TxnInfo> Commit(TxnId id, const IoOptions& options);
  absl::StatusOr<TxnInfo> Abort(TxnId id);
  absl::StatusOr<TxnInfo> GetTransaction(TxnId id);

  // --- long operations
  // ---------------------------------------------------------------------------------------
  // They run in the background, in bounded steps, one of each kind at most. Ids are of this opening
  // of the volume. kNotFound for one that is not known (any more: the last 64 that ended are).

  std::vector<OperationInfo> ListOperations() const;
  absl::StatusOr<OperationInfo> GetOperation(uint64_t id) const;
  // It ends before its next step, and what it had not done stays undone.
  absl::Status CancelOperation(uint64_t id);
  // kFailedPrecondition when it has ended.
  absl::Status SetOperationPace(uint64_t id, OperationPace pace);
  // Waits until it has ended, however it did. kDeadlineExceeded: it goes on. With manual_cycles it
  // runs the steps itself.
  absl::StatusOr<OperationInfo> WaitOperation(uint64_t id, const IoOptions& io);
  // Runs one step of some operation on the caller's thread (manual_cycles only). False when none
  // has anything to do.
  bool RunBackgroundStep();
  // --- PFSs, snapshots, clones (spec 03 section 11)
  // -------------------------------------------------------------------------------------------
  // Each is applied by a cycle as a whole, atomically, and answered when it is durable: the calls
  // wait for that cycle, and never hold up reads and writes. On kDeadlineExceeded the change either
  // will not happen or, where a cycle has taken it already, goes on; the message says which. What
  // is wrong with one change ends that one and no other. The asynchronous forms do not wait; `done`
  // runs once, on a flusher thread or before they return, and must not wait for a cycle.

  // An empty PFS. kAlreadyExists; labels have no '@'.
  absl::StatusOr<ChangeInfo> CreatePfs(const std::string& label, const PfsSettings& settings,
                                       const IoOptions& io = {});
  void CreatePfsAsync(const std::string& label, const PfsSettings& settings, ChangeDone done);
  // What new disks of the PFS get; of a snapshot: refused.
  absl::StatusOr<ChangeInfo> SetPfs(const std::string& label, const PfsSettings& settings,
                                    const IoOptions& io = {});
  // Refused for the default PFS and LOCAL, and for one with names in it unless `force`. Its open
  // handles give kNotFound from the call on. Snapshots of it stay.
  absl::StatusOr<ChangeInfo> DeletePfs(const std::string& label, bool force,
                                       const IoOptions& io = {});
  void DeletePfsAsync(const std::string& label, bool force, ChangeDone done);

  // The PFSs as of one instant, which is the cut of the cycle: they have all that was acknowledged
  // before the call. All of them or none. Their disks can be read as DiskName{"DATA@s1", "vm1"}.
  // While a disk of a PFS is held (kDataLoss, kUnavailable) it gets no snapshot.
  absl::StatusOr<std::vector<SnapshotInfo>> CreateSnapshots(
      const std::vector<SnapshotName>& snapshots, const SnapshotOptions& options = {},
      const IoOptions& io = {});
  void CreateSnapshotsAsync(const std::vector<SnapshotName>& snapshots,
                            const SnapshotOptions& options, SnapshotsDone done);
  // Of one PFS by age, or (nullopt) of all, those that other implementations made included.
  absl::StatusOr<std::vector<SnapshotInfo>> ListSnapshots(const std::optional<std::string>& pfs);
  // kFailedPrecondition with reason HELD or SNAPSHOT_IN_USE.
  absl::StatusOr<ChangeInfo> DeleteSnapshot(const SnapshotName& snapshot, const IoOptions& io = {});
  void DeleteSnapshotAsync(const SnapshotName& snapshot, ChangeDone done);
  // A held snapshot cannot be deleted.
  absl::StatusOr<ChangeInfo> HoldSnapshot(const SnapshotName& snapshot, bool held,
                                          const IoOptions& io = {});

  // A disk that begins with the content of `source`, of a snapshot or as of the cut, and shares its
  // blocks; both go their own way from then on. In any PFS but a snapshot.
  absl::StatusOr<ChangeInfo> CloneDisk(const DiskName& source, const DiskName& target,
                                       const IoOptions& io = {});
  void CloneDiskAsync(const DiskName& source, const DiskName& target, ChangeDone done);
  // `disk` becomes what `source` is (usually it in a snapshot). Handles of before give kNotFound
  // from the call on. Refused while a transaction stages on it.
  absl::StatusOr<ChangeInfo> RollbackDisk(const DiskName& source, const DiskName& disk,
                                          const IoOptions& io = {});
  void RollbackDiskAsync(const DiskName& source, const DiskName& disk, ChangeDone done);
  // The PFS of the snapshot becomes what the snapshot is: its disks, their names and sizes. Its
  // settings, fsid and newer snapshots stay. As RollbackDisk for all of its disks.
  absl::StatusOr<ChangeInfo> RollbackPfs(const SnapshotName& snapshot, const IoOptions& io = {});
  void RollbackPfsAsync(const SnapshotName& snapshot, ChangeDone done);

  // --- growth
  // ----------------------------------------------------------------------------------------------
  // Makes the volume as large as its device is now, or as `options` say; returns when a header says
  // so. Clients go on meanwhile. What the volume has already is OK; kInvalidArgument for less, or
  // for more than a disk has; kUnimplemented for a volume of several devices. After an error the
  // volume has its old size, or, when the header could not be confirmed, gets the new one with the
  // next that is.
  absl::StatusOr<GrowReport> Grow(const GrowOptions& options, const IoOptions& io = {});

  // --- scrub
  // -----------------------------------------------------------------------------------------------
  // Starts the operation that reads everything and verifies it; clients go on, slowed down by at
  // most `pace`. Gives its id. It ends well when everything was looked at, whatever was found: see
  // LastScrub. kAlreadyExists when one runs.
  absl::StatusOr<uint64_t> StartScrub(OperationPace pace = {.bytes_per_second = 64 * kMiB});
  // What the scrub that runs, or the last one since the open, has found.
  ScrubReport LastScrub() const;

  // --- the rest
  // ------------------------------------------------------------------------------------------
  VolumeStatus GetStatus();
  std::vector<PfsInfo> ListPfs() const;
  // Runs one cycle now on the caller's thread (manual_cycles only).
  absl::Status RunCycle();
  // The last cycles that had something to do, at most 256, oldest first. Takes no lock that a cycle
  // holds for long.
  std::vector<CycleRecord> RecentCycles() const;
  // Walks all metrics; takes no lock that a cycle or a write holds for long and does no I/O.
  void Describe(MetricVisitor& visitor) const;

 private:
  Volume();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace h2bd
