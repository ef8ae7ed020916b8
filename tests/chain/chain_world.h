// A volume without a volume: a device in memory with everything between it and core/chain.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/chain/chain_tree.h"
#include "core/device/device_set.h"
#include "core/dio/dio.h"
#include "tests/chain/bump_allocator.h"
#include "tests/support/fault_device.h"
#include "tests/support/memory_device.h"

namespace h2bd {

struct ChainWorldOptions {
  uint64_t cache_bytes = 64 * kMiB;
  // Where new blocks begin; with an image of the reference, behind what it uses.
  uint64_t allocate_from = 0;
};

class ChainWorld {
 public:
  explicit ChainWorld(ChainWorldOptions options = {})
      : ChainWorld(SparseImage(8 * kGiB), options) {}
  ChainWorld(SparseImage image, ChainWorldOptions options);

  BlockStore& store() { return *store_; }
  ChainCache& cache() { return *cache_; }
  BumpAllocator& allocator() { return allocator_; }
  FaultPoint& faults() { return faults_; }
  MemoryDevice& device() { return device_; }
  uint64_t total_size() const { return device_.size_bytes(); }

  // What was stored reaches the device.
  absl::Status Drain() { return dio_->Drain(); }
  // Forgets everything but the device (Drain first) and the books of the allocator. No tree may be
  // alive.
  void Remount();

  // A place for a leaf of this world; its content is never looked at.
  DataOff NewPlace(BrefType type, unsigned radix);
  // Leaves as core/strategy, core/inode make them; every call allocates a new block where the type
  // has one.
  Blockref Data(uint64_t block, unsigned radix = 16);
  Blockref InodeLeaf(uint64_t inum);
  Blockref DirentLeaf(Key key, Inum inum);

  // Turns one byte of the block over, past every cache.
  void Damage(DataOff at, uint64_t byte);

  // Runs `action` in the middle of the next read of the device, once: what other threads may do
  // meanwhile. It must not read what is being read.
  void DuringNextRead(std::function<void()> action) { during_read_ = std::move(action); }

  // The ids of the running cycle; NextCycle moves both on.
  const FlushTids& tids() const { return tids_; }
  void NextCycle();

 private:
  class HookDevice;
  const ChainWorldOptions options_;
  std::function<void()> during_read_;
  MemoryDevice device_;
  std::unique_ptr<BlockDevice> hooked_;
  FaultPoint faults_;
  BumpAllocator allocator_;
  std::unique_ptr<DeviceSet> devices_;
  std::unique_ptr<Dio> dio_;
  std::unique_ptr<BlockStore> store_;
  std::unique_ptr<ChainCache> cache_;
  FlushTids tids_{Tid(17), Tid(100)};
};

// Methods byte of an inode below a directory with LZ4 and XXHASH64.
inline constexpr uint8_t kMethods = 0x32;

}  // namespace h2bd
