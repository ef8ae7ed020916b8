// Chunks that the newest header calls free while an older header of the ring still has them in use.
//
// The reference frees without looking at older headers (spec 02 section 6.8). A volume that it
// wrote may thus have free chunks that an older header reaches; giving them out would break that
// header (spec 02 rule 0.7, spec 04 I-02). They are staged in memory until the header has left the
// ring.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "core/base/types.h"
#include "core/freemap/space_map.h"

namespace h2bd {

// Not thread-safe. Memory is bounded by 8 KiB for each zone and header.
class HeldChunks {
 public:
  // `header` reaches `chunks` of `zone`.
  void Hold(Tid header, size_t zone, const ChunkSet& chunks);
  void Hold(Tid header, size_t zone, size_t segment, const SegmentChunks& chunks);
  // Forgets the headers that are not in `ring`; returns, by zone, the chunks that no header holds
  // any more.
  std::vector<std::pair<size_t, ChunkSet>> Leave(std::span<const Tid> ring);
  // All that is held in `zone`.
  ChunkSet In(size_t zone) const;
  SegmentChunks In(size_t zone, size_t segment) const;
  // The zones in which anything is held.
  std::set<size_t> zones() const;

 private:
  std::map<Tid, std::map<size_t, ChunkSet>> headers_;
};

}  // namespace h2bd
