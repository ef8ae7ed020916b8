// How tables are sized, where they split and what they sum up to: the arithmetic of the topology,
// without locks or I/O (spec 03 sections 2.4, 2.9 and 3.2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/media/blockref.h"
#include "core/media/decode.h"

namespace h2bd {

// Aggregates over the entries of a table (spec 01 section 4.6).
struct ChainStats {
  uint64_t data_count = 0;
  uint64_t inode_count = 0;
  uint16_t leaf_count = 0;
  friend bool operator==(const ChainStats&, const ChainStats&) = default;
};
ChainStats StatsOf(std::span<const Blockref> entries);
void SetStats(Blockref& bref, const ChainStats& stats);

// Highest modify_tid of the entries; it bounds that of the blockref above them from below (R9,
// F-146).
Tid HighestModifyTid(std::span<const Blockref> entries);

struct KeyRange {
  Key key;
  unsigned keybits = 0;
  friend bool operator==(const KeyRange&, const KeyRange&) = default;
};

// Slots that a table of `slots` gets when it is rewritten: 32, 128 or 512. Any power of two can be
// read, but the reference panics when it must split a table of another size (R4).
size_t LegalSlots(size_t slots);

// Slots of the INDIRECT that a full table of `parent_slots` gets; `under_inode`: the full table is
// the blockset of the inode.
size_t NewTableSlots(TableKind kind, bool under_inode, size_t parent_slots);

// The range of that INDIRECT. `entries` is the full table, `inserted` the key that found no room.
// At least one entry lies in the range, none crosses its border, and it is at most half of the key
// space (R2, R3, R5). Files split bottom-up by a fixed fanout, directories and the inode index by
// halving.
KeyRange SplitRange(TableKind kind, std::span<const Blockref> entries, Key inserted,
                    size_t new_slots);

}  // namespace h2bd
