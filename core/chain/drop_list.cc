#include "core/chain/drop_list.h"

#include <utility>

#include "core/base/status.h"

namespace h2bd {
namespace {

template <class T>
void Append(std::vector<T>& to, std::vector<T>&& from) {
  if (to.empty()) {
    to = std::move(from);
  } else {
    to.insert(to.end(), from.begin(), from.end());
  }
  from.clear();
}

}  // namespace

void DropList::Block(const Blockref& bref, Tid horizon) {
  if (bref.data_off.radix() == 0) return;
  blocks_.push_back(DroppedBlock{.data_off = bref.data_off,
                                 .mirror_tid = bref.mirror_tid,
                                 .modify_tid = bref.modify_tid,
                                 .type = bref.type,
                                 .exact_by_horizon = bref.modify_tid > horizon});
}

void DropList::Tree(const Blockref& root, TableKind kind, Tid horizon) {
  H2_ASSERT(root.type == BrefType::kInode || root.type == BrefType::kIndirect);
  H2_ASSERT(root.data_off.radix() != 0);
  trees_.push_back(DroppedTree{.root = root, .kind = kind, .horizon = horizon});
}

void DropList::Adopt(DropList&& other) {
  Append(blocks_, std::move(other.blocks_));
  Append(trees_, std::move(other.trees_));
}

void DropList::DeliverTo(BlockAllocator& allocator) {
  if (size() == 0) return;
  const std::vector<DroppedBlock> blocks = std::exchange(blocks_, {});
  const std::vector<DroppedTree> trees = std::exchange(trees_, {});
  allocator.Dropped(blocks, trees);
}

}  // namespace h2bd
