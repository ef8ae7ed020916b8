// The free-space map: allocation by the hard rules of spec 02 section 3, reservations, and its own
// flush with rotating copies. Every leaf that exists is read at open, so that free space is counted
// and not believed; leaves that never were mean free space. A chunk that an older header of the
// ring has in use is not given out before that header has been overwritten, even if the newest one
// calls it free (I-02).
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "core/base/log.h"
#include "core/base/metrics.h"
#include "core/chain/block_allocator.h"
#include "core/chain/block_store.h"
#include "core/dio/dio.h"
#include "core/media/volume_data.h"
#include "core/volhdr/header_ring.h"

namespace h2bd {

struct SpaceUsage {
  uint64_t total_bytes = 0;      // allocatable at all
  uint64_t allocated_bytes = 0;  // chunks in state 11
  uint64_t staged_bytes = 0;     // chunks in state 10, those that only older headers reach included
  uint64_t free_bytes = 0;       // chunks in state 00, zones without a leaf included
  uint64_t reserved_bytes = 0;   // promised to accepted writes
  uint64_t unreadable_bytes = 0;  // in zones whose leaf cannot be read; nothing is allocated there
};

// Thread-safe, except that Flush and Published are the flusher's.
class Freemap final : public BlockAllocator {
 public:
  // Reads the freemap of `header` (the chosen one) and remembers which copies the other headers of
  // `ring` name. An unreadable leaf is reported, counted and never allocated from; an unreadable
  // node fails with kDataLoss (its leaves cannot be known).
  static absl::StatusOr<std::unique_ptr<Freemap>> Open(const VolumeData& header,
                                                       const HeaderRing& ring, Dio& dio,
                                                       Logger& logger) {
    return Open(header, ring.entries(), dio, logger);
  }
  static absl::StatusOr<std::unique_ptr<Freemap>> Open(const VolumeData& header,
                                                       const std::vector<RingEntry>& ring, Dio& dio,
                                                       Logger& logger);
  ~Freemap() override;

  // --- BlockAllocator
  // ----------------------------------------------------------------------------- The first segment
  // by address that has room and the class of `type`, or none; when there is no such, the first
  // that has room. Fails only when no legal run is free anywhere.
  absl::StatusOr<Allocation> Allocate(BrefType type, unsigned radix, Key key) override;
  // A block of 16 KiB or more is free again at once. A smaller one gives back its chunk with the
  // last block in it, provided that the chunk was free before the cycle. A block given out before
  // the last Published stays allocated (and is reported): a header may name it.
  void Undo(DataOff data_off, BrefType type) override;
  // Counted only; of a tree its root.
  void Dropped(std::span<const DroppedBlock> blocks, std::span<const DroppedTree> trees) override;

  // --- space reservation (F-284, design section 4)
  // --------------------------------------------------- Promises `bytes` of space to accepted
  // writes. The arithmetic, in bytes:
  //
  //   64 KiB x (free, 64 KiB-aligned groups of four chunks) - promised - kept back >= bytes
  //
  // Chunks in groups that are used in part do not count, since they cannot take a 64 KiB block;
  // smaller blocks fill them first where their class allows it. Kept back: max(1 MiB,
  // allocator_size / 40), which is also what covers the rests of chunks that no small block fits
  // into. `use_reserve`, for operations that must work on a full volume (delete, discard): nothing
  // is kept back. Between an allocation and the Unreserve that belongs to it the space counts
  // twice, so a refusal can be early, never late. No lock.
  bool TryReserve(uint64_t bytes, bool use_reserve = false);
  // Gives a promise back: after the flush that used it, or when the write was dropped.
  void Unreserve(uint64_t bytes);

  // --- recovery (spec 02 section 4, "intended algorithm")
  // --------------------------------------------- Forces the chunks of `bref` to 11; true when any
  // was not. Radix 0 and blocks below allocator_beg: false, and so are blocks in a zone whose leaf
  // is unreadable, as nothing there is given out. Missing leaves are made; `linear` never stays
  // inside a block that is in use. kDataLoss for a place where no block may lie.
  absl::StatusOr<bool> MarkAllocated(const Blockref& bref);

  // --- older headers (I-02)
  // ----------------------------------------------------------------------- `header` reaches
  // `bref`, which its own freemap does not tell: where that is free it is not given out before the
  // header has left the ring. A place where no block may lie is passed over.
  void HoldFor(Tid header, const Blockref& bref);
  // Headers of the ring with a freemap node that could not be read: what they have in use below it
  // is not known here.
  const std::vector<Tid>& headers_in_part() const;

  // --- growth (spec 02 section 8.4)
  // The volume ends at `total_size`; `allocator_size` is what its header will say. Called by the
  // flusher before the Flush whose header says so. What is new is allocated from then on.
  void Grow(uint64_t total_size, uint64_t allocator_size);
  uint64_t total_size() const;

  // --- flush, P5 and P6
  // ---------------------------------------------------------------------------
  struct Flushed {
    std::array<Blockref, 4> blockset;
    uint64_t allocator_free = 0;  // for the header, by the reference's rule (spec 02 section 2.7)
    uint64_t blocks = 0;          // freemap blocks written
  };
  // Writes every leaf that changed since the last Flush, and the nodes above, each once (F-210a),
  // into a copy that no entry of `ring` names (F-210b; kFailedPrecondition when none is left).
  // Queued in dio, not durable. Nothing may allocate while it runs. After an error the next Flush
  // writes the same blocks again. With nothing changed it writes nothing and returns the blockset
  // as it is.
  absl::StatusOr<Flushed> Flush(const FlushTids& tids, const std::vector<RingEntry>& ring);
  // The header that holds the last Flush is confirmed (or may be on media: pass confirmed = false).
  // Either way its blocks can no longer be undone. What older headers hold is released by the Flush
  // whose `ring` no longer lists them.
  void Published(Tid mirror_tid, bool confirmed);

  // Rounds open sub-chunk iterators up to 4 KiB, so that blocks of different cycles never share a
  // physical sector (F-229). Called at the start of each cycle.
  void BeginCycle();

  SpaceUsage usage() const;
  // Copies that no entry of `ring` names, for the block that has fewest, for
  // h2bd_commit_freemap_rotations_left.
  int rotations_left(const std::vector<RingEntry>& ring) const;
  void Describe(MetricVisitor& visitor) const;

 private:
  struct Impl;
  explicit Freemap(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace h2bd
