#include "core/chain/chain_metrics.h"

#include <string>

#include "core/base/status.h"

namespace h2bd {

void ChainMetrics::Finalized(BrefType type, uint64_t bytes) {
  for (size_t i = 0; i < kTypes.size(); ++i) {
    if (kTypes[i] != type) continue;
    finalized[i].Add();
    finalized_bytes[i].Add(bytes);
  }
}

void ChainMetrics::Depth::Reach(int64_t levels) {
  int64_t seen = value();
  while (seen < levels && !depth_.compare_exchange_weak(seen, levels, std::memory_order_relaxed)) {
  }
}

void ChainMetrics::Describe(MetricVisitor& visitor) const {
  const auto counter = [&](const char* name, const char* help, const MetricLabels& labels,
                           const Counter& c) {
    visitor.OnCounter(name, help, labels, static_cast<double>(c.value()));
  };
  for (size_t i = 0; i < kTypes.size(); ++i) {
    const MetricLabels labels = {{"type", std::string(Name(kTypes[i]))}};
    counter(kFlushFinalized.name, kFlushFinalized.help, labels, finalized[i]);
    counter(kFlushBytes.name, kFlushBytes.help, labels, finalized_bytes[i]);
  }
  counter(kFlushVisited.name, kFlushVisited.help, {{"type", "inode"}}, visited_inodes);
  counter(kFlushVisited.name, kFlushVisited.help, {{"type", "indirect"}}, visited_indirects);
  counter("h2bd_flush_scanned_chains_total", "Loaded tables that the flush looked at.", {},
          scanned);
  counter("h2bd_flush_scanned_modified_total", "Those of them that were modified.", {},
          scanned_modified);
  static constexpr char kUpdates[] = "h2bd_flush_parent_updates_total";
  static constexpr char kUpdatesHelp[] = "Entries that were made to name a new block, by result.";
  counter(kUpdates, kUpdatesHelp, {{"result", "ok"}}, parent_updates);
  counter(kUpdates, kUpdatesHelp, {{"result", "error"}}, parent_update_errors);
  counter("h2bd_flush_indirect_maintenance_total", "Tables that the flush changed in shape.",
          {{"action", "emptied"}}, emptied);
  visitor.OnGauge("h2bd_dirty_chains", "Tables in memory that differ from the media.", {},
                  static_cast<double>(dirty_chains.value()));
}

}  // namespace h2bd
