#include "core/fsck/block_ledger.h"

#include "core/base/status.h"

namespace h2bd {
namespace {

size_t GranuleOf(uint64_t off) { return (off % kSegBytes) / kAllocMin; }

}  // namespace

BlockLedger::Claim BlockLedger::ProbeIn(const Segment& segment, size_t first, size_t count,
                                        BrefType type) {
  bool any = false;
  for (size_t i = first; i < first + count; ++i) any |= segment.used[i];
  if (!any) return Claim::kNew;
  if (!segment.start[first]) return Claim::kOverlap;
  // The block that starts here reaches to the next start or to the first unused granule.
  for (size_t i = first + 1; i < first + count; ++i) {
    if (!segment.used[i] || segment.start[i]) return Claim::kOverlap;
  }
  const size_t end = first + count;
  const bool longer = end < kGranules && segment.used[end] && !segment.start[end];
  if (longer) return Claim::kOverlap;
  return segment.data[first] == (type == BrefType::kData) ? Claim::kSame : Claim::kOtherType;
}

BlockLedger::Claim BlockLedger::Probe(DataOff data_off, BrefType type) const {
  const uint64_t off = data_off.offset().v;
  const auto it = segments_.find(off / kSegBytes);
  if (it == segments_.end()) return Claim::kNew;
  return ProbeIn(*it->second, GranuleOf(off), data_off.bytes() / kAllocMin, type);
}

BlockLedger::Claim BlockLedger::Add(DataOff data_off, BrefType type) {
  const uint64_t off = data_off.offset().v;
  H2_ASSERT(off % kAllocMin == 0 && data_off.bytes() >= kAllocMin);
  H2_ASSERT(off % kSegBytes + data_off.bytes() <= kSegBytes);
  std::unique_ptr<Segment>& segment = segments_[off / kSegBytes];
  if (segment == nullptr) segment = std::make_unique<Segment>();
  const size_t first = GranuleOf(off), count = data_off.bytes() / kAllocMin;
  const Claim claim = ProbeIn(*segment, first, count, type);
  if (claim != Claim::kNew) return claim;
  segment->start.set(first);
  segment->data.set(first, type == BrefType::kData);
  for (size_t i = first; i < first + count; ++i) segment->used.set(i);
  return claim;
}

bool BlockLedger::AnyUsed(uint64_t begin, uint64_t end) const {
  const auto it = segments_.find(begin / kSegBytes);
  if (it == segments_.end()) return false;
  const size_t first = GranuleOf(begin), count = (end - begin) / kAllocMin;
  H2_ASSERT(first + count <= kGranules);
  for (size_t i = first; i < first + count; ++i) {
    if (it->second->used[i]) return true;
  }
  return false;
}

void UsedChunks::Add(const BlockLedger& ledger) {
  constexpr size_t kPerChunk = kChunkBytes / kAllocMin;
  for (const auto& [number, segment] : ledger.segments_) {
    std::bitset<kChunksPerSegment>& chunks = segments_[number];
    for (size_t i = 0; i < BlockLedger::kGranules; ++i) {
      if (segment->used[i]) chunks.set(i / kPerChunk);
    }
  }
}

std::bitset<kChunksPerSegment> UsedChunks::Segment(uint64_t segment_base) const {
  const auto it = segments_.find(segment_base / kSegBytes);
  return it == segments_.end() ? std::bitset<kChunksPerSegment>() : it->second;
}

}  // namespace h2bd
