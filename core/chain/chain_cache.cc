#include <algorithm>

#include "core/chain/chain_tree.h"

namespace h2bd {

void ChainCache::Register(ChainTree* tree) {
  absl::MutexLock lock(&mu_);
  trees_.push_back(tree);
}

void ChainCache::Unregister(ChainTree* tree) {
  absl::MutexLock lock(&mu_);
  trees_.erase(std::remove(trees_.begin(), trees_.end(), tree), trees_.end());
}

void ChainCache::Trim() {
  if (bytes() <= budget_) return;
  // Whoever finds the lock taken leaves the work to its holder.
  if (!mu_.TryLock()) return;
  // Twice around: the first time takes away second chances, the second time takes the chains.
  for (size_t looks = 2 * trees_.size(); looks > 0; --looks) {
    const uint64_t used = bytes();
    if (used <= budget_) break;
    hand_ %= trees_.size();
    trees_[hand_]->EvictClean(used - budget_);
    if (bytes() > budget_) ++hand_;
  }
  mu_.Unlock();
}

}  // namespace h2bd
