// A BlockAllocator that never reuses anything and keeps exact books.
#pragma once

#include <map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/chain/block_allocator.h"

namespace h2bd {

// Gives out ascending places by the rules of spec 01 section 2.5. It is a test failure when a block
// is dropped or undone that is not live: whoever drops a block twice makes somebody overwrite it.
// Thread-safe.
class BumpAllocator final : public BlockAllocator {
 public:
  // Blocks lie in [begin, end). Below `begin` lies what others made; snapshots may share it, so it
  // may be dropped more than once.
  BumpAllocator(uint64_t begin, uint64_t end) : begin_(begin), next_(begin), end_(end) {}

  absl::StatusOr<Allocation> Allocate(BrefType type, unsigned radix, Key key) override;
  void Undo(DataOff data_off, BrefType type) override;
  // Of a tree only the root; the rest is for who knows the media.
  void Dropped(std::span<const DroppedBlock> blocks, std::span<const DroppedTree> trees) override;

  // The n-th Allocate from now fails with kResourceExhausted, n from 1; 0: none.
  void FailAt(uint64_t n);
  // Allocated, neither dropped nor undone.
  std::map<DataOff, BrefType> live() const;
  std::map<DataOff, BrefType> dropped() const;
  // Since the last call.
  std::vector<DroppedBlock> TakeDroppedBlocks();
  std::vector<DroppedTree> TakeDroppedTrees();
  uint64_t allocations() const;

 private:
  void DropOne(DataOff data_off, BrefType type) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const uint64_t begin_;
  mutable absl::Mutex mu_;
  uint64_t next_ ABSL_GUARDED_BY(mu_);
  const uint64_t end_;
  uint64_t allocations_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t fail_at_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<DataOff, BrefType> live_ ABSL_GUARDED_BY(mu_);
  std::map<DataOff, BrefType> dropped_ ABSL_GUARDED_BY(mu_);
  std::vector<DroppedBlock> dropped_blocks_ ABSL_GUARDED_BY(mu_);
  std::vector<DroppedTree> dropped_trees_ ABSL_GUARDED_BY(mu_);
};

}  // namespace h2bd
