// Which bytes of the address space one header's topology uses, to find blocks that overlap and to
// compare with the freemap.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "core/media/blockref.h"

namespace h2bd {

// 1 KiB granules, the smallest block. Costs 1.5 KiB of memory per 4 MiB segment that holds a block:
// 384 MiB per TiB in use.
class BlockLedger {
 public:
  enum class Claim {
    kNew,        // no byte of it was in use
    kSame,       // exactly this block was there: shared
    kOtherType,  // exactly this block was there, but as data and not as metadata, or the other way
                 // round
    kOverlap,    // bytes of another block; nothing was recorded
  };
  // `data_off` has radix 10..16, lies 1 KiB aligned and within one segment. Metadata is everything
  // but DATA.
  Claim Add(DataOff data_off, BrefType type);
  // What Add would return.
  Claim Probe(DataOff data_off, BrefType type) const;

  // Whether any byte of [begin, end) is in use; both within one segment, 1 KiB aligned.
  bool AnyUsed(uint64_t begin, uint64_t end) const;

 private:
  friend class UsedChunks;
  static constexpr size_t kGranules = kSegBytes / kAllocMin;
  struct Segment {
    std::bitset<kGranules> used, start, data;
  };
  static Claim ProbeIn(const Segment& segment, size_t first, size_t count, BrefType type);

  absl::flat_hash_map<uint64_t, std::unique_ptr<Segment>> segments_;  // by segment number
};

// The 16 KiB chunks that several headers use, for finding leaks. 32 bytes per segment.
class UsedChunks {
 public:
  void Add(const BlockLedger& ledger);
  // The chunks of the segment that starts at `segment_base`.
  std::bitset<kChunksPerSegment> Segment(uint64_t segment_base) const;

 private:
  absl::flat_hash_map<uint64_t, std::bitset<kChunksPerSegment>> segments_;
};

}  // namespace h2bd
