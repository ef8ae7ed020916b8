#include <gtest/gtest.h>

#include "tests/chain/chain_world.h"
#include "tests/chain/topology_walk.h"

namespace h2bd {
namespace {

constexpr uint64_t kTable = sizeof(Chain) + 16384;

class ChainCacheTest : public ::testing::Test {
 protected:
  // A tree of `blocks` blocks on media: one /30 over tables of 128.
  std::vector<Blockref> Build(uint64_t blocks) {
    ChainTree tree(TableKind::kFile, {}, kMethods, world_.store(), world_.cache());
    for (uint64_t b = 0; b < blocks; ++b) EXPECT_TRUE(tree.Put(world_.Data(b, 10)).ok());
    InlineExecutor executor;
    EXPECT_TRUE(tree.Flush(world_.tids(), executor).ok());
    EXPECT_TRUE(world_.Drain().ok());
    return Entries(tree.TakeBlockset());
  }
  ChainTree Open(std::vector<Blockref> blockset) {
    return ChainTree(TableKind::kFile, std::move(blockset), kMethods, world_.store(),
                     world_.cache());
  }
  ChainWorld world_{ChainWorldOptions{.cache_bytes = 5 * kTable}};
};

TEST_F(ChainCacheTest, ChargesWhatIsLoadedAndGivesItBack) {
  const std::vector<Blockref> blockset = Build(2000);
  EXPECT_EQ(world_.cache().bytes(), 0u) << "the tree is gone";
  {
    ChainTree tree = Open(blockset);
    ASSERT_TRUE(tree.Find(Key(0)).ok());
    EXPECT_EQ(world_.cache().bytes(), 2 * kTable);
    ASSERT_TRUE(tree.Find(Key(0)).ok());
    EXPECT_EQ(world_.cache().bytes(), 2 * kTable);
  }
  EXPECT_EQ(world_.cache().bytes(), 0u);
}

TEST_F(ChainCacheTest, ReadingAloneStaysWithinTheBudget) {
  const std::vector<Blockref> blockset = Build(2000);
  ChainTree tree = Open(blockset);
  for (int round = 0; round < 3; ++round) {
    for (uint64_t b = 0; b < 2000; ++b) {
      const auto leaf = tree.Find(Key(b << 16));
      ASSERT_TRUE(leaf.ok() && leaf->has_value()) << b;
      EXPECT_LE(world_.cache().bytes(), 5 * kTable);
    }
  }
  size_t seen = 0;
  ASSERT_TRUE(tree.Scan(Key(0), Key(UINT64_MAX), [&](const Blockref&) { return ++seen > 0; }).ok());
  EXPECT_EQ(seen, 2000u);
  EXPECT_LE(world_.cache().bytes(), 5 * kTable);
}

TEST_F(ChainCacheTest, WhatIsUsedStays) {
  const std::vector<Blockref> blockset = Build(2000);
  ChainTree tree = Open(blockset);
  ASSERT_TRUE(tree.Find(Key(0)).ok());
  for (uint64_t b = 128; b < 2000; b += 128) {
    ASSERT_TRUE(tree.Find(Key(b << 16)).ok());
    world_.faults().Reset({.fail_at = 0, .reads = true, .writes = false, .syncs = false});
    ASSERT_TRUE(tree.Find(Key(0)).ok());
    EXPECT_EQ(world_.faults().calls(), 0u) << "the hot table was evicted at " << b;
  }
}

TEST_F(ChainCacheTest, ModifiedChainsAndThoseAboveThemStay) {
  const std::vector<Blockref> blockset = Build(2000);
  ChainTree tree = Open(blockset);
  for (uint64_t b = 0; b < 2000; b += 128) ASSERT_TRUE(tree.Put(world_.Data(b, 11)).ok());
  EXPECT_EQ(tree.EvictClean(), 0u);
  EXPECT_EQ(tree.EvictClean(), 0u);
  for (uint64_t b = 0; b < 2000; b += 128)
    EXPECT_EQ((*tree.Find(Key(b << 16)))->data_off.radix(), 11u);
  InlineExecutor executor;
  ASSERT_TRUE(tree.Flush(world_.tids(), executor).ok());
  EXPECT_LE(world_.cache().bytes(), 5 * kTable) << "the flush makes them clean, and then they go";
  tree.EvictClean();
  tree.EvictClean();
  tree.EvictClean();
  EXPECT_EQ(world_.cache().bytes(), 0u);
  EXPECT_EQ((*tree.Find(Key(0)))->data_off.radix(), 11u);
}

TEST_F(ChainCacheTest, EvictionTakesFromOtherTrees) {
  const std::vector<Blockref> first = Build(600), second = Build(600);
  ChainTree idle = Open(first), busy = Open(second);
  for (uint64_t b = 0; b < 600; b += 128) ASSERT_TRUE(idle.Find(Key(b << 16)).ok());
  for (int round = 0; round < 3; ++round) {
    for (uint64_t b = 0; b < 600; b += 128) ASSERT_TRUE(busy.Find(Key(b << 16)).ok());
  }
  world_.faults().Reset({.fail_at = 0, .reads = true, .writes = false, .syncs = false});
  ASSERT_TRUE(idle.Find(Key(0)).ok());
  EXPECT_LE(world_.cache().bytes(), 5 * kTable);
}

TEST_F(ChainCacheTest, ABudgetOfNothingStillReadsAndWrites) {
  ChainWorld world(ChainWorldOptions{.cache_bytes = 0});
  ChainTree tree(TableKind::kFile, {}, kMethods, world.store(), world.cache());
  InlineExecutor executor;
  std::map<Key, Blockref> model;
  for (uint64_t i = 0; i < 2000; ++i) {
    const Blockref leaf = world.Data(i * 7919 % 100'003, 10);
    model[leaf.key] = leaf;
    ASSERT_TRUE(tree.Put(leaf).ok());
    if (i % 100 == 0) {
      ASSERT_TRUE(tree.Flush(world.tids(), executor).ok());
    }
  }
  ASSERT_TRUE(tree.EraseRange(Key(uint64_t{50'000} << 16), Key(uint64_t{60'000} << 16)).ok());
  model.erase(model.lower_bound(Key(uint64_t{50'000} << 16)),
              model.upper_bound(Key(uint64_t{60'000} << 16)));
  ASSERT_TRUE(tree.Flush(world.tids(), executor).ok());
  ASSERT_TRUE(world.Drain().ok());
  EXPECT_EQ(WalkTopology(world.device(), Entries(tree.TakeBlockset()), TableKind::kFile).leaves,
            model);
  for (const auto& [key, leaf] : model) EXPECT_EQ(*tree.Find(key), leaf);
}

}  // namespace
}  // namespace h2bd
