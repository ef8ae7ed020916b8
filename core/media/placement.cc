#include "core/media/placement.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "core/media/constants.h"
#include "core/media/corrupt.h"

namespace h2bd {
namespace {

constexpr unsigned kFreemapLevelBits = 8;  // 256 entries in each freemap block
constexpr int kFreemapLevels = 5;

// First 64 KiB block of copy 0 in a reserved segment; block 0 is the volume header's.
constexpr uint64_t kFreemapFirstBlock = 1;

uint64_t DefaultArea(uint64_t nominal, uint64_t minimum, uint64_t total_size) {
  uint64_t bytes = nominal;
  while (bytes > total_size / 20) bytes /= 2;
  return RoundUp(std::max(bytes, minimum), kVolumeAlign);
}

}  // namespace

int HeaderSlotCount(uint64_t volu_size) {
  int slots = 1;
  while (slots < kVolumeHeaderSlots && HeaderSlotOffset(slots).v + kZoneSegBytes <= volu_size) {
    ++slots;
  }
  return slots;
}

int NextHeaderSlot(int slot, uint64_t volu_size) {
  const int next = slot + 1;
  return next >= 0 && next < HeaderSlotCount(volu_size) ? next : 0;
}

int FreemapLevel(unsigned keybits) {
  if (keybits < kFreemapLeafRadix || (keybits - kFreemapLeafRadix) % kFreemapLevelBits != 0) {
    return -1;
  }
  const int level = static_cast<int>((keybits - kFreemapLeafRadix) / kFreemapLevelBits);
  return level < kFreemapLevels ? level : -1;
}

DataOff FreemapBlockPlace(Key key, unsigned keybits, int copy) {
  const int level = FreemapLevel(keybits);
  H2_ASSERT(level >= 0 && copy >= 0 && copy < kFreemapCopies);
  const uint64_t base = RoundDown(key.v, uint64_t{1} << keybits);
  const uint64_t block =
      kFreemapFirstBlock + static_cast<uint64_t>(copy * kFreemapCopyStep + level);
  return DataOff::Make(ByteOff(base + block * kPbufBytes), kFreemapBlockRadix);
}

int FreemapCopyOf(DataOff data_off, Key key, unsigned keybits) {
  if (FreemapLevel(keybits) < 0) return -1;
  for (int copy = 0; copy < kFreemapCopies; ++copy) {
    if (FreemapBlockPlace(key, keybits, copy) == data_off) return copy;
  }
  return -1;
}

AreaSizes DefaultAreas(uint64_t total_size) {
  return {.boot = DefaultArea(kBootNominal, kBootMin, total_size),
          .aux = DefaultArea(kAuxNominal, kAuxMin, total_size)};
}

uint64_t ReservedBytes(uint64_t total_size) {
  const uint64_t zones = total_size / kFreemapLeafSpan + (total_size % kFreemapLeafSpan != 0);
  return zones * kZoneSegBytes;
}

BmapData BmapData::Reserved() {
  BmapData segment;
  segment.linear = kLinearOff;
  segment.bitmapq.fill(~uint64_t{0});
  return segment;
}

BmapData BmapData::Free() {
  BmapData segment;
  segment.avail = static_cast<uint32_t>(kSegBytes);
  return segment;
}

NewLeaf InitialLeaf(uint64_t zone_base, uint64_t allocator_beg, uint64_t total_size) {
  H2_ASSERT(zone_base % kFreemapLeafSpan == 0 && allocator_beg <= total_size);
  const uint64_t low = std::max(RoundUp(allocator_beg, kSegBytes), zone_base + kZoneSegBytes);
  const uint64_t high = std::min(zone_base + kFreemapLeafSpan, RoundDown(total_size, kSegBytes));
  NewLeaf leaf;
  uint64_t at = zone_base;
  for (BmapData& segment : leaf.data) {
    const bool usable = low <= at && at < high;
    segment = usable ? BmapData::Free() : BmapData::Reserved();
    leaf.usable_segments += usable;
    at += kSegBytes;
  }
  return leaf;
}

absl::Status CheckPlacement(DataOff data_off, uint64_t total_size) {
  const auto corrupt = [&](absl::string_view field, uint64_t found, absl::string_view legal) {
    return Corrupt(absl::StrFormat("placement data_off=0x%x", data_off.raw), field, found, legal);
  };
  const uint64_t off = data_off.offset().v;
  const uint64_t bytes = data_off.bytes();
  if (data_off.radix() < kRadixMin || data_off.radix() > kRadixMax) {
    return corrupt("radix", data_off.radix(), "10..16");
  }
  if (off % kAllocMin != 0) return corrupt("offset", off, "a multiple of 1 KiB");
  if (bytes > total_size || off > total_size - bytes) {
    return corrupt("offset", off, absl::StrFormat("block ends by 0x%x", total_size));
  }
  // Also covers the first 64 KiB of the address space.
  if (off % kFreemapLeafSpan < kZoneSegBytes) {
    return corrupt("offset", off, "outside the first 4 MiB of each GiB");
  }
  if (bytes >= kChunkBytes && off % kChunkBytes != 0) {
    return corrupt("offset", off, "a multiple of 16 KiB for a block of 16 KiB or more");
  }
  if (bytes < kChunkBytes && off % kChunkBytes + bytes > kChunkBytes) {
    return corrupt("offset", off, "within one 16 KiB cell for a block below 16 KiB");
  }
  if (off % kPbufBytes + bytes > kPbufBytes) {
    return corrupt("offset", off, "within one 64 KiB device buffer");
  }
  return absl::OkStatus();
}

}  // namespace h2bd
