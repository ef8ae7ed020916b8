#include "core/chain/chain_tree.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/media/check_code.h"
#include "tests/chain/chain_world.h"
#include "tests/chain/topology_walk.h"

namespace h2bd {
namespace {

class ChainTreeTest : public ::testing::Test {
 protected:
  ChainTreeTest() { Open(TableKind::kFile, {}); }
  void Open(TableKind kind, std::vector<Blockref> blockset, uint8_t methods = kMethods) {
    tree_.reset();
    kind_ = kind;
    tree_ = std::make_unique<ChainTree>(kind, std::move(blockset), methods, world_.store(),
                                        world_.cache());
  }
  // Blocks [0, count) of 1 KiB.
  void Fill(uint64_t count) {
    for (uint64_t block = 0; block < count; ++block) ASSERT_TRUE(Put(world_.Data(block, 10)));
  }
  testing::AssertionResult Put(const Blockref& leaf) {
    const absl::Status status = tree_->Put(leaf);
    return status.ok() ? testing::AssertionSuccess() : testing::AssertionFailure() << status;
  }
  Topology Flush() {
    InlineExecutor executor;
    const absl::Status status = tree_->Flush(world_.tids(), executor);
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_TRUE(world_.Drain().ok());
    blockset_ = Entries(tree_->TakeBlockset());
    tree_->DeliverDrops();
    return WalkTopology(world_.device(), blockset_, kind_);
  }
  // The same tree as another process would find it.
  void Reload() {
    tree_.reset();
    world_.Remount();
    Open(kind_, blockset_);
  }
  uint64_t TablesInMemory() { return world_.cache().bytes() / (sizeof(Chain) + 16384); }

  ChainWorld world_;
  std::unique_ptr<ChainTree> tree_;
  TableKind kind_ = TableKind::kFile;
  std::vector<Blockref> blockset_;
};

TEST_F(ChainTreeTest, AnEmptyTreeIsAHole) {
  EXPECT_EQ(*tree_->Find(Key(0)), std::nullopt);
  EXPECT_EQ(*tree_->Find(Key(UINT64_MAX)), std::nullopt);
  EXPECT_FALSE(tree_->modified());
  EXPECT_EQ(*tree_->Erase(Key(0)), false);
  EXPECT_EQ(*tree_->EraseRange(Key(0), Key(UINT64_MAX)), false);
  EXPECT_TRUE(Flush().leaves.empty());
  EXPECT_FALSE(tree_->modified());
}

TEST_F(ChainTreeTest, FindGivesTheLeafWhoseRangeHasTheKey) {
  const Blockref leaf = world_.Data(7);
  ASSERT_TRUE(Put(leaf));
  EXPECT_EQ(*tree_->Find(Key(7 << 16)), leaf);
  EXPECT_EQ(*tree_->Find(Key((8 << 16) - 1)), leaf);
  EXPECT_EQ(*tree_->Find(Key(8 << 16)), std::nullopt);
  EXPECT_EQ(*tree_->Find(Key((7 << 16) - 1)), std::nullopt);
}

TEST_F(ChainTreeTest, SplitsCostNoBlocksBeforeTheFlush) {
  Fill(1000);
  EXPECT_EQ(world_.allocator().allocations(), 1000u) << "the leaves' own";
  EXPECT_EQ(*tree_->Depth(Key(0)), 2);
  Flush();
  EXPECT_EQ(world_.allocator().allocations(), 1000u + 8) << "one /30, seven /23";
}

TEST_F(ChainTreeTest, ReplacingReportsTheOldBlockOnce) {
  const Blockref old = world_.Data(3), fresh = world_.Data(3);
  ASSERT_TRUE(Put(old));
  ASSERT_TRUE(Put(old)) << "no change";
  EXPECT_TRUE(world_.allocator().dropped().empty());
  Blockref same_place = old;
  same_place.modify_tid = Tid(200);
  ASSERT_TRUE(Put(same_place));
  EXPECT_TRUE(world_.allocator().dropped().empty()) << "the block is still named";
  ASSERT_TRUE(Put(fresh));
  EXPECT_TRUE(world_.allocator().dropped().empty()) << "the old tree may be in the next header";
  tree_->DeliverDrops();
  EXPECT_TRUE(world_.allocator().dropped().contains(old.data_off));
  ASSERT_TRUE(*tree_->Erase(fresh.key));
  tree_->DeliverDrops();
  EXPECT_TRUE(world_.allocator().live().empty());
}

TEST_F(ChainTreeTest, AnUnchangedLeafDoesNotDirtyTheTree) {
  const Blockref leaf = world_.Data(3);
  ASSERT_TRUE(Put(leaf));
  Flush();
  ASSERT_TRUE(Put(leaf));
  EXPECT_FALSE(tree_->modified());
  EXPECT_FALSE(*tree_->Erase(Key(99 << 16)));
  EXPECT_FALSE(*tree_->EraseRange(Key(10 << 16), Key(20 << 16)));
  EXPECT_FALSE(tree_->modified());
}

TEST_F(ChainTreeTest, OverlapIsDataLossAndChangesNothing) {  // R2
  Open(TableKind::kPfsRoot, {});
  const Blockref inode = world_.InodeLeaf(0x400);
  ASSERT_TRUE(Put(inode));
  Blockref wide = world_.InodeLeaf(0x400);
  wide.keybits = 4;
  EXPECT_EQ(tree_->Put(wide).code(), absl::StatusCode::kDataLoss) << "same key, another range";
  wide.key = Key(0x3f8);
  EXPECT_EQ(tree_->Put(wide).code(), absl::StatusCode::kDataLoss) << "runs into the next entry";
  EXPECT_EQ(*tree_->Find(Key(0x400)), inode);
  EXPECT_EQ(*tree_->Find(Key(0x3ff)), std::nullopt);
}

TEST_F(ChainTreeTest, ALeafMustFitItsTable) {  // a made-up INDIRECT narrower than a block
  Blockref narrow = world_.Data(0, 10);
  Blockref entry;
  entry.type = BrefType::kIndirect;
  entry.keybits = 10;
  entry.set_methods(CheckMethod::kXxhash64, CompMethod::kNone);
  ASSERT_TRUE(world_.store().Store(entry, AlignedBuffer::Zeroed(4096), world_.tids()).ok());
  Open(TableKind::kFile, {entry});
  EXPECT_EQ(tree_->Put(narrow).code(), absl::StatusCode::kDataLoss);
}

TEST_F(ChainTreeTest, EmptyTablesGoAtTheFlush) {
  Fill(300);
  Flush();
  for (uint64_t block = 128; block < 256; ++block) ASSERT_TRUE(*tree_->Erase(Key(block << 16)));
  const auto before = world_.allocator().allocations();
  const Topology found = Flush();
  EXPECT_EQ(found.leaves.size(), 172u);
  EXPECT_EQ(blockset_.size(), 2u);
  EXPECT_EQ(world_.allocator().allocations(), before) << "nothing is written for what goes";
  ASSERT_TRUE(*tree_->EraseRange(Key(0), Key(UINT64_MAX)));
  EXPECT_TRUE(Flush().leaves.empty());
  EXPECT_TRUE(blockset_.empty());
  EXPECT_TRUE(world_.allocator().live().empty()) << "all blocks were reported";
}

TEST_F(ChainTreeTest, ARemovedSubtreeIsReportedAndFreedAsFarAsItIsLoaded) {
  Fill(2000);
  Flush();
  EXPECT_EQ(TablesInMemory(), 16u) << "one /30, fifteen /23";
  ASSERT_TRUE(*tree_->EraseRange(Key(0), Key(UINT64_MAX)));
  EXPECT_EQ(TablesInMemory(), 0u);
  tree_->DeliverDrops();
  EXPECT_TRUE(world_.allocator().live().empty());
}

TEST_F(ChainTreeTest, AFailedReadOfABlockThatWasGivenAwayIsNoFault) {
  Fill(2000);
  const Blockref victim =
      Flush().OfKeybits(23)[7]->bref;  // not in a device buffer with what is read first
  Reload();
  ASSERT_TRUE(tree_->Find(Key(0)).ok()) << "the /30 is in memory";
  world_.DuringNextRead([&] {
    EXPECT_TRUE(*tree_->EraseRange(victim.key, victim.last_key()));
    world_.Damage(victim.data_off, 0);  // somebody else's by now
  });
  const auto found = tree_->Find(victim.key);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(*found, std::nullopt);
}

TEST_F(ChainTreeTest, TheWayOfAWriterStaysWhileItReads) {
  Fill(2000);
  const Blockref target = Flush().OfKeybits(23)[7]->bref;
  Reload();
  ASSERT_TRUE(tree_->Find(Key(0)).ok()) << "the /30 is in memory";
  world_.DuringNextRead([&] {
    tree_->EvictClean();
    tree_->EvictClean();
    tree_->EvictClean();
    EXPECT_EQ(TablesInMemory(), 1u) << "the /30, whose entry is being read";
  });
  const Blockref leaf = world_.Data(7 * 128, 11);
  ASSERT_TRUE(Put(leaf));
  EXPECT_EQ(*tree_->Find(target.key), leaf);
  EXPECT_EQ(Flush().leaves.at(target.key), leaf);
}

TEST_F(ChainTreeTest, ATableThatWasNeverWrittenGoesWithoutATrace) {
  Fill(10);
  for (uint64_t block = 0; block < 10; ++block) ASSERT_TRUE(*tree_->Erase(Key(block << 16)));
  EXPECT_TRUE(Flush().leaves.empty());
  EXPECT_TRUE(world_.allocator().live().empty());
}

TEST_F(ChainTreeTest, EraseRangeDoesNotReadWhatGoesWhole) {
  Fill(2000);  // /30 with /23 tables of 128 blocks
  Flush();
  Reload();
  // From the middle of the first /23 to the middle of the third: the second goes unread.
  ASSERT_TRUE(*tree_->EraseRange(Key(100 << 16), Key((300 << 16) - 1)));
  EXPECT_EQ(TablesInMemory(), 3u) << "the /30 and the two at the ends";
  const Topology found = Flush();
  EXPECT_EQ(found.leaves.size(), 1800u);
  EXPECT_EQ(found.leaves.count(Key(99 << 16)), 1u);
  EXPECT_EQ(found.leaves.count(Key(100 << 16)), 0u);
  EXPECT_EQ(found.leaves.count(Key(299 << 16)), 0u);
  EXPECT_EQ(found.leaves.count(Key(300 << 16)), 1u);

  Reload();
  ASSERT_TRUE(*tree_->EraseRange(Key(0), Key(UINT64_MAX)));
  EXPECT_EQ(TablesInMemory(), 0u) << "everything";
}

TEST_F(ChainTreeTest, EraseRangeGoesByKeys) {
  Fill(4);
  ASSERT_TRUE(*tree_->EraseRange(Key(0x10001), Key(0x20000)));
  EXPECT_TRUE((*tree_->Find(Key(0x10000))).has_value()) << "begins before the range";
  EXPECT_FALSE((*tree_->Find(Key(0x20000))).has_value()) << "begins in it";
  EXPECT_EQ(*tree_->EraseRange(Key(2), Key(1)), false);
}

TEST_F(ChainTreeTest, ScanVisitsInOrderAndStops) {
  Fill(700);
  Flush();
  Reload();
  std::vector<uint64_t> blocks;
  const auto collect = [&](const Blockref& leaf) {
    blocks.push_back(leaf.key.v >> 16);
    return true;
  };
  ASSERT_TRUE(tree_->Scan(Key((100 << 16) + 5), Key(400 << 16), collect).ok());
  ASSERT_EQ(blocks.size(), 301u) << "both ends meet the range";
  for (size_t i = 0; i < blocks.size(); ++i) EXPECT_EQ(blocks[i], 100 + i);
  size_t seen = 0;
  ASSERT_TRUE(
      tree_->Scan(Key(0), Key(UINT64_MAX), [&](const Blockref&) { return ++seen < 77; }).ok());
  EXPECT_EQ(seen, 77u);
  ASSERT_TRUE(tree_
                  ->Scan(Key(700 << 16), Key(UINT64_MAX),
                         [&](const Blockref&) {
                           ADD_FAILURE() << "nothing is there";
                           return true;
                         })
                  .ok());
}

TEST_F(ChainTreeTest, ScanMayEditTheTree) {  // no lock is held during the visit
  Fill(300);
  ASSERT_TRUE(tree_
                  ->Scan(Key(0), Key(UINT64_MAX),
                         [&](const Blockref& leaf) {
                           EXPECT_TRUE(*tree_->Erase(leaf.key));
                           return true;
                         })
                  .ok());
  EXPECT_EQ(*tree_->Find(Key(150 << 16)), std::nullopt);
}

TEST_F(ChainTreeTest, TablesOfForeignSizesAreReadAndReplaced) {  // R4: 32 KiB
  for (const auto& [bytes, legal] : std::vector<std::pair<uint64_t, uint64_t>>{
           {1024, 4096}, {8192, 16384}, {32768, 65536}, {65536, 65536}}) {
    SCOPED_TRACE(bytes);
    Open(TableKind::kFile, {});
    const uint64_t slots = bytes / kBlockrefBytes;
    AlignedBuffer block = AlignedBuffer::Zeroed(bytes);
    std::vector<Blockref> leaves;
    for (uint64_t i = 0; i < slots; ++i) {  // full, and not from the front
      leaves.push_back(world_.Data(2 * i, 10));
      StoreAs(block.span(), leaves.back(), i * kBlockrefBytes);
    }
    Blockref entry;
    entry.type = BrefType::kIndirect;
    entry.keybits = 30;
    entry.set_methods(CheckMethod::kXxhash64, CompMethod::kNone);
    entry.copyid = 3;
    entry.vradix = 14;
    entry.update_tid = Tid(9);
    ASSERT_TRUE(world_.store().Store(entry, std::move(block), world_.tids()).ok());
    Open(TableKind::kFile, {entry});
    EXPECT_EQ(*tree_->Find(leaves.back().key), leaves.back());
    ASSERT_TRUE(Put(world_.Data(1, 10)));
    const Topology found = Flush();
    EXPECT_EQ(found.leaves.size(), slots + 1);
    EXPECT_EQ(found.tables[0].bref.data_off.bytes(), legal);
    EXPECT_EQ(blockset_[0].copyid, 3) << "unknown fields stay";
    EXPECT_EQ(blockset_[0].vradix, 14);
    EXPECT_EQ(blockset_[0].update_tid, Tid(9));
  }
}

TEST_F(ChainTreeTest, ASmallTableGrowsWhereANewOneWouldBeAsWide) {  // R3: strict nesting
  // 32 slots over 64 keys below a directory: halving gives 32 keys, rounded up to 128.
  AlignedBuffer block = AlignedBuffer::Zeroed(4096);
  for (uint64_t i = 0; i < 32; ++i) {
    StoreAs(block.span(), world_.InodeLeaf(0x400 + 2 * i), i * kBlockrefBytes);
  }
  Blockref entry;
  entry.type = BrefType::kIndirect;
  entry.key = Key(0x400);
  entry.keybits = 6;
  entry.set_methods(CheckMethod::kXxhash64, CompMethod::kNone);
  ASSERT_TRUE(world_.store().Store(entry, std::move(block), world_.tids()).ok());
  Open(TableKind::kPfsRoot, {entry});
  for (uint64_t i = 0; i < 32; ++i) ASSERT_TRUE(Put(world_.InodeLeaf(0x401 + 2 * i)));
  const Topology found = Flush();
  EXPECT_EQ(found.leaves.size(), 64u);
  ASSERT_EQ(found.tables.size(), 1u);
  EXPECT_EQ(found.tables[0].bref.data_off.bytes(), 16384u);
}

TEST_F(ChainTreeTest, IndirectMethodsComeFromTheInodeAndAreNeverNone) {
  struct Case {
    uint8_t inode;
    uint8_t indirect;
  };
  for (const Case& c : {Case{0x32, 0x30}, Case{0x02, 0x30}, Case{0x12, 0x30}, Case{0x21, 0x20},
                        Case{0x43, 0x40}, Case{0x50, 0x30}, Case{0xf0, 0x30}}) {
    Open(TableKind::kFile, {}, c.inode);
    Fill(5);
    Flush();
    EXPECT_EQ(blockset_[0].methods, c.indirect) << int{c.inode};
  }
  tree_->set_methods(0x20);
  ASSERT_TRUE(Put(world_.Data(9, 10)));
  Flush();
  EXPECT_EQ(blockset_[0].methods, 0x20);
}

TEST_F(ChainTreeTest, OnlyWhatChangedIsWritten) {
  Fill(2000);
  Flush();
  const auto before = world_.allocator().allocations();
  world_.NextCycle();
  ASSERT_TRUE(Put(world_.Data(0, 10)));
  ASSERT_TRUE(Put(world_.Data(1, 10)));
  const Topology found = Flush();
  EXPECT_EQ(world_.allocator().allocations(), before + 2 + 2) << "two leaves, one /23, one /30";
  for (const WalkedTable& table : found.tables) {
    const bool changed = table.bref.key == Key(0);
    EXPECT_EQ(table.bref.mirror_tid == world_.tids().mirror_tid, changed) << "M-3";
    EXPECT_EQ(table.bref.modify_tid == world_.tids().modify_tid, changed);
  }
}

TEST_F(ChainTreeTest, ModifyTidNeverFallsBelowALeaf) {  // F-146, R9
  Fill(5);
  Blockref foreign = world_.Data(6, 10);
  foreign.modify_tid = Tid(1'000'000);
  ASSERT_TRUE(Put(foreign));
  Flush();
  EXPECT_EQ(blockset_[0].modify_tid, Tid(1'000'000));
  EXPECT_EQ(tree_->highest_modify_tid(), Tid(1'000'000));
}

TEST_F(ChainTreeTest, DamagedTablesAreDataLossForTheirRangeOnly) {
  Fill(2000);
  const Topology found = Flush();
  const Blockref victim = found.OfKeybits(23)[1]->bref;  // blocks 128 to 255
  world_.Damage(victim.data_off, 4711);
  Reload();
  const absl::Status status = tree_->Find(Key(130 << 16)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(std::string(status.message()).find("0x0000000000800000"), std::string::npos) << status;
  EXPECT_TRUE((*tree_->Find(Key(127 << 16))).has_value());
  EXPECT_TRUE((*tree_->Find(Key(256 << 16))).has_value());
  EXPECT_EQ(tree_->Put(world_.Data(130, 10)).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(tree_->Erase(Key(130 << 16)).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(tree_->EraseRange(Key(130 << 16), Key(140 << 16)).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_FALSE(tree_->modified());
  size_t seen = 0;
  EXPECT_EQ(
      tree_->Scan(Key(0), Key(UINT64_MAX), [&](const Blockref&) { return ++seen > 0; }).code(),
      absl::StatusCode::kDataLoss);
  EXPECT_EQ(seen, 128u) << "what stands before the damage";
  ASSERT_TRUE(*tree_->EraseRange(Key(0x800000), Key(0xffffff))) << "the way out: without reading";
  EXPECT_EQ(Flush().leaves.size(), 2000u - 128);
}

TEST_F(ChainTreeTest, TablesThatPointAtThemselvesEnd) {  // made-up media with check DISABLED
  Blockref loop;
  loop.type = BrefType::kIndirect;
  loop.keybits = 30;
  loop.set_methods(CheckMethod::kDisabled, CompMethod::kNone);
  loop.data_off = world_.NewPlace(BrefType::kIndirect, 16);
  AlignedBuffer block = AlignedBuffer::Zeroed(65536);
  StoreAs(block.span(), loop);
  ASSERT_TRUE(world_.device().Write(loop.data_off.offset(), block.span()).ok());
  Open(TableKind::kFile, {loop});
  EXPECT_EQ(tree_->Find(Key(0)).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(tree_->Put(world_.Data(0)).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(tree_->Scan(Key(0), Key(9), [](const Blockref&) { return true; }).code(),
            absl::StatusCode::kDataLoss);
}

TEST_F(ChainTreeTest, TheSameInputGivesTheSameImage) {  // design section 5: one worker, bit for bit
  const auto image = [] {
    ChainWorld world;
    ChainTree tree(TableKind::kFile, {}, kMethods, world.store(), world.cache());
    InlineExecutor executor;
    for (int cycle = 0; cycle < 3; ++cycle) {
      for (uint64_t i = 0; i < 500; ++i) EXPECT_TRUE(tree.Put(world.Data(i * i % 7919, 10)).ok());
      EXPECT_TRUE(tree.Flush(world.tids(), executor).ok());
      tree.TakeBlockset();
      world.NextCycle();
    }
    EXPECT_TRUE(world.Drain().ok());
    return world.device().Snapshot();
  };
  EXPECT_TRUE(image() == image());
}

TEST_F(ChainTreeTest, ManyWorkersGiveTheSameTree) {  // F-300
  ThreadPool pool("flush", 4);
  Fill(5000);
  ASSERT_TRUE(tree_->Flush(world_.tids(), pool).ok());
  const Topology many = Flush();
  Open(TableKind::kFile, {});
  for (const auto& [key, leaf] : many.leaves) ASSERT_TRUE(Put(leaf));
  const Topology one = Flush();
  EXPECT_EQ(one.leaves, many.leaves);
  ASSERT_EQ(one.tables.size(), many.tables.size());
  for (size_t i = 0; i < one.tables.size(); ++i) {
    EXPECT_EQ(one.tables[i].bref.key, many.tables[i].bref.key);
    EXPECT_EQ(one.tables[i].bref.keybits, many.tables[i].bref.keybits);
  }
}

}  // namespace
}  // namespace h2bd
