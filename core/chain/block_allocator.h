// Where new blocks come from. Declared here, below its users; core/freemap implements it.
#pragma once

#include <span>

#include "core/media/blockref.h"
#include "core/media/decode.h"

namespace h2bd {

struct Allocation {
  DataOff data_off;
  // No block that was written before the running cycle lives in the 4 KiB units of this one: it can
  // be written without reading, whatever state the media there are in.
  bool fresh_units = false;
};

// A block that the live tree no longer names.
struct DroppedBlock {
  DataOff data_off;
  Tid mirror_tid, modify_tid;
  BrefType type;
  // Written after the last snapshot or clone of its PFS: no other tree names it, but for what
  // de-duplication shares and other implementations did.
  bool exact_by_horizon;
};

// An INODE or INDIRECT that the live tree no longer names, with all below it, none of which was
// read when it was dropped: each block of it counts as dropped, too.
struct DroppedTree {
  Blockref root;
  TableKind kind;  // of the tables in which `root` stood
  Tid horizon;     // blocks with a higher modify_tid are exact by horizon
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

  // The tree in memory no longer names these blocks, and what is above them will not name the old
  // tree in any later header; each block is told once. They may still be reached from older
  // headers, from snapshots or by de-duplication, so this frees nothing by itself.
  virtual void Dropped(std::span<const DroppedBlock> blocks,
                       std::span<const DroppedTree> trees) = 0;
};

}  // namespace h2bd
