// Reads a topology back from the device with core/media alone and checks what other implementations
// rely on.
#pragma once

#include <map>
#include <vector>

#include "core/device/block_device.h"
#include "core/media/decode.h"

namespace h2bd {

struct WalkedTable {
  Blockref bref;
  std::vector<Blockref> entries;
};

struct Topology {
  std::map<Key, Blockref> leaves;
  std::vector<WalkedTable> tables;  // INDIRECT blocks, parents first
  // The tables of one keybits, for shapes.
  std::vector<const WalkedTable*> OfKeybits(unsigned keybits) const;
};

// Walks everything below `blockset`. Reports as test failures: a wrong check code, a field or an
// order that DecodeTable refuses (T1, T3 to T6), a table size other than 4, 16 and 64 KiB (T9), a
// used slot behind an empty one or an empty slot with bytes (R7), an empty table (T11), statistics
// off the formula of spec 01 section 4.6, tids below those beneath (M-2, F-146), metadata without a
// check code.
Topology WalkTopology(BlockDevice& device, const std::vector<Blockref>& blockset, TableKind kind);

// The non-empty entries of a blockset.
std::vector<Blockref> Entries(const std::array<Blockref, 4>& blockset);

}  // namespace h2bd
