// Device buffers: blocks smaller than 64 KiB share one, and this is its only coherent owner (spec
// 02 section 9.6, spec 04 section 6.4a). Writes are queued, batched and tracked to completion;
// reads see queued writes.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>

#include "core/base/log.h"
#include "core/base/metrics.h"
#include "core/device/device_set.h"
#include "core/media/blockref.h"

namespace h2bd {

struct DioOptions {
  // Writer threads that move queued blocks to the device while the flusher goes on. 0: everything
  // is written inside Drain, in order of address, on the caller's thread (deterministic).
  size_t writer_threads = 1;
  // Queued bytes above which WriteBlock waits for the writers. Without writers there is no limit.
  uint64_t queue_limit_bytes = 32 * kMiB;
  // Buffers of shared sub-blocks kept for reuse after they are clean.
  size_t cached_buffers = 256;
};

// Thread-safe. Blocks are immutable once written (copy-on-write), so a read and a write of one
// block never race; the caller writes each block once per allocation. The media behind a frame that
// holds blocks belongs to the Dio alone: who writes elsewhere (volume headers, the log) keeps to
// other frames.
class Dio {
 public:
  // `devices` and `logger` outlive the Dio.
  Dio(DeviceSet& devices, DioOptions options, Logger& logger);
  // What no Drain waited for may or may not have reached the device.
  ~Dio();
  Dio(const Dio&) = delete;
  Dio& operator=(const Dio&) = delete;

  // The bytes of the block at `at`, 2^radix of them. Not verified: the check code is the caller's.
  // kUnavailable when the device fails.
  absl::StatusOr<AlignedBuffer> ReadBlock(DataOff at);

  // Queues `block` (at.bytes() long) for writing at `at`. `fresh_units`: all blocks that live in
  // its 4 KiB units were written since the last Confirm, so the media need not be read to merge
  // with neighbours (a unit that holds nothing may be unreadable). A block of 64 KiB is taken over
  // without a copy. kUnavailable once a write has failed, and when neighbours cannot be read to
  // merge with (then nothing was queued). What was queued is read back even after its write failed.
  absl::Status WriteBlock(DataOff at, std::shared_ptr<const AlignedBuffer> block, bool fresh_units);

  // P8: returns when every write queued before the call has completed, with the first error of any
  // of them (F-220). The error stays, and is that of every later call, until WriteAgain.
  absl::Status Drain();
  // OK, or that error, without waiting for anything.
  absl::Status failure() const;

  // What was written stays in memory until a barrier is known to have covered it: after a failed
  // write or barrier the device may hold any part of it, and a barrier that succeeds later proves
  // nothing (F-224).
  //
  // A barrier that began after the last Drain has succeeded on all devices. Nothing may be queued
  // meanwhile.
  void Confirm();
  // Forgets the error and queues everything that is not confirmed once more; Drain and a barrier
  // follow. Nothing may be queued meanwhile.
  void WriteAgain();

  struct Metrics {
    // Of one device. Freemap blocks are told by their place; of the others, data are the 64 KiB
    // buffers written whole and meta those written in part.
    struct Written {
      Counter data, meta, freemap;
    };
    std::deque<Written> written;  // in the order of the devices
    LatencyHistogram room_waits;
    Counter writes, reads, read_bytes, buffer_hits;
    Counter rewritten_bytes;  // by WriteAgain
    Gauge queued_bytes, unconfirmed_bytes;
  };
  const Metrics& metrics() const { return metrics_; }
  void Describe(MetricVisitor& visitor) const;

 private:
  struct Impl;
  DeviceSet& devices_;
  std::unique_ptr<Impl> impl_;
  Metrics metrics_;
};

}  // namespace h2bd
