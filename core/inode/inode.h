// One inode in memory: its block, its blockref and the tree below it (spec 03 section 7).
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/chain/chain_tree.h"
#include "core/media/inode_data.h"

namespace h2bd {

// Reading is safe from any thread. Changes are the flusher's alone: namespace operations and sizes
// reach it through the cycle (design sections 4 and 5), so what an Inode says is the state of the
// running cycle, and front ends put their own pending changes over it.
class Inode {
 public:
  // Loads the inode behind `bref`. kDataLoss for a damaged block. `indexed`: an inode of a PFS's
  // index, as opposed to the super-root and PFS roots. `horizon` is that of its PFS: a PFS root
  // makes it, the super-root has one of zero; without one everything below counts as shared.
  static absl::StatusOr<std::shared_ptr<Inode>> Load(
      const Blockref& bref, bool indexed, BlockStore& store, ChainCache& cache,
      std::shared_ptr<ShareHorizon> horizon = nullptr);
  // A new inode, not on media yet. `bref` carries type, key, methods and flags; `data` may bring a
  // blockset whose blocks are on media (snapshots, clones).
  static std::shared_ptr<Inode> Create(const InodeData& data, const Blockref& bref,
                                       BlockStore& store, ChainCache& cache,
                                       std::shared_ptr<ShareHorizon> horizon = nullptr);

  InodeMeta meta() const ABSL_LOCKS_EXCLUDED(mu_);
  std::string filename() const ABSL_LOCKS_EXCLUDED(mu_);
  Blockref bref() const ABSL_LOCKS_EXCLUDED(mu_);
  // The inline bytes of a DIRECTDATA inode, all 512; nullopt otherwise.
  std::optional<std::array<std::byte, kEmbeddedBytes>> direct_data() const ABSL_LOCKS_EXCLUDED(mu_);
  // What Load read or Flush last wrote, with the blockset as it is on media: the source of
  // snapshots and clones (spec 03 sections 11.6 and 11.7). Not defined while modified() or in a
  // running Flush.
  InodeData flushed_data() const ABSL_LOCKS_EXCLUDED(mu_);
  // Empty and not to be written to while DIRECTDATA is set.
  ChainTree& tree() { return tree_; }
  const std::shared_ptr<ShareHorizon>& horizon() const { return horizon_; }

  // --- flusher only
  // ---------------------------------------------------------------------------------

  void set_meta(const InodeMeta& meta) ABSL_LOCKS_EXCLUDED(mu_);
  void set_filename(absl::string_view name) ABSL_LOCKS_EXCLUDED(mu_);
  // Leaves DIRECTDATA: clears the flag and zeroes the union (spec 03 section 7.4). The caller
  // stores the bytes as a DATA block.
  void ClearDirectData() ABSL_LOCKS_EXCLUDED(mu_);
  bool modified() const ABSL_LOCKS_EXCLUDED(mu_);

  // Flushes the tree, then the inode block if anything changed; returns the blockref for the
  // parent's table (statistics included) and whether it differs from the one before. The old block
  // is dropped by the table that named it, or by the inode when none did. On error what is not
  // written stays modified.
  struct Flushed {
    Blockref bref;
    bool changed = false;
  };
  absl::StatusOr<Flushed> Flush(const FlushTids& tids, Executor& executor) ABSL_LOCKS_EXCLUDED(mu_);

  // The table above (for the super-root: the next header) names bref(): what the tree dropped until
  // then is told to the allocator.
  void Named() ABSL_LOCKS_EXCLUDED(mu_);
  // Whether the table above leads to an older state than this.
  bool AheadOfIndex() const ABSL_LOCKS_EXCLUDED(mu_);
  // It was removed from the table above: everything that it names is dropped. Returned is what must
  // be in the custody of the inode whose tree had it.
  DropList DropAll() ABSL_LOCKS_EXCLUDED(mu_);

  // For Load and Create.
  Inode(const InodeData& data, const Blockref& bref, BlockStore& store, ChainCache& cache,
        std::shared_ptr<ShareHorizon> horizon);

 private:
  void DropUnnamed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  BlockStore& store_;
  const std::shared_ptr<ShareHorizon> horizon_;
  mutable absl::Mutex mu_;
  InodeData data_ ABSL_GUARDED_BY(mu_);
  Blockref bref_ ABSL_GUARDED_BY(mu_);
  // Of the block that the table above names; radix 0: none yet.
  DataOff named_ ABSL_GUARDED_BY(mu_);
  bool modified_ ABSL_GUARDED_BY(mu_) = false;  // beyond what the tree says of itself
  ChainTree tree_;
};

}  // namespace h2bd
