// Clean logical blocks, decoded, under one byte budget.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <map>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "core/base/bytes.h"
#include "core/base/metrics.h"
#include "core/trans/transactions.h"

namespace h2bd {

// Thread-safe. A segmented LRU: a block enters the probation segment and moves to the protected one
// when it is asked for again, so that one pass over a large disk does not wash out what is used
// often.
//
// The cache does not know what is current. Its callers do: a reader inserts only under the disk's
// lock after it has made sure that no flush has replaced the block since it looked (Disk::Read).
class BlockCache {
 public:
  explicit BlockCache(uint64_t budget_bytes);

  // 64 KiB, or null.
  SharedBytes Find(const DiskId& disk, uint64_t block);
  void Put(const DiskId& disk, uint64_t block, SharedBytes bytes);
  // Blocks [first, last).
  void Erase(const DiskId& disk, uint64_t first, uint64_t last);

  uint64_t bytes() const;
  void Describe(MetricVisitor& visitor) const;

 private:
  struct Entry {
    DiskId disk;
    uint64_t block = 0;
    SharedBytes bytes;
    bool is_protected = false;
  };
  using Lru = std::list<Entry>;
  struct Shard {
    mutable absl::Mutex mu;
    Lru probation ABSL_GUARDED_BY(mu);  // front: most recent
    Lru protected_ ABSL_GUARDED_BY(mu);
    absl::flat_hash_map<DiskId, absl::btree_map<uint64_t, Lru::iterator>> index ABSL_GUARDED_BY(mu);
    uint64_t bytes ABSL_GUARDED_BY(mu) = 0;
    uint64_t protected_bytes ABSL_GUARDED_BY(mu) = 0;
  };
  static constexpr size_t kShards = 16;
  Shard& ShardOf(const DiskId& disk, uint64_t block);
  void Remove(Shard& shard, Lru::iterator it) ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mu);
  void Trim(Shard& shard) ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mu);

  const uint64_t shard_budget_;
  std::array<Shard, kShards> shards_;
  Counter hits_, misses_, evictions_;
};

}  // namespace h2bd
