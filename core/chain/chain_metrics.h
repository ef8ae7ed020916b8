// What the flush walk counts in tables and blocks (spec 04 section 10).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "core/base/metrics.h"
#include "core/media/blockref.h"

namespace h2bd {

// Metrics whose types are counted in several places.
struct MetricName {
  const char* name;
  const char* help;
};
inline constexpr MetricName kFlushVisited{"h2bd_flush_visited_chains_total",
                                          "What the flush came to because it was modified."};
inline constexpr MetricName kFlushFinalized{"h2bd_flush_finalized_chains_total",
                                            "What the flush gave its final content, by type."};
inline constexpr MetricName kFlushBytes{"h2bd_flush_bytes_total", "Bytes of it, by type."};

struct ChainMetrics {
  // By type of block: inode, indirect, data, dirent. Stored with a new place, check and ids.
  static constexpr std::array kTypes = {BrefType::kInode, BrefType::kIndirect, BrefType::kData,
                                        BrefType::kDirent};
  std::array<Counter, kTypes.size()> finalized, finalized_bytes;
  void Finalized(BrefType type, uint64_t bytes);

  // What the walk came to because it was modified. Blocks of data and of names are leaves: they are
  // stored when they are put into a tree, and never walked.
  Counter visited_inodes, visited_indirects;
  // Loaded tables that the walk looked at, and those of them that were modified.
  Counter scanned, scanned_modified;
  // Entries of tables above that were made to name what was stored.
  Counter parent_updates, parent_update_errors;
  Counter emptied;  // tables without entries that the walk took out
  // Modified INDIRECT and root chains of all trees.
  Gauge dirty_chains;

  // Levels of INDIRECT chains in the deepest tree that was written since the last Reset.
  class Depth {
   public:
    void Reset() { depth_.store(0, std::memory_order_relaxed); }
    void Reach(int64_t levels);
    int64_t value() const { return depth_.load(std::memory_order_relaxed); }

   private:
    std::atomic<int64_t> depth_{0};
  } depth;

  void Describe(MetricVisitor& visitor) const;
};

}  // namespace h2bd
