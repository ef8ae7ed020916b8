// Custody of what a tree no longer names.
#include <utility>

#include "core/chain/chain_tree.h"
#include "core/chain/writer_scope.h"

namespace h2bd {

// An INODE below a table that goes as a whole takes its own tree along.
uint64_t ChainTree::DropBelow(const Chain& chain, DropList& dropped, Tid horizon,
                              int64_t& modified) const {
  if (chain.modified) ++modified;
  uint64_t bytes = chain.memory_bytes();
  for (const Blockref& entry : chain.entries) {
    const auto child = chain.children.find(entry.key.v);
    if (entry.type == BrefType::kIndirect && child != chain.children.end()) {
      dropped.Block(entry, horizon);
      bytes += DropBelow(*child->second, dropped, horizon, modified);
    } else if (entry.type == BrefType::kIndirect || entry.type == BrefType::kInode) {
      dropped.Tree(entry, kind_, horizon);
    } else {
      dropped.Block(entry, horizon);
    }
  }
  return bytes;
}

void ChainTree::Keep(DropList&& dropped) {
  // After DropAll it would be the second time.
  if (!all_dropped_) drops_.Adopt(std::move(dropped));
}

void ChainTree::Drop(const Blockref& bref) {
  absl::MutexLock lock(&mu_);
  DropList dropped;
  dropped.Block(bref, horizon());
  Keep(std::move(dropped));
}

void ChainTree::DropAll() {
  const WriterScope scope(writing_);
  absl::MutexLock lock(&mu_);
  DropList dropped;
  int64_t modified = 0;
  DropBelow(root_, dropped, horizon(), modified);
  Keep(std::move(dropped));
  all_dropped_ = true;
}

DropList ChainTree::TakeDrops() {
  absl::MutexLock lock(&mu_);
  return std::exchange(drops_, {});
}

void ChainTree::AdoptDrops(DropList drops) {
  absl::MutexLock lock(&mu_);
  drops_.Adopt(std::move(drops));
}

void ChainTree::DeliverDrops() { TakeDrops().DeliverTo(store_.allocator()); }

}  // namespace h2bd
