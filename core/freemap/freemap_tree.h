// The tree of freemap blocks above the leaves: its shape, its growth and one flush of it (spec 02
// sections 1.5 and 1.6).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "core/base/bytes.h"
#include "core/chain/block_store.h"
#include "core/freemap/copy_ledger.h"
#include "core/media/blockref.h"

namespace h2bd {

struct FreemapNode;

// A table entry: a leaf, or a node with its table.
struct FreemapEntry {
  Blockref bref;                      // as of the last flush; data_off 0 until the first
  std::unique_ptr<FreemapNode> node;  // null for a leaf
};

// A table, ascending by key: the header's blockset (at most 4 entries) or a FREEMAP_NODE (at most
// 256).
struct FreemapNode {
  std::vector<FreemapEntry> entries;
  bool changed = false;  // shape differs from the media
};

// Calls `visit` for every entry below `node`, nodes before what they hold.
void VisitFreemap(const FreemapNode& node, const std::function<void(const FreemapEntry&)>& visit);

// A block of the running flush: written to bref.data_off, then recorded in the ledger.
struct PlannedBlock {
  Blockref bref;
  std::shared_ptr<const AlignedBuffer> image;
};

// Not thread-safe.
class FreemapTree {
 public:
  FreemapTree() = default;
  // `root`: the header's blockset with the tables below it.
  explicit FreemapTree(FreemapNode root) : root_(std::move(root)) {}

  bool HasLeaf(Key zone_base) const;
  // Adds a leaf that is not there, in the shape that the reference grows (spec 02 section 1.6).
  // `avail`: usable bytes of its zone.
  void AddLeaf(Key zone_base, uint64_t avail);

  struct Plan {
    std::vector<PlannedBlock> blocks;  // children before parents
    // For Rollback.
    std::vector<std::pair<FreemapEntry*, Blockref>> before;
    std::vector<FreemapNode*> tables;
  };
  using LeafImage = std::function<AlignedBuffer(Key zone_base)>;
  // Gives every block on the way to the leaves `dirty` (ascending keys; all have entries) and every
  // changed node its next place, ids and check code. kFailedPrecondition when a block has no copy
  // left that `ring` does not name; then nothing has changed. After it either the blocks are
  // written, or Rollback is called before anything else.
  absl::StatusOr<Plan> PlanFlush(std::span<const Key> dirty, const LeafImage& image,
                                 const FlushTids& tids, const CopyLedger& ledger,
                                 std::span<const Tid> ring);
  void Rollback(const Plan& plan);

  // For the header.
  std::array<Blockref, 4> Blockset() const;
  const FreemapNode& root() const { return root_; }

 private:
  FreemapNode root_;
};

}  // namespace h2bd
