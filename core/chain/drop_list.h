// What a tree no longer names, kept until nobody above names the old tree either.
#pragma once

#include <cstddef>
#include <vector>

#include "core/chain/block_allocator.h"

namespace h2bd {

// An edit takes a blockref out of a tree at once, but the next header may still show the old tree:
// a disk that is held is left out of it. Until the inode's new blockref stands in the table above,
// the blocks stay here; a tree that is freed earlier is lost. Not thread-safe.
class DropList {
 public:
  // A block that no table names any more; nothing for blockrefs without one. `horizon`: of the
  // tree at the time of the edit.
  void Block(const Blockref& bref, Tid horizon);
  // An INODE or INDIRECT with everything below it, none of which was read. `kind` is that of the
  // tables in which it stood.
  void Tree(const Blockref& root, TableKind kind, Tid horizon);
  // Takes over everything that `other` has.
  void Adopt(DropList&& other);
  // Tells the allocator, and is empty then.
  void DeliverTo(BlockAllocator& allocator);

  size_t size() const { return blocks_.size() + trees_.size(); }

 private:
  std::vector<DroppedBlock> blocks_;
  std::vector<DroppedTree> trees_;
};

}  // namespace h2bd
