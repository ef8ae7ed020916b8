// Every device call and every allocation of an operation fails once: nothing is lost, nothing is
// dropped twice.
#include <gtest/gtest.h>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "tests/chain/chain_world.h"
#include "tests/chain/topology_walk.h"

namespace h2bd {
namespace {

constexpr uint64_t kBlocks = 2000;

// A tree of three levels on media, and what it holds.
struct OnMedia {
  OnMedia() {
    ChainTree tree(TableKind::kFile, {}, kMethods, world.store(), world.cache());
    for (uint64_t b = 0; b < kBlocks; ++b) {
      const Blockref leaf = world.Data(b, 10);
      EXPECT_TRUE(tree.Put(leaf).ok());
      model[leaf.key] = leaf;
    }
    EXPECT_TRUE(tree.Flush(world.tids(), executor).ok());
    EXPECT_TRUE(world.Drain().ok());
    blockset = Entries(tree.TakeBlockset());
    world.NextCycle();
  }
  ChainTree Open() {
    return ChainTree(TableKind::kFile, blockset, kMethods, world.store(), world.cache());
  }

  ChainWorld world;
  InlineExecutor executor;
  std::map<Key, Blockref> model;
  std::vector<Blockref> blockset;
};

void ExpectContent(ChainTree& tree, const std::map<Key, Blockref>& model) {
  auto it = model.begin();
  const absl::Status status = tree.Scan(Key(0), Key(UINT64_MAX), [&](const Blockref& leaf) {
    EXPECT_TRUE(it != model.end() && leaf == it->second) << Describe(leaf);
    if (it != model.end()) ++it;
    return true;
  });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(it, model.end());
}

// Runs `operation` on a cold tree with the n-th read and all later ones failing (single failures
// are retried below), for every n that it does.
void FailEachRead(absl::FunctionRef<absl::Status(ChainTree&)> operation, OnMedia& media) {
  for (uint64_t n = 1;; ++n) {
    SCOPED_TRACE(absl::StrCat("read ", n));
    media.world.Remount();
    ChainTree tree = media.Open();
    media.world.faults().Reset(
        {.fail_at = n, .sticky = true, .reads = true, .writes = false, .syncs = false});
    const absl::Status status = operation(tree);
    const bool reached = media.world.faults().reached();
    media.world.faults().Reset({.fail_at = 0});
    if (!reached) {
      EXPECT_TRUE(status.ok()) << status;
      EXPECT_GT(n, 1u) << "the operation reads";
      return;
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    ExpectContent(tree, media.model);
    EXPECT_FALSE(tree.modified());
  }
}

TEST(ChainReadFault, LookUps) {
  OnMedia media;
  FailEachRead([](ChainTree& tree) { return tree.Find(Key(777 << 16)).status(); }, media);
  FailEachRead(
      [](ChainTree& tree) {
        return tree.Scan(Key(100 << 16), Key(700 << 16), [](const Blockref&) { return true; });
      },
      media);
}

TEST(ChainReadFault, Edits) {
  for (uint64_t block : {777, 5000}) {  // in a table, in a hole
    OnMedia media;
    const Blockref leaf = media.world.Data(block, 10);
    FailEachRead([&](ChainTree& tree) { return tree.Put(leaf); }, media);
  }
  OnMedia media;
  FailEachRead([](ChainTree& tree) { return tree.Erase(Key(777 << 16)).status(); }, media);
}

TEST(ChainReadFault, RangeErasure) {
  OnMedia media;
  FailEachRead(
      [](ChainTree& tree) { return tree.EraseRange(Key(100 << 16), Key(1000 << 16)).status(); },
      media);
}

// Changes in many tables: replaced, added, one emptied, one removed whole.
void Change(ChainWorld& world, ChainTree& tree, std::map<Key, Blockref>& model) {
  for (uint64_t b = 0; b < kBlocks + 600; b += 97) {
    const Blockref leaf = world.Data(b, 10);
    ASSERT_TRUE(tree.Put(leaf).ok());
    model[leaf.key] = leaf;
  }
  for (uint64_t b = 256; b < 384; ++b) {
    ASSERT_TRUE(*tree.Erase(Key(b << 16)));
    model.erase(Key(b << 16));
  }
}

TEST(ChainSpaceFault, AFlushWithoutSpaceGoesOnLater) {
  for (uint64_t n = 1;; ++n) {
    SCOPED_TRACE(absl::StrCat("allocation ", n));
    OnMedia media;
    ChainWorld& world = media.world;
    std::map<Key, Blockref>& model = media.model;
    ChainTree tree = media.Open();
    ASSERT_NO_FATAL_FAILURE(Change(world, tree, model));
    world.allocator().FailAt(n);
    const absl::Status status = tree.Flush(world.tids(), media.executor);
    world.allocator().FailAt(0);
    if (!status.ok()) {
      EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
      EXPECT_TRUE(tree.modified());
      ExpectContent(tree, model);
      const Blockref leaf = world.Data(n * 31, 10);  // more changes before the next try
      ASSERT_TRUE(tree.Put(leaf).ok());
      model[leaf.key] = leaf;
      world.NextCycle();
      ASSERT_TRUE(tree.Flush(world.tids(), media.executor).ok());
    }
    ASSERT_TRUE(world.Drain().ok());
    const Topology found =
        WalkTopology(world.device(), Entries(tree.TakeBlockset()), TableKind::kFile);
    EXPECT_EQ(found.leaves, model);
    tree.DeliverDrops();
    EXPECT_EQ(world.allocator().live().size(), model.size() + found.tables.size())
        << "every block is named once or was reported";
    if (status.ok()) {
      EXPECT_GT(n, 10u) << "the flush wrote many tables";
      return;
    }
  }
}

TEST(ChainWriteFault, AFailedWriteStopsFlushesAndNothingElse) {
  for (uint64_t n = 1;; ++n) {
    SCOPED_TRACE(absl::StrCat("write ", n));
    OnMedia before;
    ChainWorld& world = before.world;
    ChainTree tree = before.Open();
    std::map<Key, Blockref> changed = before.model;
    ASSERT_NO_FATAL_FAILURE(Change(world, tree, changed));
    ASSERT_TRUE(tree.Flush(world.tids(), before.executor).ok()) << "writes wait for Drain";
    world.faults().Reset({.fail_at = n, .syncs = false});
    const absl::Status drained = world.Drain();
    const bool reached = world.faults().reached();
    world.faults().Reset({.fail_at = 0});
    EXPECT_EQ(drained.ok(), !reached) << drained;
    if (!reached) return;
    const Blockref late = world.Data(1, 10);
    ASSERT_TRUE(tree.Put(late).ok());
    changed[late.key] = late;
    EXPECT_EQ(tree.Flush(world.tids(), before.executor).code(), absl::StatusCode::kUnavailable);
    EXPECT_TRUE(tree.modified());
    for (const auto& [key, leaf] : changed) {
      const auto found = tree.Find(key);
      ASSERT_TRUE(found.ok()) << found.status();
      EXPECT_EQ(*found, leaf);
    }
    // The old tree is untouched on media.
    EXPECT_EQ(WalkTopology(world.device(), before.blockset, TableKind::kFile).leaves, before.model);
  }
}

}  // namespace
}  // namespace h2bd
