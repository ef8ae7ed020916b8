// All segments of the volume in memory, and the search for the one that takes the next block.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "core/freemap/bmap.h"
#include "core/media/blockref.h"
#include "core/media/freemap_data.h"

namespace h2bd {

using SegmentChunks = std::bitset<kChunksPerSegment>;
// Some chunks of one zone, by segment.
using ChunkSet = std::array<SegmentChunks, kFreemapEntries>;

// The address space is a row of 1 GiB zones with one leaf each; zone n starts at n GiB. A leaf that
// never was on the media is made when the first block goes into its zone. Not thread-safe.
//
// The search is first fit by address, among segments of the wanted class or of none; when that
// finds nothing, among all. For each class and size a hint says where no earlier segment fits.
// Allocation can only make a segment fit less, so a hint moves forward with each failed try and
// back where something is freed: in steady state the first try succeeds, and space is found
// whenever there is any.
class SpaceMap {
 public:
  // Blocks are placed in whole segments between `allocator_beg` and `total_size` (spec 02
  // section 3.2).
  SpaceMap(uint64_t allocator_beg, uint64_t total_size);

  // --- loading
  // ----------------------------------------------------------------------------------------- Takes
  // a leaf read from the media. `avail` is recomputed from the bitmaps; open `linear`s are switched
  // off, because they are a promise that another writer may have broken (spec 02 sections 0.3
  // and 7.5). Returns in how many segments avail was wrong.
  int Load(size_t zone, std::unique_ptr<FreemapLeafData> leaf);
  // The address space ends at `total_size`, which is more than before: what lay past the end in the
  // leaf of the old end becomes free, and zones without a leaf follow (spec 02 section 8.4).
  void Grow(uint64_t total_size);
  // Nothing is ever allocated in this zone.
  void SetUnreadable(size_t zone);

  // --- blocks
  // ------------------------------------------------------------------------------------------
  struct Found {
    ByteOff address;
    bool opened_chunk = false;  // the block's (first) chunk was free before
  };
  std::optional<Found> Allocate(BrefType type, unsigned radix, Key key);
  // Frees the chunks of [address, address + bytes), both multiples of 16 KiB.
  void FreeChunks(ByteOff address, uint64_t bytes);
  // Moves the sub-chunk iterator back over a small block, where that was the last that it served.
  void Rewind(ByteOff address, uint64_t bytes);
  // Spec 02 section 4 for one block inside the address space; true when a chunk was not 11.
  bool ForceAllocated(DataOff data_off, BrefType type);

  // --- chunks that older headers still reach
  // ----------------------------------------------------------- The chunks that `older` has in use
  // and that are free, or are in `staged` already (by another header). Stages (10) those that are
  // free. The leaf does not become dirty: what the media say is right, too.
  ChunkSet Stage(size_t zone, const FreemapLeafData& older, const ChunkSet& staged);
  // The same for one block inside the address space; the chunks are those of its segment.
  SegmentChunks StageBlock(DataOff data_off, const SegmentChunks& staged);
  int64_t CountStaged(size_t zone, const ChunkSet& chunks) const;
  // Staged chunks of `chunks` become free.
  void Unstage(size_t zone, const ChunkSet& chunks);

  // Rounds the iterators that served blocks since the last call up to 4 KiB (F-229).
  void RoundLinears();

  // --- for the flush
  // -----------------------------------------------------------------------------------
  const std::set<size_t>& dirty() const { return dirty_; }
  std::set<size_t> TakeDirty() { return std::exchange(dirty_, {}); }
  void MarkDirty(size_t zone) { dirty_.insert(zone); }
  // Null: the zone has no leaf in memory.
  const FreemapLeafData* leaf(size_t zone) const;
  int usable_segments(size_t zone) const;

  size_t zone_count() const { return zones_.size(); }
  // Over the usable segments of readable zones.
  const SpaceCounts& counts() const { return counts_; }
  uint64_t usable_bytes() const { return usable_bytes_; }
  uint64_t unreadable_bytes() const { return unreadable_bytes_; }

 private:
  static constexpr size_t kRadixes = kRadixMax - kRadixMin + 1;
  static constexpr size_t kRows = 5;  // requests of class INODE, INDIRECT, DATA, DIRENT; any class
  static constexpr size_t kAnyClass = 4;
  template <class Position>
  using Hints = std::array<std::array<Position, kRadixes>, kRows>;

  struct Zone {
    FreemapLeafData leaf;
    Hints<uint16_t> from;  // no segment before it fits
  };
  struct ZoneSlot {
    std::unique_ptr<Zone> zone;  // null: no leaf yet
    bool unreadable = false;
  };
  struct Range {
    int first = 0, end = 0;
    bool contains(int segment) const { return segment >= first && segment < end; }
  };

  Range UsableRange(size_t zone) const;
  Zone* Ensure(size_t zone);  // null: unreadable, or nothing in it is usable
  std::unique_ptr<Zone> NewZone(size_t zone) const;
  std::optional<Found> AllocateIn(size_t row, BrefType type, unsigned radix, Key key);
  // Runs `change` on a segment and brings avail, the counts and the dirty set up to date.
  template <class Change>
  void Edit(size_t zone, int segment, Change change);
  void LowerHints(size_t zone, int segment);

  const uint64_t allocator_beg_;
  uint64_t total_size_;
  std::vector<ZoneSlot> zones_;
  Hints<size_t> first_zone_{};
  std::set<size_t> dirty_;
  std::set<std::pair<size_t, int>> served_;  // segments whose iterator moved since RoundLinears
  SpaceCounts counts_;
  uint64_t usable_bytes_ = 0;
  uint64_t unreadable_bytes_ = 0;
};

}  // namespace h2bd
