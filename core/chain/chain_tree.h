// The topology below one inode: its blockset of 4 entries and every INDIRECT chain under it (spec
// 03 sections 2, 3, 4 and 6). Leaves are blockrefs (DATA, DIRENT, INODE); what an INODE leaf leads
// to is a tree of its own (core/inode).
//
// One reader-writer lock for each tree. Readers hold it shared and only for memory look-ups;
// writers hold it exclusively for a bounded number of table edits; nobody holds it across device
// I/O. A table that is not in memory is read without the lock and attached if its blockref is still
// current.
//
// Blocks that the tree no longer names are noted exactly once, by whoever edits the table that
// named them: leaves and INDIRECT blocks here, the block of an inode by the tree that indexes it.
// They stay in the tree's custody until DeliverDrops: a header may still be made of the old tree.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "core/base/executor.h"
#include "core/chain/block_store.h"
#include "core/chain/drop_list.h"
#include "core/chain/share_horizon.h"
#include "core/chain/table_shape.h"
#include "core/media/decode.h"

namespace h2bd {

class ChainCache;

// One table in memory: the blockset of the inode (the root chain) or an INDIRECT block. Plain data;
// the tree's lock guards it.
struct Chain {
  Key key;                // first key of the range that the table covers
  unsigned keybits = 64;  // 64 at the root chain
  size_t slots =
      kBlocksetCount;  // capacity; 32, 128 or 512 once an INDIRECT is modified (LegalSlots)
  std::vector<Blockref> entries;  // non-empty ones, strictly ascending by key
  // Loaded INDIRECT chains by key. An entry of type INDIRECT without data_off is new: its chain is
  // here and modified, its block is allocated by the flush.
  std::map<uint64_t, std::unique_ptr<Chain>> children;
  Chain* parent = nullptr;
  bool modified = false;  // differs from its block; then every chain above it is modified too
  uint32_t pins = 0;      // a writer reads a child of it and comes back
  // Used since the cache looked last. Readers set it under the shared lock.
  mutable std::atomic<bool> referenced{false};

  bool Covers(Key first, Key last) const;
  uint64_t memory_bytes() const { return sizeof(Chain) + slots * sizeof(Blockref); }
};

class ChainTree {
 public:
  // `kind` says what may stand in the tables and, with it, how they split (files bottom-up by fixed
  // fanout, directories and the inode index by halving: spec 03 section 3.2). `blockset` holds the
  // non-empty entries of the inode's union, checked by DecodeTable. `methods` is the methods byte
  // of the inode's blockref, which INDIRECT blocks inherit. `store` and `cache` outlive the tree.
  // `horizon` is that of the PFS; without one everything counts as shared.
  ChainTree(TableKind kind, std::vector<Blockref> blockset, uint8_t methods, BlockStore& store,
            ChainCache& cache, std::shared_ptr<const ShareHorizon> horizon = nullptr);
  ~ChainTree();
  ChainTree(const ChainTree&) = delete;
  ChainTree& operator=(const ChainTree&) = delete;

  // --- any thread -----------------------------------------------------------------------------

  // The leaf whose range contains `key`, or nullopt for a hole. kDataLoss and kUnavailable from
  // tables that cannot be read.
  absl::StatusOr<std::optional<Blockref>> Find(Key key) ABSL_LOCKS_EXCLUDED(mu_);

  // Calls `visit` for each leaf whose range meets [first, last] (inclusive) in key order, until it
  // returns false. No lock is held during the call; a leaf inserted behind the cursor is not seen.
  absl::Status Scan(Key first, Key last, absl::FunctionRef<bool(const Blockref&)> visit)
      ABSL_LOCKS_EXCLUDED(mu_);

  // The entries of the blockset (`table` null), or of the table behind an INDIRECT entry that an
  // earlier call gave. Of a table that was changed in memory they are what memory says; then the
  // entry that leads to it has a modify_tid of kTidLimit, and no place. kAborted when such a table
  // was flushed and evicted since: begin again.
  absl::StatusOr<std::vector<Blockref>> Entries(const Blockref* table) ABSL_LOCKS_EXCLUDED(mu_);

  // Whether Put of a leaf with this range will find its tables and its place: reads the tables on
  // the way. kDataLoss for a tree that such a leaf does not fit into.
  absl::Status CheckPut(Key key, unsigned keybits) ABSL_LOCKS_EXCLUDED(mu_);

  // --- one writer at a time (the flusher; whoever holds the inode's flush right) -----------------

  // Inserts a leaf or replaces the one with the same key and keybits; the block of a replaced leaf
  // with a different data_off is dropped. kDataLoss when it would
  // overlap another leaf or leave its table. On error the tree is unchanged, but for tables that
  // were split.
  absl::Status Put(const Blockref& leaf) ABSL_LOCKS_EXCLUDED(mu_);
  // Many leaves, ascending by key: the lock is taken for runs of them. After an error the first
  // `put` leaves are in the tree.
  absl::Status PutAll(std::span<const Blockref> leaves, size_t* put = nullptr)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Removes the leaf with this key; true when there was one. Of an INODE only its block is dropped.
  absl::StatusOr<bool> Erase(Key key) ABSL_LOCKS_EXCLUDED(mu_);
  // Removes every leaf whose key lies in [first, last], INODEs with their trees. INDIRECT blocks
  // wholly inside go without being read, and what is below an unread one is dropped as a tree;
  // returns whether anything changed. On error the tree is unchanged.
  absl::StatusOr<bool> EraseRange(Key first, Key last) ABSL_LOCKS_EXCLUDED(mu_);

  // Reads the tables that EraseRange(first, last) needs, so that it does not fail for them.
  absl::Status ReadEdges(Key first, Key last) ABSL_LOCKS_EXCLUDED(mu_);

  // Writes every modified INDIRECT chain bottom-up (empty ones are removed from their parents
  // instead), level by level, the chains of a level in parallel on `executor`, in key order where
  // it has one worker (spec 04 section 8.3, F-140, F-300). Afterwards TakeBlockset is final. On
  // error what was written stays installed and the rest stays modified, so that the next cycle goes
  // on from there.
  absl::Status Flush(const FlushTids& tids, Executor& executor) ABSL_LOCKS_EXCLUDED(mu_);

  // The root chain differs from what the last TakeBlockset returned (or from the constructor's).
  bool modified() const ABSL_LOCKS_EXCLUDED(mu_);
  // The 4 entries for the inode's union, compacted to the front; requires that Flush has succeeded
  // since the last change. Clears modified().
  std::array<Blockref, 4> TakeBlockset() ABSL_LOCKS_EXCLUDED(mu_);
  // Of the whole tree, as of the last Flush.
  ChainStats stats() const ABSL_LOCKS_EXCLUDED(mu_);
  // Highest modify_tid in the blockset, as of the last Flush.
  Tid highest_modify_tid() const ABSL_LOCKS_EXCLUDED(mu_);
  // The inode was removed: nothing of the tree will be written any more, and its changes do not
  // count as dirty. Whoever still has it may read it.
  void Abandon() ABSL_LOCKS_EXCLUDED(mu_);
  // --- custody of what was dropped (the writer)
  // ---------------------------------------------------

  // Takes a block into custody that no table has named, but its owner stored: an inode's.
  void Drop(const Blockref& bref) ABSL_LOCKS_EXCLUDED(mu_);
  // Drops everything that the tree names, once: the inode was removed. Nothing may be changed any
  // more, and nothing is dropped a second time; readers still find it all.
  void DropAll() ABSL_LOCKS_EXCLUDED(mu_);
  // What was dropped moves into the custody of another tree, whose inode will be named with the
  // table from which this one's was removed.
  DropList TakeDrops() ABSL_LOCKS_EXCLUDED(mu_);
  void AdoptDrops(DropList drops) ABSL_LOCKS_EXCLUDED(mu_);
  // The table above names this tree as it was last flushed: the allocator gets what was dropped.
  void DeliverDrops() ABSL_LOCKS_EXCLUDED(mu_);

  // A new methods byte for INDIRECT blocks written from now on.
  void set_methods(uint8_t methods) ABSL_LOCKS_EXCLUDED(mu_);

  // Drops clean chains without loaded children that were not used since the last look at them,
  // until `want_bytes` are free or every chain was looked at once, going on where the last call
  // ended. Returns the bytes freed. Any thread.
  uint64_t EvictClean(uint64_t want_bytes = UINT64_MAX) ABSL_LOCKS_EXCLUDED(mu_);

  // Ranges nest strictly, so 64 levels hold every tree; more come from damaged or made-up media.
  static constexpr int kLevelsMax = 64;
  static absl::Status TooDeep(const Blockref& bref);

  // Levels of INDIRECT chains on the way to `key` (tests, fsck of shapes).
  absl::StatusOr<int> Depth(Key key) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // How far a look-up came: at a leaf, at an INDIRECT that is not in memory, or (neither) at a
  // hole.
  struct Place {
    std::optional<Blockref> leaf;
    std::optional<Blockref> unread;
    int levels = 0;
  };
  // A run of leaves for Scan, and the INDIRECT that must be read to go on behind them.
  struct Run {
    std::vector<Blockref> leaves;
    std::optional<Blockref> unread;
  };
  // What an edit leaves to be done without the lock.
  struct Aftermath {
    DropList dropped;
    Tid horizon;  // of the tree, at the edit
    std::vector<std::unique_ptr<Chain>> detached;
  };
  struct EvictPass;
  class WriterScope;

  static Place PlaceIn(std::span<const Blockref> entries, Key key);
  static void AppendRun(std::span<const Blockref> entries, Key first, Key last, Run& run);

  // --- look-ups (chain_tree.cc)
  absl::StatusOr<Place> Lookup(Key key) ABSL_LOCKS_EXCLUDED(mu_);
  Place WalkLoaded(Key key) const ABSL_SHARED_LOCKS_REQUIRED(mu_);
  absl::StatusOr<Run> NextRun(Key& first, Key last) ABSL_LOCKS_EXCLUDED(mu_);
  absl::StatusOr<bool> ReadRun(Key& first, Key last, Run& run) ABSL_LOCKS_EXCLUDED(mu_);
  bool CollectLoaded(const Chain& chain, Key first, Key last, Run& run) const
      ABSL_SHARED_LOCKS_REQUIRED(mu_);
  const Chain* FindLoaded(const Blockref& table) const ABSL_SHARED_LOCKS_REQUIRED(mu_);
  absl::StatusOr<std::vector<Blockref>> ReadTable(const Blockref& bref);
  absl::StatusOr<std::vector<Blockref>> ReadForReader(const Blockref& bref)
      ABSL_LOCKS_EXCLUDED(mu_);
  void AttachIfCurrent(const Blockref& bref, const std::vector<Blockref>& entries)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Chain* Attach(Chain& parent, const Blockref& bref, std::vector<Blockref> entries)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Keeps the cache within its budget; it may evict from any tree.
  void TrimCache() ABSL_LOCKS_EXCLUDED(mu_);
  uint64_t retired() const ABSL_LOCKS_EXCLUDED(mu_);

  static absl::Status CheckPlace(const Chain& table, Key key, unsigned keybits);

  // --- edits (chain_update.cc). Descend and Child release the lock while they read.
  absl::StatusOr<Chain*> Descend(Chain& from, Key key,
                                 absl::FunctionRef<bool(const Blockref&)> enter)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<Chain*> Child(Chain& parent, Blockref bref) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<Chain*> PutFrom(Chain& from, const Blockref& leaf, Aftermath& after)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status PutRun(std::span<const Blockref>& leaves, Aftermath& after) ABSL_LOCKS_EXCLUDED(mu_);
  Chain* Split(Chain& parent, Key inserted) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<bool> EraseLeaf(Key key, Aftermath& after) ABSL_LOCKS_EXCLUDED(mu_);
  absl::StatusOr<bool> EraseLeaves(Key first, Key last, Aftermath& after) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status DescendToEdges(Key first, Key last) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool EraseWithin(Chain& chain, Key first, Key last, Aftermath& after)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void DropEntry(Chain& chain, const Blockref& entry, Aftermath& after)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void MarkModified(Chain& chain) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The only ways in which `modified` changes: they keep the count of dirty chains.
  void SetModified(Chain& chain) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SetClean(Chain& chain) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CountDirty(int64_t chains) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Resize(Chain& chain, size_t slots) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Charge(int64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Settle(Aftermath after) ABSL_LOCKS_EXCLUDED(mu_);
  Tid horizon() const { return horizon_ == nullptr ? ShareHorizon::kEverything : horizon_->upto(); }
  // Drops what a chain that left the tree names, and all below it; returns the memory of the chains
  // and counts the modified ones.
  uint64_t DropBelow(const Chain& chain, DropList& dropped, Tid horizon, int64_t& modified) const;
  void Keep(DropList&& dropped) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // --- flush and eviction (chain_flush.cc)
  void RemoveEmpty(std::vector<Chain*>& level) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status WriteLevel(const std::vector<Chain*>& level, const FlushTids& tids,
                          Executor& executor) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status WriteChain(Chain& chain, const FlushTids& tids) ABSL_LOCKS_EXCLUDED(mu_);
  bool EvictBelow(Chain& chain, EvictPass& pass) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const TableKind kind_;
  BlockStore& store_;
  ChainCache& cache_;
  const std::shared_ptr<const ShareHorizon> horizon_;
  std::atomic<bool> writing_{false};     // catches a second writer
  std::atomic<bool> registered_{false};  // known to the cache; trees without tables are not
  mutable absl::Mutex mu_;
  uint8_t methods_ ABSL_GUARDED_BY(mu_);
  Chain root_ ABSL_GUARDED_BY(mu_);
  // INDIRECT blockrefs that left the tree: a failed read of one that was copied before is no fault.
  uint64_t retired_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t loaded_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  bool abandoned_ ABSL_GUARDED_BY(mu_) = false;
  DropList drops_ ABSL_GUARDED_BY(mu_);
  bool all_dropped_ ABSL_GUARDED_BY(mu_) = false;
  Key evict_cursor_ ABSL_GUARDED_BY(mu_);
};

// Memory of INDIRECT chains over all trees of a volume, kept under a byte budget by dropping clean
// ones. The budget can be exceeded only by modified chains and those above them. Thread-safe.
class ChainCache {
 public:
  explicit ChainCache(uint64_t budget_bytes) : budget_(budget_bytes) {}
  // Called by trees.
  void Register(ChainTree* tree) ABSL_LOCKS_EXCLUDED(mu_);
  void Unregister(ChainTree* tree) ABSL_LOCKS_EXCLUDED(mu_);
  // Account only; the tree's lock may be held.
  void Charge(uint64_t bytes) { bytes_.fetch_add(bytes, std::memory_order_relaxed); }
  void Release(uint64_t bytes) { bytes_.fetch_sub(bytes, std::memory_order_relaxed); }
  // Evicts from all trees in turn until the budget holds; no tree's lock may be held.
  void Trim() ABSL_LOCKS_EXCLUDED(mu_);
  uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  const uint64_t budget_;
  std::atomic<uint64_t> bytes_{0};
  absl::Mutex mu_;
  std::vector<ChainTree*> trees_ ABSL_GUARDED_BY(mu_);
  size_t hand_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace h2bd
