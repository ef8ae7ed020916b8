#include "core/freemap/copy_ledger.h"

#include <gtest/gtest.h>

#include <vector>

namespace h2bd {
namespace {

const FreemapBlockId kLeaf{Key(0), 30};
const FreemapBlockId kOther{Key(1 << 30), 30};

std::vector<Tid> Ring(std::initializer_list<uint64_t> tids) {
  std::vector<Tid> ring;
  for (const uint64_t tid : tids) ring.push_back(Tid(tid));
  return ring;
}

TEST(CopyLedger, NewBlockTakesCopyZero) {
  EXPECT_EQ(CopyLedger().Choose(kLeaf, -1, Ring({16})), 0);
  EXPECT_EQ(CopyLedger().FewestFree(Ring({16})), 8);
}

TEST(CopyLedger, HeaderNamesTheNewestEntryNotNewerThanItself) {
  CopyLedger ledger;
  ledger.Record(kLeaf, Tid(17), 0);
  ledger.Record(kLeaf, Tid(20), 1);
  ledger.Record(kLeaf, Tid(22), 2);
  // 21 still names copy 1; 16 is older than the block.
  EXPECT_EQ(ledger.Choose(kLeaf, 0, Ring({16, 21})), 2);
  EXPECT_EQ(ledger.Choose(kLeaf, 0, Ring({21, 22})), 3);
  EXPECT_EQ(ledger.Choose(kLeaf, 7, Ring({19})), 1);
  EXPECT_EQ(ledger.FewestFree(Ring({17, 20, 22})), 5);
}

TEST(CopyLedger, RefusesWhenAllCopiesAreNamed) {
  CopyLedger ledger;
  std::vector<Tid> ring;
  for (int copy = 0; copy < 8; ++copy) {
    ledger.Record(kLeaf, Tid(17 + copy), copy);
    ring.push_back(Tid(17 + copy));
  }
  EXPECT_EQ(ledger.Choose(kLeaf, 7, ring), std::nullopt);
  EXPECT_EQ(ledger.FewestFree(ring), 0);
  ring.erase(ring.begin() + 4);
  EXPECT_EQ(ledger.Choose(kLeaf, 7, ring), 4);
}

// A flush that was repeated under its old tid: which of the two its header names is not known.
TEST(CopyLedger, TwoCopiesUnderOneTidAreBothNamed) {
  CopyLedger ledger;
  ledger.Record(kLeaf, Tid(17), 0);
  ledger.Record(kLeaf, Tid(17), 1);
  EXPECT_EQ(ledger.Choose(kLeaf, 7, Ring({17})), 2);
}

TEST(CopyLedger, TrimForgetsWhatNoHeaderNames) {
  CopyLedger ledger;
  ledger.Record(kLeaf, Tid(17), 0);
  ledger.Record(kLeaf, Tid(18), 1);  // its header was never written
  ledger.Record(kLeaf, Tid(19), 2);
  ledger.Record(kOther, Tid(17), 0);
  ledger.Trim(Ring({17}));
  EXPECT_EQ(ledger.Choose(kLeaf, 2, Ring({17, 19})), 3);
  EXPECT_EQ(ledger.Choose(kLeaf, 0, Ring({17, 18})), 1) << "18 is forgotten";
  ledger.Trim(Ring({19}));
  EXPECT_EQ(ledger.FewestFree(Ring({19})), 7);
  EXPECT_EQ(ledger.Choose(kOther, 0, Ring({19})), 1);
}

TEST(CopyLedger, RecordsOfOlderHeadersMayComeLater) {
  CopyLedger ledger;
  ledger.Record(kLeaf, Tid(20), 3);
  ledger.Record(kLeaf, Tid(18), 1);
  ledger.Record(kLeaf, Tid(19), 1);
  EXPECT_EQ(ledger.Choose(kLeaf, 0, Ring({19})), 2);
  EXPECT_EQ(ledger.Choose(kLeaf, 2, Ring({20})), 4);
}

}  // namespace
}  // namespace h2bd
