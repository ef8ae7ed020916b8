// A freemap made from what is in use. Private to the repair.
#pragma once

#include <memory>
#include <vector>

#include "core/dio/dio.h"
#include "core/freemap/freemap_tree.h"
#include "core/freemap/space_map.h"
#include "core/fsck/freemap_check.h"
#include "core/fsck/repair.h"
#include "core/volhdr/header_ring.h"

namespace h2bd {

// What a freemap is measured against.
struct SpaceInUse {
  UsedChunks chunks;                    // below any valid header
  const BlockLedger* newest = nullptr;  // below the newest one
  bool keep_marked = false;             // what is marked stays marked
  bool linears_off = false;             // the freemap lagged: no open iterator is believed
};

class FreemapRepair {
 public:
  // `found`: the freemap of `header` as it is. `rebuild`: its tables cannot be used, all leaves get
  // new ones.
  FreemapRepair(const VolumeData& header, const FreemapView& found, bool rebuild);

  // Works out every leaf; says what differs.
  void Compare(const SpaceInUse& in_use, std::vector<RepairAction>& actions);

  // Space for the repair's own blocks, out of what no header reaches. After Compare.
  std::optional<DataOff> Allocate(BrefType type, unsigned radix, Key key);

  bool changed() const { return rebuild_ || !map_.dirty().empty(); }
  uint64_t allocator_free(uint64_t allocator_size) const;

  // Writes all leaves that differ into copies that no header of `ring` names; returns the blockset.
  absl::StatusOr<std::array<Blockref, 4>> Write(const FlushTids& tids,
                                                const std::vector<RingEntry>& ring,
                                                DeviceSet& devices);

 private:
  BmapData Wanted(uint64_t base, const BmapData* before, const SpaceInUse& in_use);

  const VolumeData& header_;
  const FreemapView& found_;
  const bool rebuild_;
  SpaceMap map_;
  uint64_t marked_ = 0, freed_ = 0, mended_ = 0;  // chunks, chunks, segments
};

}  // namespace h2bd
