// Where new blocks come from. Declared here, below its users; core/freemap implements it.
#pragma once

#include "core/media/blockref.h"

namespace h2bd {

struct Allocation {
  DataOff data_off;
  // No block that was written before the running cycle lives in the 4 KiB units of this one: it can
  // be written without reading, whatever state the media there are in.
  bool fresh_units = false;
};

// Thread-safe.
class BlockAllocator {
 public:
  virtual ~BlockAllocator() = default;

  // A block of 2^radix bytes for an element of `type` and `key` (both are placement hints). The
  // block is in no published header's tree. kResourceExhausted when no run of that size is free.
  virtual absl::StatusOr<Allocation> Allocate(BrefType type, unsigned radix, Key key) = 0;

  // Takes back a block that Allocate gave out in the running cycle and that no blockref names.
  virtual void Undo(DataOff data_off, BrefType type) = 0;

  // The live tree no longer names this block. It may still be reached from older headers, from
  // snapshots or by de-duplication, so this is a hint for reclaim and frees nothing by itself.
  virtual void Dropped(const Blockref& bref) = 0;
};

}  // namespace h2bd
