#include "core/strategy/block_cache.h"

#include "absl/hash/hash.h"

namespace h2bd {
namespace {
constexpr uint64_t kEntryOverhead = 256;
uint64_t Cost(const SharedBytes& bytes) { return bytes->size() + kEntryOverhead; }
}  // namespace

BlockCache::BlockCache(uint64_t budget_bytes) : shard_budget_(budget_bytes / kShards) {}

BlockCache::Shard& BlockCache::ShardOf(const DiskId& disk, uint64_t block) {
  return shards_[absl::HashOf(disk, block) % kShards];
}

SharedBytes BlockCache::Find(const DiskId& disk, uint64_t block) {
  Shard& shard = ShardOf(disk, block);
  absl::MutexLock lock(&shard.mu);
  const auto blocks = shard.index.find(disk);
  if (blocks != shard.index.end()) {
    const auto found = blocks->second.find(block);
    if (found != blocks->second.end()) {
      const Lru::iterator it = found->second;
      Lru& from = it->is_protected ? shard.protected_ : shard.probation;
      if (!it->is_protected) {
        it->is_protected = true;
        shard.protected_bytes += Cost(it->bytes);
      }
      shard.protected_.splice(shard.protected_.begin(), from, it);
      hits_.Add();
      SharedBytes bytes = it->bytes;
      Trim(shard);
      return bytes;
    }
  }
  misses_.Add();
  return nullptr;
}

void BlockCache::Put(const DiskId& disk, uint64_t block, SharedBytes bytes) {
  Shard& shard = ShardOf(disk, block);
  absl::MutexLock lock(&shard.mu);
  auto& blocks = shard.index[disk];
  const auto found = blocks.find(block);
  if (found != blocks.end()) {
    Entry& entry = *found->second;
    shard.bytes += Cost(bytes) - Cost(entry.bytes);
    if (entry.is_protected) shard.protected_bytes += Cost(bytes) - Cost(entry.bytes);
    entry.bytes = std::move(bytes);
  } else {
    shard.bytes += Cost(bytes);
    shard.probation.push_front(Entry{disk, block, std::move(bytes), false});
    blocks.emplace(block, shard.probation.begin());
  }
  Trim(shard);
}

void BlockCache::Erase(const DiskId& disk, uint64_t first, uint64_t last) {
  for (Shard& shard : shards_) {
    absl::MutexLock lock(&shard.mu);
    const auto blocks = shard.index.find(disk);
    if (blocks == shard.index.end()) continue;
    std::vector<Lru::iterator> doomed;
    for (auto it = blocks->second.lower_bound(first);
         it != blocks->second.end() && it->first < last; ++it) {
      doomed.push_back(it->second);
    }
    for (const Lru::iterator it : doomed) Remove(shard, it);
  }
}

void BlockCache::Remove(Shard& shard, Lru::iterator it) {
  shard.bytes -= Cost(it->bytes);
  const auto blocks = shard.index.find(it->disk);
  blocks->second.erase(it->block);
  if (blocks->second.empty()) shard.index.erase(blocks);
  if (it->is_protected) {
    shard.protected_bytes -= Cost(it->bytes);
    shard.protected_.erase(it);
  } else {
    shard.probation.erase(it);
  }
}

void BlockCache::Trim(Shard& shard) {
  // The protected segment holds at most four fifths; its oldest go back on probation.
  while (shard.protected_bytes > shard_budget_ / 5 * 4 && !shard.protected_.empty()) {
    const Lru::iterator oldest = std::prev(shard.protected_.end());
    oldest->is_protected = false;
    shard.protected_bytes -= Cost(oldest->bytes);
    shard.probation.splice(shard.probation.begin(), shard.protected_, oldest);
  }
  while (shard.bytes > shard_budget_) {
    Remove(shard, shard.probation.empty() ? std::prev(shard.protected_.end())
                                          : std::prev(shard.probation.end()));
    evictions_.Add();
  }
}

uint64_t BlockCache::bytes() const {
  uint64_t sum = 0;
  for (const Shard& shard : shards_) {
    absl::MutexLock lock(&shard.mu);
    sum += shard.bytes;
  }
  return sum;
}

void BlockCache::Describe(MetricVisitor& visitor) const {
  visitor.OnCounter("h2bd_block_cache_hits_total", "Logical blocks found in the clean cache.", {},
                    static_cast<double>(hits_.value()));
  visitor.OnCounter("h2bd_block_cache_misses_total", "Logical blocks not found in the clean cache.",
                    {}, static_cast<double>(misses_.value()));
  visitor.OnCounter("h2bd_block_cache_evictions_total", "Blocks dropped for the byte budget.", {},
                    static_cast<double>(evictions_.value()));
  visitor.OnGauge("h2bd_block_cache_bytes", "Memory of clean logical blocks.", {},
                  static_cast<double>(bytes()));
}

}  // namespace h2bd
