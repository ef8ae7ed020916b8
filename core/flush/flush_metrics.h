// What the flusher counts (spec 04 section 10).
#pragma once

#include <array>

#include "core/base/metrics.h"
#include "core/flush/flush_types.h"

namespace h2bd {

struct FlushMetrics {
  Counter cycles_ok, cycles_error, cycles_aborted, cycles_empty;
  std::array<Counter, kCycleReasons> cycle_reasons;
  LatencyHistogram cycle_duration;
  std::array<LatencyHistogram, kFlushPhases> phase_duration;
  std::array<Counter, kFlushPhases> phase_errors;
  LatencyHistogram inode_duration;
  Counter inodes_flushed, inodes_created, inodes_deleted, inodes_failed;
  Counter rewrites;
  Gauge held_disks, pinned_bytes;
  Counter data_blocks, data_bytes, hole_blocks, filled_blocks;
  Counter sync_ok, sync_failed;
  LatencyHistogram sync_wait;
  Histogram sync_group{CountBuckets()};
  Gauge header_slot, mirror_tid, freemap_tid, outcome_unknown, failed_publishes, rotations_left;
  Gauge durable_opseq;

  void Describe(MetricVisitor& visitor) const;
};

}  // namespace h2bd
