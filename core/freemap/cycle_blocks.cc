#include "core/freemap/cycle_blocks.h"

namespace h2bd {

void CycleBlocks::Given(DataOff data_off, bool opened_chunk) {
  H2_ASSERT(blocks_.insert(data_off.raw).second);
  if (data_off.radix() >= kChunkRadix) return;
  Chunk& chunk = chunks_[RoundDown(data_off.offset().v, kChunkBytes)];
  chunk.opened |= opened_chunk;
  ++chunk.live;
}

CycleBlocks::Returned CycleBlocks::Return(DataOff data_off) {
  if (blocks_.erase(data_off.raw) == 0) return Returned::kUnknown;
  if (data_off.radix() >= kChunkRadix) return Returned::kBlock;
  const auto it = chunks_.find(RoundDown(data_off.offset().v, kChunkBytes));
  H2_ASSERT(it != chunks_.end() && it->second.live > 0);
  if (--it->second.live > 0 || !it->second.opened) return Returned::kPart;
  chunks_.erase(it);
  return Returned::kBlock;
}

void CycleBlocks::Clear() {
  blocks_.clear();
  chunks_.clear();
}

}  // namespace h2bd
