#include "core/freemap/held_chunks.h"

#include <algorithm>

namespace h2bd {
namespace {

bool AnyIn(const ChunkSet& chunks) {
  return std::any_of(chunks.begin(), chunks.end(),
                     [](const auto& segment) { return segment.any(); });
}

}  // namespace

void HeldChunks::Hold(Tid header, size_t zone, const ChunkSet& chunks) {
  if (!AnyIn(chunks)) return;
  ChunkSet& held = headers_[header][zone];
  for (size_t s = 0; s < held.size(); ++s) held[s] |= chunks[s];
}

void HeldChunks::Hold(Tid header, size_t zone, size_t segment, const SegmentChunks& chunks) {
  if (chunks.any()) headers_[header][zone][segment] |= chunks;
}

SegmentChunks HeldChunks::In(size_t zone, size_t segment) const {
  SegmentChunks all;
  for (const auto& [header, zones] : headers_) {
    const auto it = zones.find(zone);
    if (it != zones.end()) all |= it->second[segment];
  }
  return all;
}

ChunkSet HeldChunks::In(size_t zone) const {
  ChunkSet all;
  for (const auto& [header, zones] : headers_) {
    const auto it = zones.find(zone);
    if (it == zones.end()) continue;
    for (size_t s = 0; s < all.size(); ++s) all[s] |= it->second[s];
  }
  return all;
}

std::set<size_t> HeldChunks::zones() const {
  std::set<size_t> zones;
  for (const auto& [header, held] : headers_) {
    for (const auto& [zone, chunks] : held) zones.insert(zone);
  }
  return zones;
}

std::vector<std::pair<size_t, ChunkSet>> HeldChunks::Leave(std::span<const Tid> ring) {
  std::vector<std::pair<size_t, ChunkSet>> left;
  for (auto it = headers_.begin(); it != headers_.end();) {
    if (std::find(ring.begin(), ring.end(), it->first) != ring.end()) {
      ++it;
      continue;
    }
    std::map<size_t, ChunkSet> zones = std::move(it->second);
    it = headers_.erase(it);
    for (auto& [zone, chunks] : zones) {
      const ChunkSet others = In(zone);
      for (size_t s = 0; s < chunks.size(); ++s) chunks[s] &= ~others[s];
      if (AnyIn(chunks)) left.emplace_back(zone, chunks);
    }
  }
  return left;
}

}  // namespace h2bd
