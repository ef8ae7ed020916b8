// The data stage of a cycle: frozen logical blocks become stored blocks and table entries (design
// section 5, step 2).
#pragma once

#include <memory>
#include <set>
#include <vector>

#include "core/base/executor.h"
#include "core/flush/flush_metrics.h"
#include "core/flush/held_disks.h"
#include "core/strategy/disk.h"

namespace h2bd {

// One dirty disk in one cycle.
struct DiskFlush {
  std::shared_ptr<Disk> disk;
  std::shared_ptr<const DirtyGeneration> frozen;
};

// Runs in two steps, because a disk may turn out to be damaged and others may hang together with
// it: Store changes no tree, Install changes those of the disks that go into this cycle.
class DataStage {
 public:
  DataStage(BlockStore& store, BlockCache& cache, Executor& executor, FlushMetrics& metrics)
      : store_(store), cache_(cache), executor_(executor), metrics_(metrics) {}

  // A run of neighbouring dirty blocks of one disk: the unit that a worker takes.
  struct Batch {
    const DiskFlush* disk = nullptr;
    std::vector<uint64_t> blocks;
    // Results.
    std::vector<Blockref> stored;
    std::vector<Key> erased;
    unsigned incompressible = 0;  // blocks in a row, at the end of the batch
    absl::Status status;
  };
  struct Stored {
    std::vector<Batch> batches;  // of each disk together, in the order of the disks
    // Disks of which something cannot be read.
    HeldDisks::Faults faults;
  };
  // Stores every frozen block of every disk, in parallel over blocks, and reads the tables that
  // Install will change. An error that is not about one disk is returned, the first in the order of
  // disks and blocks, and nothing that was stored keeps its space. `disks` outlives what is
  // returned.
  absl::StatusOr<Stored> Store(const std::vector<DiskFlush>& disks, const FlushTids& tids);

  // Puts the results into the trees of all disks that are not `held`: holes are punched, zero
  // blocks are erased, others are inserted; size, times and DIRECTDATA follow. Afterwards these
  // inodes are ready to be flushed. What was stored for a held disk gives its space back. After an
  // error some trees have changed, one perhaps in part, and some have not: the generations are
  // still frozen, the next cycle takes them again.
  absl::Status Install(const std::vector<DiskFlush>& disks, Stored stored,
                       const HeldDisks::Faults& held, const FlushTids& tids);

  // Instead of Install: what was stored gives its space back.
  void Drop(Stored stored) { GiveBack(stored.batches); }

  // Whether the tree of a disk has something of a generation that an Install which failed was
  // about to put into trees.
  bool TreeIsAhead(const DiskId& disk) const { return ahead_.contains(disk); }

 private:
  std::vector<Batch> MakeBatches(const std::vector<DiskFlush>& disks) const;
  // Whether `status` says that something of one disk cannot be read.
  bool IsDiskFault(const absl::Status& status) const;
  // Nobody knows these blocks yet: a cycle that does not install them must not keep their space,
  // since the next one stores everything again.
  void GiveBack(std::span<const Batch> batches);
  absl::Status StoreBatch(Batch& batch, const FlushTids& tids);
  absl::Status StoreBlock(Batch& batch, uint64_t block, const InodeMeta& meta, uint64_t size,
                          const FlushTids& tids);
  absl::Status StoreLogical(Batch& batch, Blockref& bref, const SharedBytes& image, uint64_t bytes,
                            const InodeMeta& meta, const FlushTids& tids);
  absl::Status ReadTablesAroundHoles(const DiskFlush& disk);
  // Takes what is in the tree out of `batches`.
  absl::Status InstallDisk(const DiskFlush& disk, std::span<Batch> batches, const FlushTids& tids);
  absl::Status LeaveDirectData(const DiskFlush& disk, const FlushTids& tids);

  std::set<DiskId> ahead_;
  BlockStore& store_;
  BlockCache& cache_;
  Executor& executor_;
  FlushMetrics& metrics_;
};

}  // namespace h2bd
