// The freemap leaf entry (spec 01 section 4.9, spec 02 section 2).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/media/blockref.h"

namespace h2bd {

enum class ChunkState : uint8_t {
  kFree = 0,       // 00
  kReserved = 1,   // 01 never written
  kStaged = 2,     // 10 possibly free: staged by bulkfree, treated as allocated
  kAllocated = 3,  // 11
};

// hammer2_bmap_data: one 4 MiB segment, 256 chunks of 16 KiB with 2 bits each.
struct BmapData {
  int32_t linear = 0;                    // 00 offset of the sub-chunk iterator
  uint16_t class_ = 0;                   // 04 bref type << 8 | 16; 0: never used
  uint8_t reserved06 = 0;                // 06
  uint8_t reserved07 = 0;                // 07
  std::array<uint32_t, 5> reserved08{};  // 08
  uint32_t avail = 0;                    // 1c free bytes, multiple of 16384
  std::array<uint32_t, 8> reserved20{};  // 20
  std::array<uint64_t, 8> bitmapq{};     // 40

  ChunkState chunk(int c) const {
    return static_cast<ChunkState>(bitmapq[static_cast<size_t>(c >> 5)] >> ((c & 31) * 2) & 3);
  }
  void set_chunk(int c, ChunkState state) {
    uint64_t& word = bitmapq[static_cast<size_t>(c >> 5)];
    const int shift = (c & 31) * 2;
    word = (word & ~(uint64_t{3} << shift)) | (static_cast<uint64_t>(state) << shift);
  }
  int CountFree() const {
    int free = 0;
    for (int c = 0; c < kChunksPerSegment; ++c) free += chunk(c) == ChunkState::kFree;
    return free;
  }
  static BmapData Reserved();  // bitmap all ones, avail 0, linear 4 MiB
  static BmapData Free();      // all zero but avail 4 MiB
  friend bool operator==(const BmapData&, const BmapData&) = default;
};
static_assert(sizeof(BmapData) == 128 && std::is_trivially_copyable_v<BmapData>);
static_assert(std::has_unique_object_representations_v<BmapData>);
static_assert(offsetof(BmapData, class_) == 0x04 && offsetof(BmapData, avail) == 0x1c);
static_assert(offsetof(BmapData, bitmapq) == 0x40);

using FreemapLeafData = std::array<BmapData, kFreemapEntries>;
static_assert(sizeof(FreemapLeafData) == kFreemapBlockBytes);

// `linear` value that switches the sub-chunk iterator off.
inline constexpr int32_t kLinearOff = static_cast<int32_t>(kSegBytes);

constexpr uint16_t FreemapClass(BrefType type) {
  return static_cast<uint16_t>(static_cast<unsigned>(type) << 8 | 16);
}

}  // namespace h2bd
