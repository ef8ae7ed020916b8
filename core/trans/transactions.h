// Client-visible transactions: staging, conflicts, limits, time-outs (spec 04 section 9).
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/base/bytes.h"
#include "core/base/clock.h"
#include "core/base/interval_set.h"
#include "core/base/metrics.h"
#include "core/base/status.h"
#include "core/base/types.h"

namespace h2bd {

// Names a disk within the volume: the PFS root's key and the inode number.
struct DiskId {
  Key pfs;
  Inum inum;
  constexpr auto operator<=>(const DiskId&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const DiskId& id) {
    return H::combine(std::move(h), id.pfs, id.inum);
  }
};

// What open transactions may hold (spec 04 section 9.4). The loss of a session is not seen: gRPC
// tells a service nothing of a connection on which no call is in flight. The idle time-out stands
// in for it, so a client that is gone holds its ranges and memory at most that long.
struct TransactionLimits {
  uint64_t staged_bytes_per_transaction = 64 * kMiB;
  uint64_t staged_bytes_total = 1 * kGiB;
  uint32_t writes_per_transaction = 4096;
  uint32_t disks_per_transaction = 64;
  uint32_t open_transactions = 1024;
  uint32_t open_per_session = 16;
  absl::Duration idle_timeout = absl::Seconds(30);
  absl::Duration total_timeout = absl::Seconds(300);
};

struct TxnOptions {
  absl::Duration timeout =
      absl::ZeroDuration();  // total; Zero: the limit. Longer than the limit: refused
  std::string label;         // for people; at most 128 bytes
  bool exclusive = false;    // plain changes of what it has staged are refused
  bool durable = false;      // Commits that do not say what they want are to be durable
  // Who begins it, for the limit of open ones; "": not known, then that limit is not asked.
  std::string session = "";
};

//   OPEN ──Commit──> PREPARING ──> APPLIED ──(cycle)──> DURABLE
//    │                   └──error──> ABORTED
//    ├──Abort──> ABORTED
//    └──time──> EXPIRED
// OPEN takes writes. PREPARING is inside Commit. From APPLIED on everybody sees it; DURABLE
// survives power loss. Ended ones are remembered for a while so that a client that lost a reply can
// ask.
enum class TxnState { kOpen, kPreparing, kApplied, kDurable, kAborted, kExpired };
absl::string_view Name(TxnState state);  // "OPEN", …

struct TxnInfo {
  TxnId id;
  TxnState state = TxnState::kOpen;
  OpSeq seq;  // from APPLIED on; 0 before
  uint64_t staged_bytes = 0;
  uint32_t writes = 0;
  bool durable_by_default = false;                   // TxnOptions::durable
  std::vector<DiskId> disks;                         // ascending; from APPLIED on
  absl::Duration expires_in = absl::ZeroDuration();  // OPEN only
};

// One staged change, in the order of the calls.
struct StagedWrite {
  DiskId disk;
  uint64_t offset = 0;
  uint64_t length = 0;
  SharedBytes bytes;  // null: write zeroes
  // Set: a change of the disk's size. Its range is what it takes from others: from the smaller one
  // of the old and the new size to the end of the address space, which reads as zeroes then.
  std::optional<uint64_t> new_size = std::nullopt;
};

// Thread-safe. Knows nothing of disks but their ids; core/volume applies what Prepare hands out.
// A plain write over what a transaction has staged is ordered before it and conflicts only with an
// exclusive one (spec 04 section 9.3). Ids grow with the
// wall clock, so that an id from before a restart of the server is not found rather than somebody
// else's.
class TransactionTable {
 public:
  TransactionTable(const TransactionLimits& limits, Clock& clock);

  // kResourceExhausted at a limit of open transactions; kInvalidArgument for options out of range.
  absl::StatusOr<TxnInfo> Begin(const TxnOptions& options);

  // Adds a write (`bytes` null: zeroes, which count no memory). kNotFound for an unknown id,
  // kFailedPrecondition when it is not OPEN, kAborted when the range meets one that another open
  // transaction has staged on the disk (the caller's transaction stays open), kResourceExhausted at
  // a limit of staging, kInvalidArgument when `bytes` is not `length` long or the range passes the
  // end of the address space. An empty range is OK and adds nothing. After an error nothing has
  // been added.
  absl::Status Stage(TxnId id, StagedWrite write);
  // Adds a change of the size of `disk`, which is `committed_size` for everybody else. Counts as a
  // write that needs no memory; errors as Stage.
  absl::Status StageSize(TxnId id, const DiskId& disk, uint64_t committed_size, uint64_t new_size);

  // The transaction's staged writes to `disk` that meet [offset, offset + length), in order. Errors
  // as Stage.
  absl::StatusOr<std::vector<StagedWrite>> StagedOn(TxnId id, const DiskId& disk, uint64_t offset,
                                                    uint64_t length);
  // The size that the transaction has staged for `disk`; none when it has not. Errors as Stage.
  absl::StatusOr<std::optional<uint64_t>> StagedSize(TxnId id, const DiskId& disk);
  // Before a plain change: kAborted when its range meets one that an open exclusive transaction has
  // staged. Takes no lock while there is no such transaction.
  absl::Status CheckPlainChange(const DiskId& disk, uint64_t offset, uint64_t length) const;
  // Whether any open transaction stages on this disk (resize and delete are refused then).
  bool HasStaging(const DiskId& disk) const;
  // Whether any open transaction stages on a disk of this PFS.
  bool HasStagingIn(Key pfs) const;

  // OPEN -> PREPARING; hands out all writes, whose ranges stay taken. Then exactly one of Applied
  // and Failed must follow. kNotFound, kFailedPrecondition as Stage.
  absl::StatusOr<std::vector<StagedWrite>> Prepare(TxnId id);
  TxnInfo Applied(TxnId id, OpSeq seq);
  TxnInfo Failed(TxnId id);

  // kFailedPrecondition once APPLIED; OK and unchanged when it ended ABORTED or EXPIRED before.
  // While PREPARING: waits for the outcome and gives it, whichever it is.
  absl::StatusOr<TxnInfo> Abort(TxnId id);
  // APPLIED turns into DURABLE in the answer when `durable` covers it.
  absl::StatusOr<TxnInfo> Get(TxnId id, OpSeq durable);

  // Ends what has been idle or open for too long; called before each operation and by the volume's
  // timer.
  void ExpireOld();
  // Ends all open ones (Close).
  void AbortAll();

  uint64_t staged_bytes() const;
  void Describe(MetricVisitor& visitor) const;

 private:
  struct Transaction {
    TxnInfo info;
    absl::Duration idle_at;  // monotonic time of the idle time-out, moved by each operation
    absl::Duration total_at;
    bool exclusive = false;
    std::string session;
    std::vector<StagedWrite> writes;
    std::map<DiskId, IntervalSet> ranges;
    std::map<DiskId, uint64_t> sizes;  // of the disks whose size it changes

    absl::Duration expires_at() const { return std::min(idle_at, total_at); }
  };

  absl::StatusOr<Transaction*> FindOpen(TxnId id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status CheckOpenLimits(const std::string& session) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status StageLocked(Transaction& txn, StagedWrite write) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status CheckLimits(const Transaction& txn, const StagedWrite& write) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Another transaction that has staged part of the range.
  std::optional<TxnId> Rival(const Transaction& txn, const StagedWrite& write) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ExpireLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Moves it from open_ to ended_ and drops its staging.
  TxnInfo End(TxnId id, TxnState state, OpSeq seq) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  TxnInfo EndPrepared(TxnId id, TxnState state, OpSeq seq) ABSL_LOCKS_EXCLUDED(mu_);
  bool IsPreparing(TxnId id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<TxnInfo> FindEnded(TxnId id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const TransactionLimits limits_;
  Clock& clock_;
  mutable absl::Mutex mu_;
  std::map<TxnId, Transaction> open_ ABSL_GUARDED_BY(mu_);  // OPEN and PREPARING
  absl::flat_hash_map<DiskId, std::vector<TxnId>> staging_on_ ABSL_GUARDED_BY(mu_);
  // Open ones of each session that has any; "" is not counted.
  absl::flat_hash_map<std::string, uint32_t> open_in_session_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<TxnId, TxnInfo> ended_ ABSL_GUARDED_BY(mu_);
  std::deque<TxnId> ended_order_ ABSL_GUARDED_BY(mu_);  // oldest first
  // No open transaction expires before it.
  absl::Duration next_expiry_ ABSL_GUARDED_BY(mu_) = absl::InfiniteDuration();
  uint64_t staged_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t next_id_ ABSL_GUARDED_BY(mu_);
  std::atomic<int> exclusive_open_{0};
  Counter begun_, applied_, aborted_, expired_, conflicts_;
};

}  // namespace h2bd
