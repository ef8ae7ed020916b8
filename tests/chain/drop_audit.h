// The books of every block: who was given out, who was dropped, and what a header reaches.
#pragma once

#include <map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/chain/block_allocator.h"
#include "core/device/block_device.h"
#include "core/media/volume_data.h"

namespace h2bd {

using BlockSet = std::map<DataOff, BrefType>;

// Reads everything below blockrefs from a device, with core/media alone. Shared blocks count once.
class BlockWalk {
 public:
  BlockWalk(BlockDevice& device, uint64_t total_size) : device_(device), total_size_(total_size) {}
  // Adds the block of `bref`, which stands in a table of `kind`, and everything below it.
  void Add(const Blockref& bref, TableKind kind);
  void AddHeader(const VolumeData& header);
  const BlockSet& found() const { return found_; }

 private:
  void AddTable(ConstByteSpan raw, TableKind kind, Key key, unsigned keybits);

  BlockDevice& device_;
  const uint64_t total_size_;
  BlockSet found_;
};

// Hands everything on. It is a test failure when a block is dropped or undone that is not live:
// twice, or never given out. Thread-safe.
class DropAudit final : public BlockAllocator {
 public:
  explicit DropAudit(BlockAllocator& inner) : inner_(inner) {}

  absl::StatusOr<Allocation> Allocate(BrefType type, unsigned radix, Key key) override;
  void Undo(DataOff data_off, BrefType type) override;
  void Dropped(std::span<const DroppedBlock> blocks, std::span<const DroppedTree> trees) override;

  // Blocks that were there before.
  void Know(const BlockSet& blocks) ABSL_LOCKS_EXCLUDED(mu_);
  // Drops the blocks of the trees that were dropped unread; what they lead to must be on `device`.
  void ReadDroppedTrees(BlockDevice& device, uint64_t total_size) ABSL_LOCKS_EXCLUDED(mu_);
  // Live: neither dropped nor undone.
  BlockSet live() const ABSL_LOCKS_EXCLUDED(mu_);
  size_t dropped() const ABSL_LOCKS_EXCLUDED(mu_);
  size_t dropped_trees() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Drop(DataOff data_off, BrefType type) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  BlockAllocator& inner_;
  mutable absl::Mutex mu_;
  BlockSet live_ ABSL_GUARDED_BY(mu_);
  std::vector<DroppedTree> unread_ ABSL_GUARDED_BY(mu_);
  size_t dropped_ ABSL_GUARDED_BY(mu_) = 0;
  size_t dropped_trees_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace h2bd
