#include "core/flush/flush_metrics.h"

#include "core/chain/chain_metrics.h"
#include "core/media/constants.h"

namespace h2bd {

void FlushMetrics::CountError(FlushPhase phase, const absl::Status& status) {
  errors[static_cast<size_t>(phase)][static_cast<size_t>(FlushErrorOf(status))].Add();
}

void FlushMetrics::DescribeCommit(MetricVisitor& visitor) const {
  for (const Device& device : devices) {
    const auto barrier = [&](const char* which, const LatencyHistogram& took) {
      visitor.OnHistogram("h2bd_commit_barrier_seconds",
                          "Duration of the barrier before the header (1) and behind it (2).",
                          {{"device", device.name}, {"which", which}}, took);
    };
    barrier("1", device.barrier1);
    // The header is on the root device only, and so is the barrier behind it.
    if (&device == &devices.front()) barrier("2", device.barrier2);
    visitor.OnGauge("h2bd_commit_volatile_cache",
                    "1 unless the device is known to write through its cache.",
                    {{"device", device.name}}, device.volatile_cache ? 1 : 0);
  }
  visitor.OnGauge("h2bd_commit_barriers_disabled", "Always 0: no option leaves barriers out.", {},
                  0);
  visitor.OnHistogram("h2bd_commit_header_write_seconds",
                      "Duration of the header write; of both copies where there are two.", {},
                      header_write);
}

void FlushMetrics::Describe(MetricVisitor& visitor) const {
  const auto counter = [&](const char* name, const char* help, const MetricLabels& labels,
                           const Counter& c) {
    visitor.OnCounter(name, help, labels, static_cast<double>(c.value()));
  };
  const auto gauge = [&](const char* name, const char* help, const Gauge& g) {
    visitor.OnGauge(name, help, {}, static_cast<double>(g.value()));
  };
  static constexpr char kCycles[] = "h2bd_flush_cycles_total";
  static constexpr char kCyclesHelp[] = "Flush cycles by result.";
  counter(kCycles, kCyclesHelp, {{"result", "ok"}}, cycles_ok);
  counter(kCycles, kCyclesHelp, {{"result", "error"}}, cycles_error);
  counter(kCycles, kCyclesHelp, {{"result", "aborted"}}, cycles_aborted);
  counter(kCycles, kCyclesHelp, {{"result", "empty"}}, cycles_empty);
  for (int i = 0; i < kCycleReasons; ++i) {
    const std::string reason(Name(static_cast<CycleReason>(i)));
    counter("h2bd_flush_cycle_reasons_total", "Flush cycles with something to do, by their reason.",
            {{"reason", reason}}, cycle_reasons[static_cast<size_t>(i)]);
  }
  visitor.OnHistogram("h2bd_flush_cycle_duration_seconds",
                      "Duration of a flush cycle, from the cut to the barrier after the header.",
                      {}, cycle_duration);
  for (int i = 0; i < kFlushPhases; ++i) {
    const std::string phase(Name(static_cast<FlushPhase>(i)));
    visitor.OnHistogram("h2bd_flush_phase_duration_seconds", "Duration of a phase of the cycle.",
                        {{"phase", phase}}, phase_duration[static_cast<size_t>(i)]);
  }
  for (int i = 0; i < kFlushPhases; ++i) {
    const std::string phase(Name(static_cast<FlushPhase>(i)));
    for (int e = 0; e < kFlushErrors; ++e) {
      const std::string error(Name(static_cast<FlushError>(e)));
      counter("h2bd_flush_errors_total",
              "Errors of cycles, and of disks that a cycle had to hold back.",
              {{"phase", phase}, {"error", error}},
              errors[static_cast<size_t>(i)][static_cast<size_t>(e)]);
    }
  }
  visitor.OnHistogram("h2bd_flush_inode_duration_seconds",
                      "Time to flush one inode with its tables.", {}, inode_duration);
  static constexpr char kInodes[] = "h2bd_flush_inodes_total";
  static constexpr char kInodesHelp[] = "Inodes that cycles worked on.";
  counter(kInodes, kInodesHelp, {{"op", "flushed"}}, inodes_flushed);
  counter(kInodes, kInodesHelp, {{"op", "created"}}, inodes_created);
  counter(kInodes, kInodesHelp, {{"op", "deleted"}}, inodes_deleted);
  counter(kInodes, kInodesHelp, {{"op", "failed"}}, inodes_failed);
  counter(kInodes, kInodesHelp, {{"op", "requeued"}}, inodes_requeued);
  counter(kFlushFinalized.name, kFlushFinalized.help, {{"type", "volume"}}, finalized_headers);
  visitor.OnCounter(kFlushBytes.name, kFlushBytes.help, {{"type", "volume"}},
                    static_cast<double>(finalized_headers.value() * kVolumeHeaderBytes));
  gauge("h2bd_flush_max_depth", "Levels of tables below the inode that needed most, last cycle.",
        max_depth);
  counter("h2bd_flush_data_blocks_total", "Logical blocks stored.", {}, data_blocks);
  counter("h2bd_flush_data_stored_bytes_total", "Bytes of stored logical blocks after compression.",
          {}, data_bytes);
  counter("h2bd_flush_hole_blocks_total", "Logical blocks that were all zero and became holes.", {},
          hole_blocks);
  counter("h2bd_flush_filled_blocks_total",
          "Logical blocks whose missing bytes were fetched from below.", {}, filled_blocks);
  static constexpr char kSyncs[] = "h2bd_sync_requests_total";
  counter(kSyncs, "Sync requests by result.", {{"result", "ok"}}, sync_ok);
  counter(kSyncs, "Sync requests by result.", {{"result", "error"}}, sync_failed);
  visitor.OnHistogram("h2bd_sync_wait_seconds", "Time a Sync waited for durability.", {},
                      sync_wait);
  visitor.OnHistogram("h2bd_sync_group_size", "Syncs answered by one cycle.", {}, sync_group);
  DescribeCommit(visitor);
  gauge("h2bd_commit_header_slot", "Slot of the last confirmed volume header.", header_slot);
  gauge("h2bd_commit_mirror_tid", "mirror_tid of the last confirmed volume header.", mirror_tid);
  gauge("h2bd_commit_freemap_tid", "freemap_tid of the last confirmed volume header.", freemap_tid);
  gauge("h2bd_commit_header_outcome_unknown", "1 while the outcome of a header write is unknown.",
        outcome_unknown);
  gauge("h2bd_commit_failed_publishes_consecutive",
        "Publishes that failed since the last good one.", failed_publishes);
  gauge("h2bd_commit_freemap_rotations_left", "Free copies of the freemap block that has least.",
        rotations_left);
  counter("h2bd_flush_rewrites_total",
          "Times that everything no barrier had covered was written again.", {}, rewrites);
  gauge("h2bd_held_disks",
        "Disks whose changes cannot be stored because something of them is damaged.", held_disks);
  gauge("h2bd_pinned_bytes",
        "Memory of changes that are in a tree and wait for its header to be confirmed.",
        pinned_bytes);
  gauge("h2bd_durable_opseq", "Last operation that is durable.", durable_opseq);
}

}  // namespace h2bd
