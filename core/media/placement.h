// Where things lie in the address space (spec 01 section 2, spec 02 section 1).
#pragma once

#include <cstdint>

#include "core/media/blockref.h"
#include "core/media/freemap_data.h"

namespace h2bd {

// --- volume headers -------------------------------------------------------------------------

constexpr ByteOff HeaderSlotOffset(int slot) {
  return ByteOff(static_cast<uint64_t>(slot) * kVolumeHeaderSpacing);
}
// Slots that exist on a volume of `volu_size` bytes, for the flush: a slot needs its whole reserved
// segment (spec 01 section 2.8). 1..4.
int HeaderSlotCount(uint64_t volu_size);
// spec 04 F-119.
int NextHeaderSlot(int slot, uint64_t volu_size);

// --- freemap blocks -------------------------------------------------------------------------

// Level of a freemap blockref: keybits 30 -> 0 (leaf), 38 -> 1 … 62 -> 4. -1 for any other keybits.
int FreemapLevel(unsigned keybits);
// data_off of copy `copy` (0..7) of the freemap block that covers [key, key + 2^keybits).
DataOff FreemapBlockPlace(Key key, unsigned keybits, int copy);
// Copy index of a freemap block from its data_off; -1 when it lies in no slot for its keybits.
int FreemapCopyOf(DataOff data_off, Key key, unsigned keybits);

// --- space ----------------------------------------------------------------------------------

struct AreaSizes {
  uint64_t boot = 0;
  uint64_t aux = 0;
};
// Default sizes of the boot and aux areas (spec 01 section 2.3).
AreaSizes DefaultAreas(uint64_t total_size);
// Bytes in reserved segments: 4 MiB per started GiB.
uint64_t ReservedBytes(uint64_t total_size);

// Content of a freemap leaf when it is made (spec 02 section 3.2), and how many of its segments are
// usable.
struct NewLeaf {
  FreemapLeafData data;
  int usable_segments = 0;
};
NewLeaf InitialLeaf(uint64_t zone_base, uint64_t allocator_beg, uint64_t total_size);

// Whether a topology block may lie at `data_off` (spec 01 section 2.5): inside the address space,
// past the first 64 KiB, within one device buffer, not in a reserved segment. kDataLoss names what
// is wrong.
absl::Status CheckPlacement(DataOff data_off, uint64_t total_size);

}  // namespace h2bd
