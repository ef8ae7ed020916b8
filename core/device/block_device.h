// A raw disk or an image file.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "core/base/bytes.h"
#include "core/base/status.h"
#include "core/base/types.h"

namespace h2bd {

struct WriteOp {
  ByteOff off;
  ConstByteSpan from;  // must stay unchanged until the call returns
};
struct ReadOp {
  ByteOff off;
  ByteSpan into;
};

// Offsets and sizes are bytes and multiples of sector_bytes(); buffers are aligned to
// kBufferAlignment. Safe for concurrent calls on ranges that do not overlap. When a write returns,
// a Read sees the bytes; only a completed Sync makes them survive a power loss, and it covers every
// write that returned before it began (spec 04 section 6.3). Errors: kOutOfRange past size_bytes(),
// kInvalidArgument for misaligned calls, kFailedPrecondition for a write to a read-only device,
// kUnavailable for EIO and for a short transfer. After a failed write or Sync what the device holds
// in the written ranges is unknown, and a later Sync that succeeds proves nothing (F-224).
class BlockDevice {
 public:
  virtual ~BlockDevice() = default;
  virtual absl::Status Read(ByteOff off, ByteSpan into) = 0;
  virtual absl::Status Write(ByteOff off, ConstByteSpan from) = 0;
  virtual absl::Status Sync() = 0;

  // Many transfers in flight at once; returns when all have completed, with the first error in the
  // order of `ops` (the others were still tried). The default does one after the other.
  virtual absl::Status ReadBatch(std::span<const ReadOp> ops);
  virtual absl::Status WriteBatch(std::span<const WriteOp> ops);

  virtual uint64_t size_bytes() const = 0;
  // Asks again how large the device is, which may have been made larger meanwhile, and returns it.
  // size_bytes() follows when it is larger; it never shrinks. Errors: kUnavailable.
  virtual absl::StatusOr<uint64_t> RefreshSize() { return size_bytes(); }
  // Makes a file `bytes` long, with its space taken and all of that durable; RefreshSize included.
  // kFailedPrecondition for a disk, whose size is not ours to change; kResourceExhausted,
  // kUnavailable.
  virtual absl::Status Extend(uint64_t bytes);
  // Smallest unit of a transfer: 512 or 4096. Power of two, at most kBufferAlignment.
  virtual uint32_t sector_bytes() const = 0;
  virtual bool read_only() const = 0;
  // Whether a write that has returned may be lost with the power before a Sync. True unless the
  // device is known to write through.
  virtual bool volatile_cache() const { return true; }
  // What its queue says of its cache: "write back", "write through" or "unknown".
  virtual std::string write_cache() const { return "unknown"; }
  // For messages and metric labels: the path.
  virtual const std::string& name() const = 0;

 protected:
  // The checks that every transfer starts with: alignment (kInvalidArgument), range (kOutOfRange).
  absl::Status CheckTransfer(ByteOff off, ConstByteSpan buffer) const;
};

}  // namespace h2bd
