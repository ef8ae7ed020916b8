// What the flusher counts (spec 04 section 10).
#pragma once

#include <array>
#include <deque>
#include <string>

#include "core/base/metrics.h"
#include "core/device/block_device.h"
#include "core/flush/flush_types.h"

namespace h2bd {

struct FlushMetrics {
  Counter cycles_ok, cycles_error, cycles_aborted, cycles_empty;
  std::array<Counter, kCycleReasons> cycle_reasons;
  LatencyHistogram cycle_duration;
  std::array<LatencyHistogram, kFlushPhases> phase_duration;
  // By the phase that failed and what it was.
  std::array<std::array<Counter, kFlushErrors>, kFlushPhases> errors;
  void CountError(FlushPhase phase, const absl::Status& status);
  LatencyHistogram inode_duration;
  Counter inodes_flushed, inodes_created, inodes_deleted, inodes_failed, inodes_requeued;
  Counter finalized_headers;  // images made, whether they were written or not
  LatencyHistogram header_write;
  // Of each device, in the order of the address space.
  struct Device {
    explicit Device(const BlockDevice& device)
        : name(device.name()), volatile_cache(device.volatile_cache()) {}
    const std::string name;
    const bool volatile_cache;
    LatencyHistogram barrier1, barrier2;
  };
  std::deque<Device> devices;
  Counter rewrites;
  Gauge held_disks, pinned_bytes;
  Counter data_blocks, data_bytes, hole_blocks, filled_blocks;
  Gauge max_depth;
  Counter sync_ok, sync_failed;
  LatencyHistogram sync_wait;
  Histogram sync_group{CountBuckets()};
  Gauge header_slot, mirror_tid, freemap_tid, outcome_unknown, failed_publishes, rotations_left;
  Gauge durable_opseq;

  void Describe(MetricVisitor& visitor) const;

 private:
  void DescribeCommit(MetricVisitor& visitor) const;
};

}  // namespace h2bd
