#include "core/freemap/space_map.h"

#include <algorithm>

#include "core/media/placement.h"

namespace h2bd {
namespace {

constexpr uint64_t kUnshareBytes = 4096;  // largest physical sector (F-229)

size_t ZoneOf(uint64_t address) { return static_cast<size_t>(address >> kFreemapLeafRadix); }
int SegmentOf(uint64_t address) {
  return static_cast<int>(address >> kSegRadix) & (kFreemapEntries - 1);
}
int ChunkOf(uint64_t address) {
  return static_cast<int>(address >> kChunkRadix) & (kChunksPerSegment - 1);
}
int32_t InSegment(uint64_t address) { return static_cast<int32_t>(address & (kSegBytes - 1)); }

// The counts of `segments` segments in which nothing was ever allocated.
SpaceCounts VirginCounts(int segments) {
  SpaceCounts counts;
  counts.free = int64_t{segments} * kChunksPerSegment;
  counts.groups = counts.free / kChunksPerGroup;
  return counts;
}

}  // namespace

SpaceMap::SpaceMap(uint64_t allocator_beg, uint64_t total_size)
    : allocator_beg_(allocator_beg),
      total_size_(total_size),
      zones_(static_cast<size_t>((total_size + kFreemapLeafSpan - 1) / kFreemapLeafSpan)) {
  for (size_t zone = 0; zone < zones_.size(); ++zone) {
    counts_ += VirginCounts(usable_segments(zone));
    usable_bytes_ += static_cast<uint64_t>(usable_segments(zone)) * kSegBytes;
  }
}

SpaceMap::Range SpaceMap::UsableRange(size_t zone) const {
  const uint64_t base = static_cast<uint64_t>(zone) << kFreemapLeafRadix;
  const uint64_t low = std::max(RoundUp(allocator_beg_, kSegBytes), base + kZoneSegBytes);
  const uint64_t high = std::min(base + kFreemapLeafSpan, RoundDown(total_size_, kSegBytes));
  if (low >= high) return {};
  return {static_cast<int>((low - base) / kSegBytes), static_cast<int>((high - base) / kSegBytes)};
}

int SpaceMap::usable_segments(size_t zone) const {
  const Range usable = UsableRange(zone);
  return usable.end - usable.first;
}

const FreemapLeafData* SpaceMap::leaf(size_t zone) const {
  return zones_[zone].zone == nullptr ? nullptr : &zones_[zone].zone->leaf;
}

std::unique_ptr<SpaceMap::Zone> SpaceMap::NewZone(size_t zone) const {
  auto made = std::make_unique<Zone>();
  const auto first = static_cast<uint16_t>(UsableRange(zone).first);
  for (auto& row : made->from) row.fill(first);
  return made;
}

SpaceMap::Zone* SpaceMap::Ensure(size_t zone) {
  ZoneSlot& slot = zones_[zone];
  if (slot.unreadable) return nullptr;
  if (slot.zone != nullptr) return slot.zone.get();
  const NewLeaf initial =
      InitialLeaf(static_cast<uint64_t>(zone) << kFreemapLeafRadix, allocator_beg_, total_size_);
  if (initial.usable_segments == 0) return nullptr;
  H2_ASSERT(initial.usable_segments == usable_segments(zone));
  slot.zone = NewZone(zone);
  slot.zone->leaf = initial.data;
  return slot.zone.get();
}

int SpaceMap::Load(size_t zone, std::unique_ptr<FreemapLeafData> leaf) {
  H2_ASSERT(zones_[zone].zone == nullptr && !zones_[zone].unreadable);
  const Range usable = UsableRange(zone);
  counts_ -= VirginCounts(usable.end - usable.first);
  int wrong = 0;
  for (int s = 0; s < kFreemapEntries; ++s) {
    BmapData& segment = (*leaf)[static_cast<size_t>(s)];
    const SpaceCounts counts = CountSegment(segment);
    const auto avail = static_cast<uint32_t>(counts.free) * static_cast<uint32_t>(kChunkBytes);
    wrong += segment.avail != avail;
    segment.avail = avail;
    if (LinearIsOpen(segment.linear)) segment.linear = kLinearOff;
    if (usable.contains(s)) counts_ += counts;
  }
  zones_[zone].zone = NewZone(zone);
  zones_[zone].zone->leaf = *leaf;
  return wrong;
}

void SpaceMap::SetUnreadable(size_t zone) {
  ZoneSlot& slot = zones_[zone];
  H2_ASSERT(slot.zone == nullptr && !slot.unreadable);
  slot.unreadable = true;
  counts_ -= VirginCounts(usable_segments(zone));
  unreadable_bytes_ += static_cast<uint64_t>(usable_segments(zone)) * kSegBytes;
}

void SpaceMap::Grow(uint64_t total_size) {
  H2_ASSERT(total_size >= total_size_ && total_size % kSegBytes == 0);
  const size_t old_zones = zones_.size();
  const size_t last = old_zones - 1;
  const int before = usable_segments(last), end_before = UsableRange(last).end;
  total_size_ = total_size;
  zones_.resize(static_cast<size_t>((total_size + kFreemapLeafSpan - 1) / kFreemapLeafSpan));
  for (auto& row : first_zone_) {
    for (size_t& first : row) first = std::min(first, last);
  }
  for (size_t zone = last; zone < zones_.size(); ++zone) {
    const int added = usable_segments(zone) - (zone == last ? before : 0);
    const uint64_t bytes = static_cast<uint64_t>(added) * kSegBytes;
    usable_bytes_ += bytes;
    if (zones_[zone].unreadable) unreadable_bytes_ += bytes;
    if (zones_[zone].zone == nullptr && !zones_[zone].unreadable) counts_ += VirginCounts(added);
  }
  if (zones_[last].zone == nullptr) return;
  const Range usable = UsableRange(last);
  for (int s = std::max(usable.first, end_before); s < usable.end; ++s) {
    // Edit counts what it was before, too; it was not usable then.
    counts_ += CountSegment(zones_[last].zone->leaf[static_cast<size_t>(s)]);
    Edit(last, s, [](BmapData& b) { b = BmapData::Free(); });
  }
}

std::optional<SpaceMap::Found> SpaceMap::Allocate(BrefType type, unsigned radix, Key key) {
  H2_ASSERT(type >= BrefType::kInode && type <= BrefType::kDirent);
  H2_ASSERT(radix >= kRadixMin && radix <= kRadixMax);
  const size_t own_class = static_cast<size_t>(type) - static_cast<size_t>(BrefType::kInode);
  std::optional<Found> found = AllocateIn(own_class, type, radix, key);
  if (!found.has_value()) found = AllocateIn(kAnyClass, type, radix, key);
  return found;
}

std::optional<SpaceMap::Found> SpaceMap::AllocateIn(size_t row, BrefType type, unsigned radix,
                                                    Key key) {
  const uint16_t wanted = FreemapClass(type);
  for (size_t& z = first_zone_[row][radix - kRadixMin]; z < zones_.size(); ++z) {
    Zone* zone = Ensure(z);
    if (zone == nullptr) continue;
    const int end = UsableRange(z).end;
    for (uint16_t& s = zone->from[row][radix - kRadixMin]; s < end; ++s) {
      const BmapData& segment = zone->leaf[s];
      if (row != kAnyClass && segment.class_ != 0 && segment.class_ != wanted) continue;
      if (segment.avail == 0 && !LinearIsOpen(segment.linear)) continue;
      BmapData changed = segment;
      const std::optional<BmapPick> pick = BmapAlloc(changed, type, radix, key);
      if (!pick.has_value()) continue;
      Edit(z, s, [&](BmapData& b) { b = changed; });
      if (radix < kChunkRadix) served_.emplace(z, s);
      const uint64_t base = (static_cast<uint64_t>(z) << kFreemapLeafRadix) + s * kSegBytes;
      return Found{ByteOff(base + pick->offset), pick->opened_chunk};
    }
  }
  return std::nullopt;
}

template <class Change>
void SpaceMap::Edit(size_t zone, int segment, Change change) {
  BmapData& b = zones_[zone].zone->leaf[static_cast<size_t>(segment)];
  const SpaceCounts before = CountSegment(b);
  change(b);
  const SpaceCounts after = CountSegment(b);
  b.avail = static_cast<uint32_t>(after.free) * static_cast<uint32_t>(kChunkBytes);
  if (UsableRange(zone).contains(segment)) {
    counts_ -= before;
    counts_ += after;
  }
  if (after.free > before.free) LowerHints(zone, segment);
  dirty_.insert(zone);
}

void SpaceMap::LowerHints(size_t zone, int segment) {
  for (size_t row = 0; row < kRows; ++row) {
    for (size_t radix = 0; radix < kRadixes; ++radix) {
      uint16_t& from = zones_[zone].zone->from[row][radix];
      from = std::min(from, static_cast<uint16_t>(std::max(segment, UsableRange(zone).first)));
      first_zone_[row][radix] = std::min(first_zone_[row][radix], zone);
    }
  }
}

void SpaceMap::FreeChunks(ByteOff address, uint64_t bytes) {
  H2_ASSERT((address.v | bytes) % kChunkBytes == 0);
  const int32_t begin = InSegment(address.v);
  const auto end = begin + static_cast<int32_t>(bytes);
  Edit(ZoneOf(address.v), SegmentOf(address.v), [&](BmapData& b) {
    for (int c = begin >> kChunkRadix; c < end >> kChunkRadix; ++c) {
      H2_ASSERT(b.chunk(c) == ChunkState::kAllocated);
      b.set_chunk(c, ChunkState::kFree);
    }
    if (b.linear > begin && b.linear < end) b.linear = kLinearOff;
    if (CountSegment(b).free == kChunksPerSegment) b = BmapData::Free();
  });
}

void SpaceMap::Rewind(ByteOff address, uint64_t bytes) {
  const size_t zone = ZoneOf(address.v);
  const int segment = SegmentOf(address.v);
  BmapData& b = zones_[zone].zone->leaf[static_cast<size_t>(segment)];
  const int32_t begin = InSegment(address.v);
  // At the start of its chunk there is nothing to go back to: an aligned iterator is off.
  if (!LinearIsOpen(b.linear) || !LinearIsOpen(begin)) return;
  if (b.linear != begin + static_cast<int32_t>(bytes)) return;
  b.linear = begin;
  dirty_.insert(zone);
  LowerHints(zone, segment);
}

bool SpaceMap::ForceAllocated(DataOff data_off, BrefType type) {
  const uint64_t address = data_off.offset().v;
  const size_t z = ZoneOf(address);
  const bool leaf_was_missing = zones_[z].zone == nullptr;
  if (Ensure(z) == nullptr) return false;
  if (leaf_was_missing) dirty_.insert(z);
  const int s = SegmentOf(address);
  const BmapData& segment = zones_[z].zone->leaf[static_cast<size_t>(s)];
  const int first = ChunkOf(address);
  const int32_t end = InSegment(address) + static_cast<int32_t>(data_off.bytes());
  const int last = static_cast<int>((end - 1) >> kChunkRadix);
  BmapData changed = segment;
  bool forced = false;
  for (int c = first; c <= last; ++c) {
    if (changed.chunk(c) == ChunkState::kAllocated) continue;
    changed.set_chunk(c, ChunkState::kAllocated);
    forced = true;
  }
  if (forced && changed.class_ == 0) changed.class_ = FreemapClass(type);
  const int iterator_chunk = changed.linear >> kChunkRadix;
  const bool iterator_inside = LinearIsOpen(changed.linear) && iterator_chunk >= first &&
                               iterator_chunk <= last && changed.linear < end;
  if (forced || iterator_inside) changed.linear = kLinearOff;
  if (changed != segment) Edit(z, s, [&](BmapData& b) { b = changed; });
  return forced;
}

ChunkSet SpaceMap::Stage(size_t zone, const FreemapLeafData& older, const ChunkSet& staged) {
  ChunkSet reached;
  if (Ensure(zone) == nullptr) return reached;
  const Range usable = UsableRange(zone);
  const bool was_dirty = dirty_.contains(zone);
  for (int s = usable.first; s < usable.end; ++s) {
    const auto i = static_cast<size_t>(s);
    // Off-limits to the older header (the volume has grown since), hence in nobody's tree.
    if (older[i] == BmapData::Reserved()) continue;
    BmapData changed = zones_[zone].zone->leaf[i];
    for (int c = 0; c < kChunksPerSegment; ++c) {
      const auto bit = static_cast<size_t>(c);
      const bool free = changed.chunk(c) == ChunkState::kFree;
      if (older[i].chunk(c) == ChunkState::kFree || !(free || staged[i].test(bit))) continue;
      reached[i].set(bit);
      if (free) changed.set_chunk(c, ChunkState::kStaged);
    }
    if (changed != zones_[zone].zone->leaf[i]) Edit(zone, s, [&](BmapData& b) { b = changed; });
  }
  if (!was_dirty) dirty_.erase(zone);
  return reached;
}

SegmentChunks SpaceMap::StageBlock(DataOff data_off, const SegmentChunks& staged) {
  const uint64_t address = data_off.offset().v;
  const size_t zone = ZoneOf(address);
  const int s = SegmentOf(address);
  SegmentChunks reached;
  if (Ensure(zone) == nullptr || !UsableRange(zone).contains(s)) return reached;
  const bool was_dirty = dirty_.contains(zone);
  BmapData changed = zones_[zone].zone->leaf[static_cast<size_t>(s)];
  const int last = (InSegment(address) + static_cast<int32_t>(data_off.bytes()) - 1) >> kChunkRadix;
  for (int c = ChunkOf(address); c <= last; ++c) {
    const auto bit = static_cast<size_t>(c);
    const bool free = changed.chunk(c) == ChunkState::kFree;
    if (!free && !staged.test(bit)) continue;
    reached.set(bit);
    if (free) changed.set_chunk(c, ChunkState::kStaged);
  }
  if (changed != zones_[zone].zone->leaf[static_cast<size_t>(s)]) {
    Edit(zone, s, [&](BmapData& b) { b = changed; });
  }
  if (!was_dirty) dirty_.erase(zone);
  return reached;
}

int64_t SpaceMap::CountStaged(size_t zone, const ChunkSet& chunks) const {
  const FreemapLeafData* const data = leaf(zone);
  int64_t staged = 0;
  for (size_t s = 0; data != nullptr && s < chunks.size(); ++s) {
    if (chunks[s].none()) continue;
    for (int c = 0; c < kChunksPerSegment; ++c) {
      staged +=
          chunks[s].test(static_cast<size_t>(c)) && (*data)[s].chunk(c) == ChunkState::kStaged;
    }
  }
  return staged;
}

void SpaceMap::Unstage(size_t zone, const ChunkSet& chunks) {
  for (int s = 0; s < kFreemapEntries; ++s) {
    const auto& wanted = chunks[static_cast<size_t>(s)];
    if (wanted.none()) continue;
    Edit(zone, s, [&](BmapData& b) {
      for (int c = 0; c < kChunksPerSegment; ++c) {
        if (wanted.test(static_cast<size_t>(c)) && b.chunk(c) == ChunkState::kStaged) {
          b.set_chunk(c, ChunkState::kFree);
        }
      }
    });
  }
}

void SpaceMap::RoundLinears() {
  for (const auto& [zone, segment] : served_) {
    int32_t& linear = zones_[zone].zone->leaf[static_cast<size_t>(segment)].linear;
    if (!LinearIsOpen(linear)) continue;
    // Not worth a write of the leaf: the media promise less space as free than there is, never
    // more.
    linear = static_cast<int32_t>(RoundUp(static_cast<uint64_t>(linear), kUnshareBytes));
  }
  served_.clear();
}

}  // namespace h2bd
