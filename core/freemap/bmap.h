// One freemap segment: counting its chunks, and the allocation step inside it (spec 02
// section 3.4). Pure functions over BmapData.
#pragma once

#include <cstdint>
#include <optional>

#include "core/media/freemap_data.h"

namespace h2bd {

// Chunks by state, and the 64 KiB groups whose four chunks are all free: only those can take a 64
// KiB block.
struct SpaceCounts {
  int64_t free = 0;    // 00
  int64_t staged = 0;  // 10
  int64_t used = 0;    // 11, and 01 where somebody wrote it
  int64_t groups = 0;

  SpaceCounts& operator+=(const SpaceCounts& other);
  SpaceCounts& operator-=(const SpaceCounts& other);
  friend bool operator==(const SpaceCounts&, const SpaceCounts&) = default;
};
inline constexpr int kChunksPerGroup = static_cast<int>(kPbufBytes / kChunkBytes);

// `word` is one bitmapq element: 32 chunks, 8 groups.
SpaceCounts CountWord(uint64_t word);
SpaceCounts CountSegment(const BmapData& segment);

// Whether `linear` points into a chunk whose rest is free for small blocks.
constexpr bool LinearIsOpen(int32_t linear) {
  return (static_cast<uint64_t>(linear) & (kChunkBytes - 1)) != 0 && linear > 0 &&
         linear < kLinearOff;
}

struct BmapPick {
  uint32_t offset = 0;        // of the block in the segment
  bool opened_chunk = false;  // its (first) chunk was free before
};

// Takes 2^radix bytes for an element of `type` and `key`: bitmap, linear, class and avail are
// brought up to date. nullopt, and nothing changed, when the segment has no fitting run. The caller
// has checked the class.
std::optional<BmapPick> BmapAlloc(BmapData& segment, BrefType type, unsigned radix, Key key);

}  // namespace h2bd
