// Bottom-up writing of modified chains, and eviction of clean ones.
#include <algorithm>
#include <utility>

#include "core/chain/chain_tree.h"
#include "core/chain/table_search.h"
#include "core/chain/writer_scope.h"

namespace h2bd {
namespace {

// Chains that an eviction looks at under one hold of the lock.
constexpr int kLooksPerHold = 64;

// Modified INDIRECT chains by level, [0] right below the root; in key order within a level.
void CollectModified(const Chain& parent, size_t level, std::vector<std::vector<Chain*>>& levels,
                     ChainMetrics& metrics) {
  metrics.scanned.Add(parent.children.size());
  for (const auto& [key, child] : parent.children) {
    if (!child->modified) continue;
    metrics.scanned_modified.Add();
    if (levels.size() <= level) levels.resize(level + 1);
    levels[level].push_back(child.get());
    CollectModified(*child, level + 1, levels, metrics);
  }
}

// The entry of `chain` in its parent's table.
Blockref& EntryOf(const Chain& chain) {
  std::vector<Blockref>& entries = chain.parent->entries;
  const size_t i = FirstReaching(entries, chain.key);
  H2_ASSERT(i < entries.size() && entries[i].key == chain.key &&
            entries[i].keybits == chain.keybits && entries[i].type == BrefType::kIndirect);
  return entries[i];
}

// Entries from the front, then slots of zeros (R7).
AlignedBuffer EncodeTable(const Chain& chain) {
  AlignedBuffer block = AlignedBuffer::Zeroed(chain.slots * kBlockrefBytes);
  for (size_t i = 0; i < chain.entries.size(); ++i) {
    H2_ASSERT(chain.entries[i].type != BrefType::kIndirect ||
              chain.entries[i].data_off.radix() != 0);  // F-140: children first
    StoreAs(block.span(), chain.entries[i], i * kBlockrefBytes);
  }
  return block;
}

// INDIRECT blocks take the check of what is above them and are never compressed (spec 01
// section 4.3).
void SetIndirectMethods(Blockref& bref, uint8_t inherited) {
  Blockref above;
  above.methods = inherited;
  const bool known = above.check_method() <= CheckMethod::kSha192;
  bref.set_methods(RealCheckMethod(known ? above.check_method() : CheckMethod::kNone),
                   CompMethod::kNone);
}

}  // namespace

absl::Status ChainTree::Flush(const FlushTids& tids, Executor& executor) {
  const WriterScope scope(writing_);
  std::vector<std::vector<Chain*>> levels;
  {
    absl::ReaderMutexLock lock(&mu_);
    if (root_.modified) CollectModified(root_, 0, levels, store_.metrics());
  }
  store_.metrics().depth.Reach(static_cast<int64_t>(levels.size()));
  for (auto level = levels.rbegin(); level != levels.rend(); ++level) {
    store_.metrics().visited_indirects.Add(level->size());
    RemoveEmpty(*level);
    H2_RETURN_IF_ERROR(WriteLevel(*level, tids, executor));
  }
  TrimCache();  // what was written can be evicted now
  return absl::OkStatus();
}

// Takes chains without entries out of their parents and out of `level`.
void ChainTree::RemoveEmpty(std::vector<Chain*>& level) {
  Aftermath after{.horizon = horizon()};
  {
    absl::MutexLock lock(&mu_);
    size_t kept = 0;
    for (Chain* chain : level) {
      if (!chain->entries.empty()) {
        level[kept++] = chain;
        continue;
      }
      Chain& parent = *chain->parent;
      H2_ASSERT(parent.modified);
      const Blockref& entry = EntryOf(*chain);
      DropEntry(parent, entry, after);
      parent.entries.erase(parent.entries.begin() + (&entry - parent.entries.data()));
      store_.metrics().emptied.Add();
    }
    level.resize(kept);
  }
  if (!after.detached.empty()) Settle(std::move(after));
}

absl::Status ChainTree::WriteLevel(const std::vector<Chain*>& level, const FlushTids& tids,
                                   Executor& executor) {
  std::vector<absl::Status> results(level.size());
  std::atomic<bool> failed{false};
  ParallelFor(executor, level.size(), [&](size_t i) {
    if (failed.load(std::memory_order_relaxed)) return;
    results[i] = WriteChain(*level[i], tids);
    if (!results[i].ok()) failed.store(true, std::memory_order_relaxed);
  });
  for (absl::Status& result : results) H2_RETURN_IF_ERROR(std::move(result));
  return absl::OkStatus();
}

// Nobody edits `chain` meanwhile: the writer is in Flush, and its level changes only the level
// above.
absl::Status ChainTree::WriteChain(Chain& chain, const FlushTids& tids) {
  Blockref bref, old;
  AlignedBuffer block;
  FlushTids own = tids;
  {
    absl::ReaderMutexLock lock(&mu_);
    block = EncodeTable(chain);
    old = bref = EntryOf(chain);
    SetIndirectMethods(bref, methods_);
    SetStats(bref, StatsOf(chain.entries));
    own.modify_tid = std::max(tids.modify_tid, HighestModifyTid(chain.entries));  // F-146
  }
  H2_RETURN_IF_ERROR(store_.Store(bref, std::move(block), own));
  {
    absl::MutexLock lock(&mu_);
    EntryOf(chain) = bref;
    SetClean(chain);
    ++retired_;
    DropList dropped;
    dropped.Block(old, horizon());
    Keep(std::move(dropped));
  }
  store_.metrics().parent_updates.Add();
  return absl::OkStatus();
}

// --- eviction
// -------------------------------------------------------------------------------------

struct ChainTree::EvictPass {
  uint64_t cursor = 0;  // first key that was not looked at
  int looks_left = kLooksPerHold;
  uint64_t freed = 0;
  uint64_t want = 0;
  std::vector<std::unique_ptr<Chain>> evicted;  // freed without the lock
};

uint64_t ChainTree::EvictClean(uint64_t want_bytes) {
  uint64_t freed = 0;
  for (bool all = false; !all && freed < want_bytes;) {
    EvictPass pass;
    absl::MutexLock lock(&mu_);
    pass.cursor = evict_cursor_.v;
    pass.want = want_bytes - freed;
    all = EvictBelow(root_, pass);
    evict_cursor_ = Key(all ? 0 : pass.cursor);
    Charge(-static_cast<int64_t>(pass.freed));
    freed += pass.freed;
  }
  return freed;
}

// Looks at the chains below `chain` from the cursor on, children before parents. False when it
// stopped early.
bool ChainTree::EvictBelow(Chain& chain, EvictPass& pass) {
  auto it = chain.children.upper_bound(pass.cursor);
  if (it != chain.children.begin() &&
      std::prev(it)->second->Covers(Key(pass.cursor), Key(pass.cursor))) {
    --it;
  }
  while (it != chain.children.end()) {
    Chain& child = *it->second;
    if (pass.looks_left == 0 || pass.freed >= pass.want) {
      pass.cursor = std::max(pass.cursor, child.key.v);
      return false;
    }
    if (!EvictBelow(child, pass)) return false;
    --pass.looks_left;
    const bool in_use = child.modified || child.pins > 0 || !child.children.empty();
    if (in_use || child.referenced.exchange(false, std::memory_order_relaxed)) {
      ++it;
      continue;
    }
    pass.freed += child.memory_bytes();
    pass.evicted.push_back(std::move(it->second));
    it = chain.children.erase(it);
  }
  return true;
}

}  // namespace h2bd
