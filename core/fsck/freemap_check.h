// The freemap that one header leads to: checked by itself, then asked about blocks (spec 01
// sections 4.9 and 9.5, spec 02 sections 1 and 2).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>

#include "core/base/interval_set.h"
#include "core/fsck/block_ledger.h"
#include "core/fsck/finding_log.h"
#include "core/fsck/media_source.h"
#include "core/media/freemap_data.h"
#include "core/media/volume_data.h"

namespace h2bd {

// Holds every leaf: 32 KiB of memory per GiB that has one. For one thread.
class FreemapView {
 public:
  // Walks the tree below `header.freemap_blockset` and reports what is wrong with it.
  static FreemapView Load(MediaSource& source, const VolumeData& header, FindingLog& log);

  enum class State { kFree, kReserved, kStaged, kAllocated, kNoLeaf, kUnknown };
  // Of the chunk that holds `off`. kUnknown where damage hides it.
  State StateOf(uint64_t off) const;

  // What only the blocks in use can tell: that nothing lies behind an open `linear`.
  void CheckLinear(const BlockLedger& used, FindingLog& log) const;
  // allocator_free against the cells (spec 02 section 2.7).
  void CheckFreeCount(const VolumeData& header, FindingLog& log) const;

  struct Space {
    uint64_t leaked_bytes = 0;  // allocated, in no chunk of `used`, not reserved
    uint64_t staged_bytes = 0;
  };
  Space CountSpace(const UsedChunks& used) const;

  // The leaf of the zone that begins at `zone_base`; null where there is none, or none readable.
  const FreemapLeafData* leaf(uint64_t zone_base) const {
    const auto it = leaves_.find(zone_base);
    return it == leaves_.end() ? nullptr : it->second.get();
  }
  // Whether damage hides what the freemap says of `off`.
  bool Hidden(uint64_t off) const { return unknown_.Contains(off); }
  // A segment that is never given out: zone heads, boot, aux, the first inodes, what is past the
  // end.
  bool Reserved(uint64_t segment_base) const;
  // Whether blocks of `used` lie behind the open `linear` of the segment at `segment_base`.
  static bool LinearBroken(const BmapData& segment, uint64_t segment_base, const BlockLedger& used);

  uint64_t nodes() const { return nodes_; }
  uint64_t leaves() const { return leaves_.size(); }

 private:
  struct Table {
    ConstByteSpan raw;
    Key key;
    unsigned keybits;
    const Blockref* parent;  // null for the blockset of the header
  };
  explicit FreemapView(const VolumeData& header);
  static Key LastKey(const Table& table);
  void Walk(MediaSource& source, const Table& table, FindingLog& log);
  bool CheckEntry(const Blockref& bref, const Table& table, FindingLog& log) const;
  void Follow(MediaSource& source, const Blockref& bref, FindingLog& log);
  void CheckLeaf(uint64_t base, const FreemapLeafData& leaf, FindingLog& log) const;
  void CheckSegment(uint64_t base, const BmapData& segment, FindingLog& log) const;

  const uint64_t total_size_;
  const uint64_t allocator_beg_;
  const Tid mirror_tid_;
  std::map<uint64_t, std::unique_ptr<FreemapLeafData>> leaves_;  // by zone base
  IntervalSet unknown_;  // ranges whose leaves could not be read
  uint64_t nodes_ = 0;
};

}  // namespace h2bd
