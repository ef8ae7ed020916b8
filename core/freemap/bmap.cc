#include "core/freemap/bmap.h"

#include <bit>

namespace h2bd {
namespace {

constexpr uint64_t kLowBits = 0x5555555555555555;  // one bit for each chunk of a word

// Bit 2i is set when chunk i of the word is free.
constexpr uint64_t FreeBits(uint64_t word) { return ~(word | word >> 1) & kLowBits; }

// Bit 2i is set when chunks i .. i+count-1 are free and i is a multiple of `count` (1, 2 or 4).
constexpr uint64_t FreeRuns(uint64_t word, int count) {
  uint64_t runs = FreeBits(word);
  if (count >= 2) runs &= runs >> 2;
  if (count >= 4) runs &= runs >> 4;
  if (count == 2) runs &= 0x1111111111111111;
  if (count == 4) runs &= 0x0101010101010101;
  return runs;
}

std::optional<int> LowestFreeRun(const BmapData& segment, int count) {
  for (size_t i = 0; i < segment.bitmapq.size(); ++i) {
    const uint64_t runs = FreeRuns(segment.bitmapq[i], count);
    if (runs != 0) return static_cast<int>(i) * 32 + std::countr_zero(runs) / 2;
  }
  return std::nullopt;
}

// File data that fills whole chunks likes to lie in the order of its file offsets.
std::optional<int> WishedRun(const BmapData& segment, Key key, int count) {
  const int wish = static_cast<int>(key.v >> kChunkRadix) & (kChunksPerSegment - 1) & ~(count - 1);
  const uint64_t runs = FreeRuns(segment.bitmapq[static_cast<size_t>(wish >> 5)], count);
  if ((runs >> ((wish & 31) * 2) & 1) == 0) return std::nullopt;
  return wish;
}

}  // namespace

SpaceCounts& SpaceCounts::operator+=(const SpaceCounts& other) {
  free += other.free;
  staged += other.staged;
  used += other.used;
  groups += other.groups;
  return *this;
}

SpaceCounts& SpaceCounts::operator-=(const SpaceCounts& other) {
  free -= other.free;
  staged -= other.staged;
  used -= other.used;
  groups -= other.groups;
  return *this;
}

SpaceCounts CountWord(uint64_t word) {
  const uint64_t free = FreeBits(word);
  const uint64_t staged = (word >> 1) & ~word & kLowBits;
  SpaceCounts counts;
  counts.free = std::popcount(free);
  counts.staged = std::popcount(staged);
  counts.used = 32 - counts.free - counts.staged;
  counts.groups = std::popcount(FreeRuns(word, kChunksPerGroup));
  return counts;
}

SpaceCounts CountSegment(const BmapData& segment) {
  SpaceCounts counts;
  for (const uint64_t word : segment.bitmapq) counts += CountWord(word);
  return counts;
}

std::optional<BmapPick> BmapAlloc(BmapData& segment, BrefType type, unsigned radix, Key key) {
  const auto bytes = int32_t{1} << radix;
  const auto chunk_bytes = static_cast<int32_t>(kChunkBytes);
  const int count = bytes < chunk_bytes ? 1 : bytes / chunk_bytes;
  const int32_t in_chunk = segment.linear & (chunk_bytes - 1);

  int chunk = 0;
  BmapPick pick;
  if (LinearIsOpen(segment.linear) && in_chunk + bytes <= chunk_bytes) {
    pick.offset = static_cast<uint32_t>(segment.linear);
    chunk = segment.linear >> kChunkRadix;
    segment.linear += bytes;
  } else {
    std::optional<int> run;
    if (type == BrefType::kData && radix >= kChunkRadix) run = WishedRun(segment, key, count);
    if (!run.has_value()) run = LowestFreeRun(segment, count);
    if (!run.has_value()) return std::nullopt;
    chunk = *run;
    pick.offset = static_cast<uint32_t>(chunk) << kChunkRadix;
    // The rest of a chunk that is opened before is given up until the whole chunk becomes free.
    if (bytes < chunk_bytes) segment.linear = static_cast<int32_t>(pick.offset) + bytes;
  }
  pick.opened_chunk = segment.chunk(chunk) == ChunkState::kFree;
  for (int c = chunk; c < chunk + count; ++c) {
    if (segment.chunk(c) == ChunkState::kFree) segment.avail -= static_cast<uint32_t>(kChunkBytes);
    segment.set_chunk(c, ChunkState::kAllocated);
  }
  if (segment.class_ == 0) segment.class_ = FreemapClass(type);
  return pick;
}

}  // namespace h2bd
