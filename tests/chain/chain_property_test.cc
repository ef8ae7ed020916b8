// ChainTree against a std::map, through flushes, evictions and reloads from media.
#include <gtest/gtest.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/random.h"
#include "tests/chain/chain_world.h"
#include "tests/chain/topology_walk.h"
#include "tests/support/fixtures.h"

namespace h2bd {
namespace {

class TreeAndModel {
 public:
  TreeAndModel(TableKind kind, uint64_t seed)
      : kind_(kind),
        random_(seed),
        // Weights are drawn per run: some hardly cache, some hardly ever flush.
        world_({.cache_bytes = random_.Next64() % 3 == 0 ? 0 : random_.Next64() % (1 * kMiB)}),
        flush_percent_(1 + random_.Next64() % 10),
        erase_percent_(random_.Next64() % 40),
        spread_bits_(6 + random_.Next64() % 42),
        pool_("flush", 3) {
    Open({});
  }

  void Step() {
    const uint64_t dice = random_.Next64() % 100;
    if (dice < flush_percent_) {
      Flush();
    } else if (dice < flush_percent_ + erase_percent_) {
      random_.Next64() % 4 == 0 ? EraseRange() : Erase();
    } else if (dice < 90) {
      random_.Next64() % 8 == 0 ? PutRun() : Put();
    } else {
      random_.Next64() % 3 == 0 ? Scan() : Find();
    }
  }

  void Flush() {
    InlineExecutor inline_executor;
    Executor& executor =
        random_.Next64() % 2 == 0 ? static_cast<Executor&>(pool_) : inline_executor;
    ChainMetrics& metrics = world_.store().metrics();
    const int64_t dirty = metrics.dirty_chains.value();
    const uint64_t visited = metrics.visited_indirects.value();
    const uint64_t written = IndirectsOf(metrics.finalized);
    const uint64_t emptied = metrics.emptied.value();
    ASSERT_TRUE(tree_->Flush(world_.tids(), executor).ok());
    world_.NextCycle();
    // Spec 04 section 10: the gauge is exact. The walk has met every chain that was dirty, but for
    // the root, which is the inode's; each was written or, being empty, taken out.
    const int64_t root = tree_->modified() ? 1 : 0;
    const auto met = static_cast<int64_t>(metrics.visited_indirects.value() - visited);
    EXPECT_EQ(dirty, met + root);
    EXPECT_EQ(metrics.scanned_modified.value(), metrics.visited_indirects.value());
    EXPECT_EQ(IndirectsOf(metrics.finalized) - written + metrics.emptied.value() - emptied,
              static_cast<uint64_t>(met));
    EXPECT_EQ(metrics.dirty_chains.value(), root);
    if (random_.Next64() % 2 == 0) return;  // more than one flush before the inode is written
    ASSERT_TRUE(world_.Drain().ok());
    const std::vector<Blockref> blockset = Entries(tree_->TakeBlockset());
    EXPECT_EQ(metrics.dirty_chains.value(), 0);
    const Topology found = WalkTopology(world_.device(), blockset, kind_);
    ASSERT_EQ(found.leaves, model_);
    tree_->DeliverDrops();
    CheckBooks(found);
    EXPECT_EQ(tree_->stats(), StatsOf(blockset));
    if (random_.Next64() % 2 == 0) return;
    tree_.reset();
    world_.Remount();
    Open(blockset);
  }

  // The inode is removed: everything goes, what is in memory and what is not, each block once.
  void RemoveAll() {
    tree_->DropAll();
    tree_->DropAll();
    tree_->DeliverDrops();
    ASSERT_TRUE(world_.Drain().ok());
    DropUnreadTrees();
    EXPECT_TRUE(world_.allocator().live().empty()) << world_.allocator().live().size() << " left";
  }

 private:
  static uint64_t IndirectsOf(const std::array<Counter, ChainMetrics::kTypes.size()>& by_type) {
    const auto at =
        std::find(ChainMetrics::kTypes.begin(), ChainMetrics::kTypes.end(), BrefType::kIndirect);
    return by_type[static_cast<size_t>(at - ChainMetrics::kTypes.begin())].value();
  }
  void Open(std::vector<Blockref> blockset) {
    tree_ = std::make_unique<ChainTree>(kind_, std::move(blockset), kMethods, world_.store(),
                                        world_.cache());
  }

  // What was dropped without being read, read from the media: nothing has reused them. An INODE of
  // this test is its block and no more.
  void DropUnreadTrees() {
    for (const DroppedTree& tree : world_.allocator().TakeDroppedTrees()) {
      EXPECT_EQ(tree.kind, kind_);
      if (tree.root.type == BrefType::kInode) continue;
      DropList below;
      const Topology found = WalkTopology(world_.device(), {tree.root}, kind_);
      for (const auto& [key, leaf] : found.leaves) below.Block(leaf, tree.horizon);
      for (const WalkedTable& table : found.tables) {
        if (table.bref != tree.root) below.Block(table.bref, tree.horizon);
      }
      below.DeliverTo(world_.allocator());
    }
  }

  // What is reachable is live, and nothing else is.
  void CheckBooks(const Topology& found) {
    DropUnreadTrees();
    std::map<DataOff, BrefType> live = world_.allocator().live();
    const auto count = [&](const Blockref& bref) {
      if (bref.data_off.radix() == 0) return;
      EXPECT_EQ(live.erase(bref.data_off), 1u)
          << "a reachable block was dropped: " << Describe(bref);
    };
    for (const auto& [key, leaf] : found.leaves) count(leaf);
    for (const WalkedTable& table : found.tables) count(table.bref);
    EXPECT_TRUE(live.empty()) << live.size() << " blocks were forgotten";
  }

  Blockref NewLeaf(uint64_t number) {
    switch (kind_) {
      case TableKind::kFile:
        return world_.Data(number, 10 + random_.Next64() % 7);
      case TableKind::kPfsRoot:
        if (number % 2 == 0) return world_.InodeLeaf(0x400 + number);
        [[fallthrough]];
      default:  // names: hashed
        return world_.DirentLeaf(Key(number * 0x9e3779b97f4a7c15 | uint64_t{1} << 63),
                                 Inum(number));
    }
  }
  uint64_t Number() {
    if (random_.Next64() % 2 == 0)
      return cursor_ = (cursor_ + 1) & ((uint64_t{1} << spread_bits_) - 1);
    return cursor_ = random_.Next64() & ((uint64_t{1} << spread_bits_) - 1);
  }
  Key AnyKey() {
    if (model_.empty() || random_.Next64() % 4 == 0) return NewLeafKey();
    auto it = model_.lower_bound(NewLeafKey());
    return it == model_.end() ? model_.begin()->first : it->first;
  }
  Key NewLeafKey() {
    const uint64_t number = Number();
    if (kind_ == TableKind::kFile) return Key(number << 16);
    if (kind_ == TableKind::kPfsRoot && number % 2 == 0) return Key(0x400 + number);
    return Key(number * 0x9e3779b97f4a7c15 | uint64_t{1} << 63);
  }

  void Put() {
    const Blockref leaf = NewLeaf(Number());
    ASSERT_TRUE(tree_->Put(leaf).ok());
    model_[leaf.key] = leaf;
  }
  void PutRun() {
    std::map<Key, Blockref> run;
    for (uint64_t i = random_.Next64() % 300, number = Number(); i > 0; --i, ++number) {
      const Blockref leaf = NewLeaf(number & ((uint64_t{1} << spread_bits_) - 1));
      const auto [it, first] = run.emplace(leaf.key, leaf);
      if (!first && leaf.data_off.radix() != 0) world_.allocator().Undo(leaf.data_off, leaf.type);
    }
    std::vector<Blockref> leaves;
    for (const auto& [key, leaf] : run) {
      leaves.push_back(leaf);
      model_[key] = leaf;
    }
    ASSERT_TRUE(tree_->PutAll(leaves).ok());
  }
  void Erase() {
    const Key key = AnyKey();
    const absl::StatusOr<bool> erased = tree_->Erase(key);
    ASSERT_TRUE(erased.ok());
    EXPECT_EQ(*erased, model_.erase(key) > 0);
  }
  void EraseRange() {
    Key first = AnyKey(), last = AnyKey();
    if (last < first) std::swap(first, last);
    // Mostly narrow, or the tree would stay empty.
    if (random_.Next64() % 8 != 0) last = Key(std::min(last.v, first.v + (uint64_t{1} << 24)));
    const absl::StatusOr<bool> erased = tree_->EraseRange(first, last);
    ASSERT_TRUE(erased.ok());
    const auto begin = model_.lower_bound(first), end = model_.upper_bound(last);
    // An empty table in the range may go, too.
    if (begin != end) {
      EXPECT_TRUE(*erased);
    }
    model_.erase(begin, end);
  }
  void Find() {
    const Key key = AnyKey();
    const auto found = tree_->Find(key);
    ASSERT_TRUE(found.ok());
    const auto it = model_.find(key);
    EXPECT_EQ(found->has_value(), it != model_.end());
    if (found->has_value() && it != model_.end()) {
      EXPECT_EQ(**found, it->second);
    }
  }
  void Scan() {
    Key first = AnyKey(), last = AnyKey();
    if (last < first) std::swap(first, last);
    auto it = model_.lower_bound(first);
    ASSERT_TRUE(tree_
                    ->Scan(first, last,
                           [&](const Blockref& leaf) {
                             EXPECT_TRUE(it != model_.end() && leaf == it->second)
                                 << Describe(leaf);
                             if (it != model_.end()) ++it;
                             return true;
                           })
                    .ok());
    EXPECT_EQ(it, model_.upper_bound(last));
  }

  const TableKind kind_;
  SeededRandom random_;
  ChainWorld world_;
  const uint64_t flush_percent_, erase_percent_, spread_bits_;
  ThreadPool pool_;
  std::unique_ptr<ChainTree> tree_;
  std::map<Key, Blockref> model_;
  uint64_t cursor_ = 0;
};

class ChainProperty : public ::testing::TestWithParam<TableKind> {};

TEST_P(ChainProperty, IsAMapThatSurvivesOnMedia) {
  const uint64_t seed = TestSeed();
  for (uint64_t run = 0; run < 8; ++run) {
    SCOPED_TRACE(absl::StrCat("H2BD_SEED=", seed, ", run ", run));
    TreeAndModel both(GetParam(), seed + run);
    for (int step = 0; step < 1200 && !HasFailure(); ++step) {
      SCOPED_TRACE(absl::StrCat("step ", step));
      both.Step();
    }
    for (int i = 0; i < 4 && !HasFailure(); ++i) both.Flush();
    if (!HasFailure()) both.RemoveAll();
    ASSERT_FALSE(HasFailure());
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, ChainProperty,
                         ::testing::Values(TableKind::kFile, TableKind::kDirectory,
                                           TableKind::kPfsRoot),
                         [](const auto& suite) {
                           return suite.param == TableKind::kFile        ? "File"
                                  : suite.param == TableKind::kDirectory ? "Directory"
                                                                         : "PfsRoot";
                         });

// Spec 04 section 10, h2bd_dirty_chains: what leaves a tree, and a tree that goes, is not dirty any
// more.
TEST(ChainMetrics, ATreeThatGoesTakesItsDirtyChainsAlong) {
  ChainWorld world;
  const Gauge& dirty = world.store().metrics().dirty_chains;
  ChainTree kept(TableKind::kFile, {}, kMethods, world.store(), world.cache());
  ASSERT_TRUE(kept.Put(world.Data(0)).ok());
  EXPECT_EQ(dirty.value(), 1) << "its root";
  {
    ChainTree tree(TableKind::kFile, {}, kMethods, world.store(), world.cache());
    for (uint64_t block = 0; block < 2000; ++block) ASSERT_TRUE(tree.Put(world.Data(block)).ok());
    const int64_t full = dirty.value();
    EXPECT_GT(full, 5);
    ASSERT_TRUE(tree.EraseRange(Key(0), Key((uint64_t{1000} << 16) - 1)).ok());
    EXPECT_LT(dirty.value(), full) << "tables were dropped as they were";
    EXPECT_GT(dirty.value(), 2);
  }
  EXPECT_EQ(dirty.value(), 1);
}

}  // namespace
}  // namespace h2bd
