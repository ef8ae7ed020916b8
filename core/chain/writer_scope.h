// The one-writer rule of ChainTree, checked.
#pragma once

#include <atomic>

#include "core/chain/chain_tree.h"

namespace h2bd {

// Lives as long as an edit. A second writer is a bug of ours and would break the tree.
class ChainTree::WriterScope {
 public:
  explicit WriterScope(std::atomic<bool>& writing) : writing_(writing) {
    H2_ASSERT(!writing_.exchange(true, std::memory_order_acquire));
  }
  ~WriterScope() { writing_.store(false, std::memory_order_release); }
  WriterScope(const WriterScope&) = delete;
  WriterScope& operator=(const WriterScope&) = delete;

 private:
  std::atomic<bool>& writing_;
};

}  // namespace h2bd
