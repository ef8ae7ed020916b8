// A virtual disk: a regular file seen as 64 KiB logical blocks, with its dirty generations over the
// clean cache over the topology (design sections 4 to 6).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/base/clock.h"
#include "core/base/executor.h"
#include "core/chain/block_store.h"
#include "core/pfs/pfs.h"
#include "core/strategy/block_cache.h"
#include "core/strategy/extents.h"
#include "core/strategy/generation.h"
#include "core/trans/byte_budget.h"
#include "core/trans/trans_gate.h"
#include "core/trans/transactions.h"

namespace h2bd {

// Largest disk.
inline constexpr uint64_t kMaxDiskBytes = uint64_t{1} << 62;

// What all disks of a volume share. Outlives them.
struct StrategyContext {
  BlockStore& store;
  BlockCache& cache;
  DirtyRegistry& dirty;
  Clock& clock;
  Executor* read_ahead = nullptr;  // null: none
};

// One write, its whole blocks copied out of the caller's memory before any lock is taken.
class PreparedWrite {
 public:
  PreparedWrite(uint64_t offset, std::span<const ConstByteSpan> pieces);
  uint64_t offset() const { return offset_; }
  uint64_t length() const { return length_; }

 private:
  friend class Disk;
  struct Part {
    uint64_t block = 0;
    uint32_t at = 0;
    AlignedBuffer whole;                 // 64 KiB when the block is written whole
    std::vector<ConstByteSpan> sources;  // otherwise: the caller's bytes, in order from `at`
  };
  const uint64_t offset_;
  uint64_t length_ = 0;
  std::vector<Part> parts_;
};

// All calls are thread-safe. Apply* run inside a TransGate::Apply, whose generation they take; the
// memory they add was charged and its space reserved before.
class Disk : public std::enable_shared_from_this<Disk> {
 public:
  Disk(DiskId id, Pfs& pfs, std::shared_ptr<Inode> inode, StrategyContext& context);
  ~Disk();
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  const DiskId& id() const { return id_; }
  Pfs& pfs() const { return pfs_; }
  Inode& inode() const { return *inode_; }
  std::shared_ptr<Inode> shared_inode() const { return inode_; }
  uint64_t size_bytes() const ABSL_LOCKS_EXCLUDED(mu_);
  absl::Time modify_time() const ABSL_LOCKS_EXCLUDED(mu_);
  // Memory of changes that are in no tree yet.
  uint64_t dirty_bytes() const ABSL_LOCKS_EXCLUDED(mu_);
  bool deleted() const { return deleted_.load(std::memory_order_acquire); }
  // Memory that its changes hold, from their being applied until the header is confirmed.
  BudgetAccount& memory_account() { return memory_account_; }
  const BudgetAccount& memory_account() const { return memory_account_; }
  // Number of the last operation that changed the disk.
  OpSeq last_opseq() const { return OpSeq(last_opseq_.load(std::memory_order_acquire)); }
  void set_last_opseq(OpSeq seq) {
    last_opseq_.store(seq.v, std::memory_order_release);
    pfs_.NoteChange(seq);
  }

  // --- applying changes
  // ---------------------------------------------------------------------------------

  // What a change really cost; the caller gives the rest of its charge and reservation back.
  struct Cost {
    int64_t memory_bytes = 0;
    uint64_t reserved_bytes = 0;
    Cost& operator+=(const Cost& other) {
      memory_bytes += other.memory_bytes;
      reserved_bytes += other.reserved_bytes;
      return *this;
    }
  };
  // Upper bounds, to be charged and reserved before. The same `disk_size` goes to the Apply* that
  // follows, as `bound_size`: the disk may have been resized in between.
  static Cost WriteBound(uint64_t offset, uint64_t length, uint64_t disk_size);
  static Cost ZeroesBound(uint64_t disk_size);
  // Of writes that touch so many blocks and 4 KiB pages.
  static Cost BlocksBound(uint64_t blocks, uint64_t pages, uint64_t disk_size);
  static Cost TouchBound();

  // Several disks are changed as one by locking them all, in the order of their ids, first.
  absl::Mutex& mu() const ABSL_LOCK_RETURNED(mu_) { return mu_; }

  // kNotFound when the disk was deleted, kOutOfRange when [offset, +length) is not within it. Under
  // the lock: then it stays so for the changes that follow.
  absl::Status CheckRange(uint64_t offset, uint64_t length) const ABSL_SHARED_LOCKS_REQUIRED(mu_);
  // The same for a size that the disk is going to have.
  absl::Status CheckRangeIn(uint64_t size, uint64_t offset, uint64_t length) const;
  uint64_t SizeLocked() const ABSL_SHARED_LOCKS_REQUIRED(mu_);
  Cost ApplyWrite(Generation generation, PreparedWrite& write, uint64_t bound_size, absl::Time now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whole blocks become holes, the ends are written as zeros.
  Cost ApplyZeroes(Generation generation, uint64_t offset, uint64_t length, uint64_t bound_size,
                   absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Cost ApplySize(Generation generation, uint64_t size, uint64_t bound_size, absl::Time now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Opens a generation without a change in it, so that a cycle and a Sync of this disk cover a
  // change of its name.
  Cost Touch(Generation generation) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // From here on every call gives kNotFound.
  void MarkDeleted() { deleted_.store(true, std::memory_order_release); }
  // The change that was to remove it has failed.
  void UnmarkDeleted() { deleted_.store(false, std::memory_order_release); }

  // --- reading
  // --------------------------------------------------------------------------------------------

  // Open generation over frozen generation over clean cache over media. kOutOfRange, kNotFound;
  // kDataLoss and kUnavailable name disk and range. `into` is unspecified after an error.
  absl::Status Read(uint64_t offset, ByteSpan into) ABSL_LOCKS_EXCLUDED(mu_);

  // Which parts of [offset, +length) hold data, at the grain of 64 KiB, ascending and without gaps;
  // the ends are cut at `offset` and at the disk's size. At most `max` (at least 1) of them, the
  // rest is asked for from where the last one ends. Pieces of about 64 MiB each are as of one
  // moment. Reads tables, but no data. kOutOfRange for an offset behind the end, kNotFound.
  absl::StatusOr<std::vector<Extent>> Extents(uint64_t offset, uint64_t length, size_t max)
      ABSL_LOCKS_EXCLUDED(mu_);
  // For whoever looks at the inode's tree: what has left the generations since base_epoch() was
  // `base_epoch` may be missing in what the tree said (nullopt then: look again); else these ranges
  // over it are the disk's content at this moment.
  uint64_t base_epoch() const ABSL_LOCKS_EXCLUDED(mu_);
  std::optional<DirtyRanges> Dirty(uint64_t base_epoch, uint64_t first, uint64_t end) const
      ABSL_LOCKS_EXCLUDED(mu_);

  // --- the flusher's side
  // -----------------------------------------------------------------------------------

  // Freezes what was open up to `frozen` (joined with what a failed cycle left); null when there is
  // nothing. What it returns does not change until Installed.
  std::shared_ptr<const DirtyGeneration> Freeze(Generation frozen) ABSL_LOCKS_EXCLUDED(mu_);
  // The logical content of a block as of the frozen generation, 64 KiB; reads what is missing.
  absl::StatusOr<SharedBytes> FrozenBlock(const DirtyGeneration& frozen, uint64_t block)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Blocks in a row that did not compress, as the cycles see them: after some, most are not tried.
  unsigned incompressible() const { return incompressible_.load(std::memory_order_relaxed); }
  void set_incompressible(unsigned blocks) {
    incompressible_.store(blocks, std::memory_order_relaxed);
  }
  // The inode's tree says all that the frozen generation says: it leaves the disk. Returns what it
  // held of memory and reservation, which stays taken until the header is confirmed (F-283).
  Cost Installed() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  DirtyGeneration& Open(Generation generation) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void MoveOpenToFrozen() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether [begin, end) of the block needs nothing from below the generations.
  bool DefinedLocked(uint64_t block, uint32_t begin, uint32_t end) const
      ABSL_SHARED_LOCKS_REQUIRED(mu_);
  // Puts frozen and open bytes over `into`, which starts at `begin` of the block.
  void OverlayLocked(uint64_t block, uint32_t begin, ByteSpan into) const
      ABSL_SHARED_LOCKS_REQUIRED(mu_);
  absl::Status ReadPart(uint64_t block, uint32_t begin, ByteSpan into) ABSL_LOCKS_EXCLUDED(mu_);
  // What is below the generations: clean cache or media. `from_media` says that it may be put into
  // the cache.
  absl::StatusOr<SharedBytes> LoadBase(uint64_t block, bool* from_media);
  absl::StatusOr<AlignedBuffer> LoadMedia(uint64_t block);
  void ReadAhead(uint64_t offset, uint64_t length);

  const DiskId id_;
  Pfs& pfs_;
  const std::shared_ptr<Inode> inode_;
  StrategyContext& context_;
  BudgetAccount memory_account_;
  std::atomic<bool> deleted_{false};
  std::atomic<unsigned> incompressible_{0};
  std::atomic<uint64_t> last_opseq_{0};
  std::atomic<uint64_t> sequential_end_{UINT64_MAX};
  std::atomic<uint64_t> read_ahead_end_{0};

  mutable absl::Mutex mu_;
  std::unique_ptr<DirtyGeneration> open_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<DirtyGeneration> frozen_ ABSL_GUARDED_BY(mu_);
  // Grows whenever the tree takes the place of a frozen generation. A reader that fetched
  // something from below and finds it changed starts over.
  uint64_t base_epoch_ ABSL_GUARDED_BY(mu_) = 0;
};

using DiskRef = std::shared_ptr<Disk>;

}  // namespace h2bd
