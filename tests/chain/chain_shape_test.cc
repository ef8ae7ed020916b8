// Shapes that the reference makes (spec 03 section 16).
#include <gtest/gtest.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/random.h"
#include "core/media/dirhash.h"
#include "tests/chain/chain_world.h"
#include "tests/chain/topology_walk.h"
#include "tests/support/fixtures.h"

namespace h2bd {
namespace {

class ChainShape : public ::testing::Test {
 protected:
  ChainTree& Make(TableKind kind) {
    tree_ = std::make_unique<ChainTree>(kind, std::vector<Blockref>{}, kMethods, world_.store(),
                                        world_.cache());
    kind_ = kind;
    return *tree_;
  }
  void Put(const Blockref& leaf) {
    const absl::Status status = tree_->Put(leaf);
    ASSERT_TRUE(status.ok()) << status;
  }
  Topology Flush() {
    InlineExecutor executor;
    absl::Status status = tree_->Flush(world_.tids(), executor);
    EXPECT_TRUE(status.ok()) << status;
    status = world_.Drain();
    EXPECT_TRUE(status.ok()) << status;
    blockset_ = Entries(tree_->TakeBlockset());
    return WalkTopology(world_.device(), blockset_, kind_);
  }

  ChainWorld world_;
  std::unique_ptr<ChainTree> tree_;
  TableKind kind_ = TableKind::kFile;
  std::vector<Blockref> blockset_;
};

TEST_F(ChainShape, UpToFourBlocksStandInTheInode) {
  Make(TableKind::kFile);
  for (uint64_t block = 0; block < 4; ++block) Put(world_.Data(block));
  const Topology found = Flush();
  EXPECT_EQ(blockset_.size(), 4u);
  EXPECT_TRUE(found.tables.empty());
  EXPECT_EQ(tree_->stats(), (ChainStats{.data_count = 4 * 65536, .leaf_count = 4}));
}

TEST_F(ChainShape, FiftyTwoBlocks) {  // 3,388,895 incompressible bytes
  Make(TableKind::kFile);
  for (uint64_t block = 0; block < 52; ++block) Put(world_.Data(block));
  const Topology found = Flush();
  ASSERT_EQ(blockset_.size(), 1u);
  EXPECT_EQ(blockset_[0].key, Key(0));
  EXPECT_EQ(blockset_[0].keybits, 23);
  EXPECT_EQ(blockset_[0].data_off.bytes(), 16384u);
  EXPECT_EQ(blockset_[0].data_count(), 3407872u);
  EXPECT_EQ(blockset_[0].methods, 0x30);
  EXPECT_EQ(found.leaves.size(), 52u);
  EXPECT_EQ(tree_->stats(), (ChainStats{.data_count = 3424256, .leaf_count = 52}));
}

TEST_F(ChainShape, TwentyMillionBytes) {
  Make(TableKind::kFile);
  for (uint64_t block = 0; block < 305; ++block) Put(world_.Data(block));
  Put(world_.Data(305, 14));  // 11,520 bytes
  const Topology found = Flush();
  ASSERT_EQ(blockset_.size(), 3u);
  const size_t entries[] = {128, 128, 50};
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(blockset_[i].key, Key(i * 0x800000));
    EXPECT_EQ(blockset_[i].keybits, 23);
    EXPECT_EQ(found.tables[i].entries.size(), entries[i]);
  }
  EXPECT_EQ(found.leaves.rbegin()->first, Key(0x1310000));
  EXPECT_EQ(blockset_[2].data_count(), 3227648u);
}

TEST_F(ChainShape, TwelveHundredBlocksInSequence) {  // 78,643,200 bytes
  Make(TableKind::kFile);
  std::vector<Blockref> leaves;
  for (uint64_t block = 0; block < 1200; ++block) leaves.push_back(world_.Data(block));
  ASSERT_TRUE(tree_->PutAll(leaves).ok());
  const Topology found = Flush();
  ASSERT_EQ(blockset_.size(), 1u);
  EXPECT_EQ(blockset_[0].keybits, 30);
  EXPECT_EQ(blockset_[0].leaf_count, 1200);
  EXPECT_EQ(blockset_[0].data_count(), 78790656u);
  EXPECT_EQ(tree_->stats().data_count, 78807040u);
  const std::vector<Blockref>& top = found.tables[0].entries;
  ASSERT_EQ(top.size(), 57u);
  for (size_t i = 0; i < 9; ++i) {
    EXPECT_EQ(top[i].type, BrefType::kIndirect);
    EXPECT_EQ(top[i].keybits, 23);
    EXPECT_EQ(top[i].leaf_count, 128);
  }
  for (size_t i = 9; i < 57; ++i) {
    EXPECT_EQ(top[i].type, BrefType::kData);
    EXPECT_EQ(top[i].key, Key((1152 + i - 9) << 16));
  }
}

TEST_F(ChainShape, PutAllMakesTheShapeOfPut) {
  Make(TableKind::kFile);
  std::vector<Blockref> leaves;
  for (uint64_t block = 0; block < 3000; block += 1 + block % 3)
    leaves.push_back(world_.Data(block));
  for (const Blockref& leaf : leaves) Put(leaf);
  const Topology single = Flush();
  Make(TableKind::kFile);
  ASSERT_TRUE(tree_->PutAll(leaves).ok());
  const Topology many = Flush();
  ASSERT_EQ(single.tables.size(), many.tables.size());
  for (size_t i = 0; i < many.tables.size(); ++i) {
    EXPECT_EQ(single.tables[i].bref.key, many.tables[i].bref.key);
    EXPECT_EQ(single.tables[i].bref.keybits, many.tables[i].bref.keybits);
    EXPECT_EQ(single.tables[i].entries.size(), many.tables[i].entries.size());
  }
  EXPECT_EQ(single.leaves, many.leaves);
}

TEST_F(ChainShape,
       RandomBlocksOfASparseFile) {  // 300 in 64 GiB: legal, mixed, as the reference makes it
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(absl::StrCat("H2BD_SEED=", seed));
  SeededRandom random(seed);
  Make(TableKind::kFile);
  std::map<Key, Blockref> model;
  while (model.size() < 300) {
    const Blockref leaf = world_.Data(random.Next64() % (1 << 20), 10);
    if (model.emplace(leaf.key, leaf).second) Put(leaf);
  }
  const Topology found = Flush();
  EXPECT_EQ(found.leaves, model);
  ASSERT_EQ(blockset_.size(), 1u);
  EXPECT_EQ(blockset_[0].keybits, 37);
  EXPECT_FALSE(found.OfKeybits(30).empty());
  for (const WalkedTable& table : found.tables) {
    EXPECT_EQ((table.bref.keybits - 16) % 7, 0) << "levels 23, 30, 37";
  }
}

TEST_F(ChainShape, ThreeThousandFilesInThePfsRoot) {
  Make(TableKind::kPfsRoot);
  for (uint64_t i = 0; i < 3000; ++i) {
    const std::string name = absl::StrCat("file", i);
    Put(world_.DirentLeaf(Key(Dirhash(name).v + 1), Inum(0x400 + i)));
    Put(world_.InodeLeaf(0x400 + i));
  }
  const Topology found = Flush();
  EXPECT_EQ(found.leaves.size(), 6000u);
  ASSERT_EQ(blockset_.size(), 2u);
  for (size_t side : {0, 1}) {
    EXPECT_EQ(blockset_[side].key, Key(side << 63));
    EXPECT_EQ(blockset_[side].keybits, 63);
    EXPECT_EQ(blockset_[side].data_off.bytes(), 4096u);
    EXPECT_EQ(blockset_[side].leaf_count, 3000);
  }
  EXPECT_EQ(tree_->stats().inode_count, 3000u);
  // The index: full tables of 128 numbers. The reference's eight of them below 0x800 stand directly
  // in the first table, because it collapses what is between; ours keep it.
  const std::vector<Blockref>& index = found.tables[0].entries;
  EXPECT_EQ(index.back().key, Key(0x800));
  EXPECT_EQ(index.back().keybits, 11);
  const std::vector<const WalkedTable*> full = found.OfKeybits(7);
  ASSERT_EQ(full.size(), 8u + 15u);
  for (size_t i = 0; i < full.size(); ++i) {
    EXPECT_EQ(full[i]->bref.key, Key(0x400 + i * 128));
    EXPECT_EQ(full[i]->bref.leaf_count, 128);
    EXPECT_EQ(full[i]->bref.data_off.bytes(), 16384u);
  }
  // The names: hashed, so tables of a similar width.
  for (const WalkedTable& table : found.tables) {
    if (table.bref.key < Key(uint64_t{1} << 63) || table.bref.keybits == 63) continue;
    EXPECT_GE(table.bref.keybits, 57);
    EXPECT_LE(table.bref.keybits, 62);
    EXPECT_EQ(table.bref.data_off.bytes(), 16384u);
  }
}

TEST_F(ChainShape, FifthPfsInTheSuperRoot) {
  Make(TableKind::kSuperRoot);
  for (uint64_t key :
       {0xde25e1c43fe18000, 0xc78fff92381d8000, 0xd5e058048de48000, 0xe639b5274ca88001,
        0xd9b36ce135528000}) {  // LOCAL, DATA, HOME, DATA.snap1, BOOT
    Put(world_.InodeLeaf(key));
  }
  const Topology found = Flush();
  ASSERT_EQ(blockset_.size(), 2u);
  EXPECT_EQ(blockset_[0].type, BrefType::kIndirect);
  EXPECT_EQ(blockset_[0].key, Key(0xc000000000000000));
  EXPECT_EQ(blockset_[0].keybits, 61);
  EXPECT_EQ(blockset_[0].data_off.bytes(), 4096u);
  EXPECT_EQ(found.tables[0].entries.size(), 4u);
  EXPECT_EQ(blockset_[1].key, Key(0xe639b5274ca88001));
}

TEST_F(ChainShape, WholeKeySpaceOfAFile) {  // up to the last block below 2^64
  Make(TableKind::kFile);
  std::map<Key, Blockref> model;
  for (int shift = 0; shift < 48; ++shift) {
    for (uint64_t block : {uint64_t{1} << shift, (uint64_t{1} << 48) - (uint64_t{1} << shift)}) {
      const Blockref leaf = world_.Data(block, 10);
      if (model.emplace(leaf.key, leaf).second) Put(leaf);
    }
  }
  EXPECT_EQ(Flush().leaves, model);
  for (const auto& [key, leaf] : model) {
    const auto got = tree_->Find(key);
    ASSERT_TRUE(got.ok());
    EXPECT_EQ(*got, leaf);
    EXPECT_EQ(*tree_->Find(leaf.last_key()), leaf);
  }
}

}  // namespace
}  // namespace h2bd
