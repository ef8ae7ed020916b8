// Changes between two trees (core/chain/tree_diff.h) against a comparison of plain maps.
#include "core/chain/tree_diff.h"

#include <gtest/gtest.h>

#include <map>

#include "absl/strings/str_cat.h"
#include "core/base/random.h"
#include "tests/chain/chain_world.h"
#include "tests/chain/topology_walk.h"
#include "tests/support/fixtures.h"

namespace h2bd {
namespace {

using Model = std::map<Key, Blockref>;

// A tree as it was at a flush.
struct Frozen {
  std::vector<Blockref> blockset;
  Model model;
  Tid since;  // highest modify_tid in it
};

class DiffWorld {
 public:
  explicit DiffWorld(TableKind kind, uint64_t cache_bytes = 4 * kMiB)
      : kind_(kind), world_({.cache_bytes = cache_bytes}), live_(Open({})) {}

  void Put(const Blockref& leaf) {
    ASSERT_TRUE(live_->Put(leaf).ok());
    model_[leaf.key] = leaf;
  }
  void PutBlocks(uint64_t first, uint64_t count) {
    for (uint64_t block = first; block < first + count; ++block) Put(world_.Data(block, 10));
  }
  void EraseRange(Key first, Key last) {
    ASSERT_TRUE(live_->EraseRange(first, last).ok());
    model_.erase(model_.lower_bound(first), model_.upper_bound(last));
  }
  // What a snapshot does: a flush, and everything that follows has higher ids.
  Frozen Freeze() {
    InlineExecutor executor;
    EXPECT_TRUE(live_->Flush(world_.tids(), executor).ok());
    Frozen frozen{Entries(live_->TakeBlockset()), model_, world_.tids().modify_tid};
    EXPECT_TRUE(world_.Drain().ok());
    world_.NextCycle();
    return frozen;
  }
  std::unique_ptr<ChainTree> Open(std::vector<Blockref> blockset) {
    return std::make_unique<ChainTree>(kind_, std::move(blockset), kMethods, world_.store(),
                                       world_.cache());
  }
  // Only the device is left.
  void ForgetAll() {
    live_.reset();
    world_.Remount();
  }
  ChainTree& live() { return *live_; }
  const Model& model() const { return model_; }
  ChainWorld& world() { return world_; }

 private:
  const TableKind kind_;
  ChainWorld world_;
  std::unique_ptr<ChainTree> live_;
  Model model_;
};

// By first key: which leaf there is now; nullopt: none any more.
using Changes = std::map<Key, std::optional<DataOff>>;

Changes PlainDiff(const Model& from, const Model& to, Key first = Key(0),
                  Key last = Key(UINT64_MAX)) {
  Changes changes;
  const auto within = [&](const Blockref& leaf) {
    return leaf.last_key() >= first && leaf.key <= last;
  };
  for (const auto& [key, leaf] : from) {
    if (within(leaf) && !to.contains(key)) changes[std::max(key, first)] = std::nullopt;
  }
  for (const auto& [key, leaf] : to) {
    const auto old = from.find(key);
    if (within(leaf) && (old == from.end() || old->second.data_off != leaf.data_off ||
                         old->second.embed != leaf.embed)) {
      changes[std::max(key, first)] = leaf.data_off;
    }
  }
  return changes;
}

Changes TreeDiff(ChainTree& from, ChainTree& to, const TreeDiffOptions& options = {},
                 TreeDiffStats* stats_out = nullptr) {
  Changes changes;
  TreeDiffStats stats;
  Key next = options.first;
  const absl::Status status = DiffTrees(from, to, options, stats, [&](const TreeChange& change) {
    EXPECT_GE(change.first, next) << "changes ascend and do not overlap";
    EXPECT_LE(change.first, change.last);
    EXPECT_LE(change.last, options.last);
    next = Key(change.last.v + 1);
    changes[change.first] =
        change.to == nullptr ? std::nullopt : std::optional(change.to->data_off);
    return true;
  });
  EXPECT_TRUE(status.ok()) << status;
  if (stats_out != nullptr) *stats_out = stats;
  return changes;
}

Blockref NewLeaf(DiffWorld& world, TableKind kind, uint64_t number) {
  if (kind == TableKind::kFile) return world.world().Data(number, 10);
  if (kind == TableKind::kPfsRoot && number % 2 == 0)
    return world.world().InodeLeaf(0x400 + number);
  // What tells two entries of one key apart is in the blockref.
  static uint64_t inum = 1;
  return world.world().DirentLeaf(Key(number * 0x9e3779b97f4a7c15 | uint64_t{1} << 63),
                                  Inum(++inum));
}

class TreeDiffProperty : public ::testing::TestWithParam<TableKind> {};

// A tree against earlier states of itself, on media and in memory, with the short cut and without.
TEST_P(TreeDiffProperty, FindsExactlyWhatAComparisonOfMapsFinds) {
  const uint64_t seed = TestSeed();
  for (uint64_t run = 0; run < 12 && !HasFailure(); ++run) {
    SCOPED_TRACE(absl::StrCat("H2BD_SEED=", seed, ", run ", run));
    SeededRandom random(seed + run);
    DiffWorld world(GetParam(), run % 3 == 0 ? 0 : 1 * kMiB);
    const uint64_t spread = uint64_t{1} << (5 + random.Next64() % 14);
    std::vector<Frozen> history = {Frozen{{}, {}, Tid(1)}};
    for (int epoch = 0; epoch < 6 && !HasFailure(); ++epoch) {
      for (uint64_t edits = random.Next64() % 200; edits > 0; --edits) {
        const uint64_t number = random.Next64() % spread;
        if (random.Next64() % 6 != 0) {
          for (uint64_t i = random.Next64() % 40; i > 0; --i) {
            world.Put(NewLeaf(world, GetParam(), (number + i) % spread));
          }
        } else {
          const Key key = NewLeaf(world, GetParam(), number).key;
          world.EraseRange(key,
                           Key(key.v + std::min(UINT64_MAX - key.v, (random.Next64() % 64) << 16)));
        }
      }
      const bool flush = random.Next64() % 4 != 0;
      if (flush) history.push_back(world.Freeze());
      const std::unique_ptr<ChainTree> reopened =
          flush ? world.Open(history.back().blockset) : nullptr;
      ChainTree& to = reopened != nullptr ? *reopened : world.live();
      for (const Frozen& old : history) {
        const std::unique_ptr<ChainTree> from = world.Open(old.blockset);
        const Changes expected = PlainDiff(old.model, world.model());
        EXPECT_EQ(TreeDiff(*from, to), expected);
        EXPECT_EQ(TreeDiff(*from, to, {.since = old.since}), expected);
        EXPECT_EQ(TreeDiff(*from, world.live(), {.since = old.since}), expected);
        EXPECT_EQ(TreeDiff(to, *from), PlainDiff(world.model(), old.model)) << "backwards";
        TreeDiffOptions part{.since = old.since};
        part.first = Key(random.Next64() % (spread << 16));
        part.last = Key(part.first.v + random.Next64() % (spread << 16));
        EXPECT_EQ(TreeDiff(*from, to, part),
                  PlainDiff(old.model, world.model(), part.first, part.last));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, TreeDiffProperty,
                         ::testing::Values(TableKind::kFile, TableKind::kDirectory,
                                           TableKind::kPfsRoot),
                         [](const auto& suite) {
                           return suite.param == TableKind::kFile        ? "File"
                                  : suite.param == TableKind::kDirectory ? "Directory"
                                                                         : "PfsRoot";
                         });

// Two trees of one content whose tables split in different places: filled upwards and downwards.
TEST(TreeDiffTest, ShapesDoNotMatter) {
  DiffWorld up(TableKind::kFile);
  up.PutBlocks(0, 5000);
  const Frozen all = up.Freeze();
  std::unique_ptr<ChainTree> other = up.Open({});
  std::vector<uint64_t> order;
  for (uint64_t block = 0; block < 5000; ++block) order.push_back(block * 2377 % 5000);
  for (const uint64_t block : order) {
    ASSERT_TRUE(other->Put(all.model.at(Key(block << 16))).ok());
  }
  const std::unique_ptr<ChainTree> from = up.Open(all.blockset);
  EXPECT_EQ(TreeDiff(*from, *other), Changes{});
  EXPECT_EQ(TreeDiff(*other, *from), Changes{});
}

// Equal tables are not read, however many there are.
TEST(TreeDiffTest, ReadsWhatHasChangedAndNotMore) {
  DiffWorld world(TableKind::kFile);
  world.PutBlocks(0, 128 * 200);
  const Frozen old = world.Freeze();
  world.PutBlocks(128 * 50, 128 * 2);  // two tables, wholly
  world.PutBlocks(128 * 60 + 5, 1);    // one block of a full table
  const Frozen now = world.Freeze();
  const std::unique_ptr<ChainTree> from = world.Open(old.blockset), to = world.Open(now.blockset);
  TreeDiffStats stats;
  EXPECT_EQ(TreeDiff(*from, *to, {.since = old.since}, &stats), PlainDiff(old.model, now.model));
  EXPECT_EQ(stats.tables_read_to, 3u + 1u) << "three tables of blocks and the one above them";
  EXPECT_EQ(stats.tables_read_from, 1u) << "nothing can have been removed from full tables";
  EXPECT_EQ(stats.bytes_read, 5u * 16 * kKiB);
  EXPECT_EQ(TreeDiff(*from, *to, {}, &stats), PlainDiff(old.model, now.model));
  EXPECT_EQ(stats.tables_read_from, 4u) << "without the short cut both sides are read";
  EXPECT_EQ(TreeDiff(*to, *to, {}, &stats), Changes{});
  EXPECT_LE(stats.tables_read(), 2u);
}

// A removal is found although the new table does not show it; the statistics of a table that
// others wrote are not believed (02 §13 end).
TEST(TreeDiffTest, StatisticsTellRemovalsWhereTheyAreTrusted) {
  DiffWorld world(TableKind::kFile);
  world.PutBlocks(0, 100);
  Frozen old = world.Freeze();
  ASSERT_EQ(old.blockset.size(), 1u);
  world.PutBlocks(7, 1);
  world.EraseRange(Key(20 << 16), Key(20 << 16));
  const Frozen now = world.Freeze();
  const Changes expected = PlainDiff(old.model, now.model);
  ASSERT_EQ(expected.size(), 2u);
  const std::unique_ptr<ChainTree> to = world.Open(now.blockset);
  EXPECT_EQ(TreeDiff(*world.Open(old.blockset), *to, {.since = old.since}), expected);
  // 98 are unchanged; a count that says so hides the removal.
  old.blockset[0].leaf_count = 98;
  const std::unique_ptr<ChainTree> lying = world.Open(old.blockset);
  EXPECT_NE(TreeDiff(*lying, *to, {.since = old.since}), expected);
  EXPECT_EQ(
      TreeDiff(*lying, *to, {.since = old.since, .trusted_since = old.blockset[0].mirror_tid}),
      expected);
  EXPECT_EQ(TreeDiff(*lying, *to), expected);
}

TEST(TreeDiffTest, AVisitorStopsIt) {
  DiffWorld world(TableKind::kFile);
  world.PutBlocks(0, 300);
  const std::unique_ptr<ChainTree> empty = world.Open({});
  for (const std::optional<Tid> since : {std::optional<Tid>(), std::optional(Tid(1))}) {
    int seen = 0;
    TreeDiffStats stats;
    EXPECT_TRUE(DiffTrees(*empty, world.live(), {.since = since}, stats, [&](const TreeChange&) {
                  return ++seen < 3;
                }).ok());
    EXPECT_EQ(seen, 3);
  }
}

TEST(TreeDiffTest, ADamagedTableIsAnErrorOnlyWhereItIsRead) {
  DiffWorld world(TableKind::kFile, /*cache_bytes=*/0);
  world.PutBlocks(0, 128 * 8);
  const Frozen old = world.Freeze();
  world.PutBlocks(0, 1);
  const Frozen now = world.Freeze();
  const Topology topology = WalkTopology(world.world().device(), now.blockset, TableKind::kFile);
  const std::vector<const WalkedTable*> tables = topology.OfKeybits(23);
  ASSERT_EQ(tables.size(), 8u);
  const DataOff unchanged = tables[3]->bref.data_off, changed = tables[0]->bref.data_off;
  const auto diff = [&] {
    world.ForgetAll();
    TreeDiffStats stats;
    return DiffTrees(*world.Open(old.blockset), *world.Open(now.blockset), {}, stats,
                     [](const TreeChange&) { return true; });
  };
  world.world().Damage(unchanged, 100);
  EXPECT_TRUE(diff().ok());
  world.world().Damage(changed, 100);
  EXPECT_EQ(diff().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace h2bd
