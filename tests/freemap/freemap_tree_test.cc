#include "core/freemap/freemap_tree.h"

#include <gtest/gtest.h>

#include <vector>

namespace h2bd {
namespace {

AlignedBuffer EmptyLeaf(Key) { return AlignedBuffer::Zeroed(kFreemapBlockBytes); }

std::vector<Key> Zones(std::initializer_list<uint64_t> gib) {
  std::vector<Key> zones;
  for (const uint64_t zone : gib) zones.push_back(Key(zone * kGiB));
  return zones;
}

// A tree whose leaves have been flushed under tid 17.
class FreemapTreeTest : public ::testing::Test {
 protected:
  FreemapTreeTest() {
    for (const Key zone : kAll) tree_.AddLeaf(zone, kGiB - kZoneSegBytes);
    const auto plan = tree_.PlanFlush(kAll, EmptyLeaf, {Tid(17), Tid(17)}, ledger_, kRing);
    EXPECT_EQ(plan.status(), absl::OkStatus());
    EXPECT_EQ(plan->blocks.size(), kAll.size() + 1);
    for (const PlannedBlock& block : plan->blocks) {
      ledger_.Record({block.bref.key, block.bref.keybits}, Tid(17), 0);
    }
  }
  std::vector<Blockref> Brefs() const {
    std::vector<Blockref> brefs;
    VisitFreemap(tree_.root(), [&](const FreemapEntry& e) { brefs.push_back(e.bref); });
    return brefs;
  }

  const std::vector<Key> kAll = Zones({0, 1, 2, 3, 4, 5});
  const std::vector<Tid> kRing = {Tid(17)};
  FreemapTree tree_;
  CopyLedger ledger_;
};

TEST_F(FreemapTreeTest, RollbackLeavesNoTraceOfThePlan) {
  const std::vector<Blockref> before = Brefs();
  const auto first = tree_.PlanFlush(Zones({1, 4}), EmptyLeaf, {Tid(18), Tid(18)}, ledger_, kRing);
  ASSERT_TRUE(first.ok());
  EXPECT_NE(Brefs(), before);
  tree_.Rollback(*first);
  EXPECT_EQ(Brefs(), before);
  // The tables still need to be written, even if nothing is dirty.
  const auto second = tree_.PlanFlush({}, EmptyLeaf, {Tid(19), Tid(19)}, ledger_, kRing);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->blocks.size(), 1u);
  const auto nothing = tree_.PlanFlush({}, EmptyLeaf, {Tid(20), Tid(20)}, ledger_, kRing);
  EXPECT_TRUE(nothing->blocks.empty());
}

// A refusal half-way: the leaf at 0 could move, the one at 4 GiB could not.
TEST_F(FreemapTreeTest, RefusedPlanChangesNothing) {
  std::vector<Tid> ring;
  for (int copy = 0; copy < kFreemapCopies; ++copy) {
    ledger_.Record({Key(4 * kGiB), 30}, Tid(17 + static_cast<uint64_t>(copy)), copy);
    ring.push_back(Tid(17 + static_cast<uint64_t>(copy)));
  }
  const std::vector<Blockref> before = Brefs();
  const auto refused = tree_.PlanFlush(Zones({0, 4}), EmptyLeaf, {Tid(30), Tid(30)}, ledger_, ring);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Brefs(), before);
}

TEST_F(FreemapTreeTest, HasLeafOnlyWhereOneIs) {
  for (const Key zone : kAll) EXPECT_TRUE(tree_.HasLeaf(zone));
  EXPECT_FALSE(tree_.HasLeaf(Key(6 * kGiB)));
  EXPECT_FALSE(tree_.HasLeaf(Key(kTiB)));
}

// 256 leaves fill a node; a volume of 64 TiB and more needs the levels above.
TEST(FreemapTreeGrowth, HoldsEveryZoneOfALargeVolume) {
  FreemapTree tree;
  std::vector<Key> zones;
  for (uint64_t i = 0; i < 3000; ++i) {
    const Key zone((i * 2654435761 % 200'000) * kGiB);  // spread over 200 TiB
    if (tree.HasLeaf(zone)) continue;
    tree.AddLeaf(zone, kGiB - kZoneSegBytes);
    zones.push_back(zone);
  }
  size_t leaves = 0;
  VisitFreemap(tree.root(), [&](const FreemapEntry& e) {
    if (e.node == nullptr) {
      ++leaves;
      return;
    }
    ASSERT_LE(e.node->entries.size(), 256u);
    for (size_t i = 0; i < e.node->entries.size(); ++i) {
      const Blockref& child = e.node->entries[i].bref;
      ASSERT_TRUE(e.bref.Contains(child.key) && e.bref.Contains(child.last_key()));
      ASSERT_LT(child.keybits, e.bref.keybits);
      if (i > 0) {
        ASSERT_LT(e.node->entries[i - 1].bref.last_key(), child.key);
      }
    }
  });
  EXPECT_EQ(leaves, zones.size());
  EXPECT_LE(tree.root().entries.size(), 4u);
  for (const Key zone : zones) ASSERT_TRUE(tree.HasLeaf(zone)) << zone.v;
}

}  // namespace
}  // namespace h2bd
