// The data stage of a cycle: frozen logical blocks become stored blocks and table entries (design
// section 5, step 2).
#pragma once

#include <memory>
#include <vector>

#include "core/base/executor.h"
#include "core/flush/flush_metrics.h"
#include "core/strategy/disk.h"

namespace h2bd {

// One dirty disk in one cycle.
struct DiskFlush {
  std::shared_ptr<Disk> disk;
  std::shared_ptr<const DirtyGeneration> frozen;
};

class DataStage {
 public:
  DataStage(BlockStore& store, BlockCache& cache, Executor& executor, FlushMetrics& metrics)
      : store_(store), cache_(cache), executor_(executor), metrics_(metrics) {}

  // Stores every frozen block of every disk, in parallel over blocks, and puts the results into the
  // disks' trees: holes are punched, zero blocks are erased, others are inserted; size, times and
  // DIRECTDATA follow. Afterwards the inodes are ready to be flushed. The first error in the order
  // of disks and blocks is returned. When a block could not be stored no tree has changed; the next
  // cycle takes everything again, because the generations stay frozen.
  absl::Status Run(const std::vector<DiskFlush>& disks, const FlushTids& tids);

 private:
  // A run of neighbouring dirty blocks of one disk: the unit that a worker takes.
  struct Batch {
    const DiskFlush* disk = nullptr;
    std::vector<uint64_t> blocks;
    // Results.
    std::vector<Blockref> stored;
    std::vector<Key> erased;
    absl::Status status;
  };
  std::vector<Batch> MakeBatches(const std::vector<DiskFlush>& disks) const;
  // Nobody knows these blocks yet: a cycle that fails here must not keep their space, since the
  // next one stores everything again.
  void GiveBack(const std::vector<Batch>& batches);
  absl::Status StoreBatch(Batch& batch, const FlushTids& tids);
  absl::Status StoreBlock(Batch& batch, uint64_t block, const InodeMeta& meta, uint64_t size,
                          const FlushTids& tids);
  absl::Status Install(const DiskFlush& disk, std::span<const Batch> batches,
                       const FlushTids& tids);
  absl::Status LeaveDirectData(const DiskFlush& disk, const FlushTids& tids);

  BlockStore& store_;
  BlockCache& cache_;
  Executor& executor_;
  FlushMetrics& metrics_;
};

}  // namespace h2bd
