#include "tests/chain/bump_allocator.h"

#include <gtest/gtest.h>

#include <utility>

#include "core/media/decode.h"

namespace h2bd {

absl::StatusOr<Allocation> BumpAllocator::Allocate(BrefType type, unsigned radix, Key) {
  absl::MutexLock lock(&mu_);
  ++allocations_;
  if (fail_at_ > 0 && --fail_at_ == 0) return absl::ResourceExhaustedError("no space (injected)");
  const uint64_t bytes = uint64_t{1} << radix;
  uint64_t at = RoundUp(next_, bytes);
  if (at % kFreemapLeafSpan < kZoneSegBytes) {
    at = RoundDown(at, kFreemapLeafSpan) + kZoneSegBytes;
  }
  if (at + bytes > end_) return absl::ResourceExhaustedError("the test volume is full");
  next_ = at + bytes;
  const DataOff data_off = DataOff::Make(ByteOff(at), radix);
  live_.emplace(data_off, type);
  return Allocation{data_off, at % kPbufBytes == 0};
}

void BumpAllocator::Undo(DataOff data_off, BrefType type) {
  absl::MutexLock lock(&mu_);
  const auto it = live_.find(data_off);
  if (it == live_.end() || it->second != type) {
    ADD_FAILURE() << "undo of a block that is not live: " << std::hex << data_off.raw;
    return;
  }
  live_.erase(it);
}

void BumpAllocator::Dropped(std::span<const DroppedBlock> blocks,
                            std::span<const DroppedTree> trees) {
  absl::MutexLock lock(&mu_);
  for (const DroppedBlock& block : blocks) DropOne(block.data_off, block.type);
  dropped_blocks_.insert(dropped_blocks_.end(), blocks.begin(), blocks.end());
  for (const DroppedTree& tree : trees) {
    DropOne(tree.root.data_off, tree.root.type);
    dropped_trees_.push_back(tree);
  }
}

void BumpAllocator::DropOne(DataOff data_off, BrefType type) {
  dropped_.emplace(data_off, type);
  if (data_off.offset().v < begin_) return;
  if (live_.erase(data_off) == 0) {
    ADD_FAILURE() << "drop of a block that is not live: " << std::hex << data_off.raw << " of type "
                  << Name(type);
  }
}

std::vector<DroppedBlock> BumpAllocator::TakeDroppedBlocks() {
  absl::MutexLock lock(&mu_);
  return std::exchange(dropped_blocks_, {});
}

std::vector<DroppedTree> BumpAllocator::TakeDroppedTrees() {
  absl::MutexLock lock(&mu_);
  return std::exchange(dropped_trees_, {});
}

void BumpAllocator::FailAt(uint64_t n) {
  absl::MutexLock lock(&mu_);
  fail_at_ = n;
}

std::map<DataOff, BrefType> BumpAllocator::live() const {
  absl::MutexLock lock(&mu_);
  return live_;
}

std::map<DataOff, BrefType> BumpAllocator::dropped() const {
  absl::MutexLock lock(&mu_);
  return dropped_;
}

uint64_t BumpAllocator::allocations() const {
  absl::MutexLock lock(&mu_);
  return allocations_;
}

}  // namespace h2bd
