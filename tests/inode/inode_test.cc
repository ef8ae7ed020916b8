#include "core/inode/inode.h"

#include <gtest/gtest.h>

#include "tests/chain/chain_world.h"
#include "tests/chain/topology_walk.h"

namespace h2bd {
namespace {

InodeData FileData(uint64_t inum, uint8_t op_flags = 0) {
  InodeData data;
  data.meta.type = ObjectType::kRegfile;
  data.meta.inum = Inum(inum);
  data.meta.name_key = Key(inum);
  data.meta.op_flags = op_flags;
  data.meta.nlinks = 1;
  data.meta.comp_algo = 2;
  data.meta.check_algo = 3;
  data.set_name(InodeFilename(Inum(inum)));
  return data;
}

Blockref InodeBref(uint64_t inum, uint8_t methods = kMethods) {
  Blockref bref;
  bref.type = BrefType::kInode;
  bref.key = Key(inum);
  bref.methods = methods;
  return bref;
}

class InodeTest : public ::testing::Test {
 protected:
  std::shared_ptr<Inode> Create(const InodeData& data, const Blockref& bref) {
    return Inode::Create(data, bref, world_.store(), world_.cache());
  }
  Inode::Flushed Flush(Inode& inode) {
    absl::StatusOr<Inode::Flushed> flushed = inode.Flush(world_.tids(), executor_);
    EXPECT_TRUE(flushed.ok()) << flushed.status();
    return flushed.ok() ? *flushed : Inode::Flushed{};
  }
  absl::StatusOr<std::shared_ptr<Inode>> Load(const Blockref& bref, bool indexed = true) {
    return Inode::Load(bref, indexed, world_.store(), world_.cache());
  }
  InodeData OnMedia(const Blockref& bref) {
    const absl::StatusOr<AlignedBuffer> block = world_.store().Load(bref);
    EXPECT_TRUE(block.ok()) << block.status();
    return LoadAs<InodeData>(block->span());
  }
  // An inode block as somebody else wrote it.
  Blockref Stored(const InodeData& data, Blockref bref) {
    AlignedBuffer block(kInodeBytes);
    StoreAs(block.span(), data);
    EXPECT_TRUE(world_.store().Store(bref, std::move(block), world_.tids()).ok());
    return bref;
  }

  ChainWorld world_;
  InlineExecutor executor_;
};

TEST_F(InodeTest, ANewInodeReachesMediaWithItsTree) {
  auto inode = Create(FileData(0x400), InodeBref(0x400));
  EXPECT_TRUE(inode->modified());
  for (uint64_t b = 0; b < 52; ++b) ASSERT_TRUE(inode->tree().Put(world_.Data(b)).ok());
  const Inode::Flushed flushed = Flush(*inode);
  EXPECT_TRUE(flushed.changed);
  EXPECT_FALSE(inode->modified());
  EXPECT_EQ(inode->bref(), flushed.bref);
  EXPECT_EQ(flushed.bref.data_count(), 3424256u) << "spec 03 section 16";
  EXPECT_EQ(flushed.bref.leaf_count, 52);
  EXPECT_EQ(flushed.bref.inode_count(), 0u);
  EXPECT_EQ(flushed.bref.methods, 0x32);
  EXPECT_EQ(flushed.bref.mirror_tid, world_.tids().mirror_tid);
  EXPECT_EQ(flushed.bref.modify_tid, world_.tids().modify_tid);
  ASSERT_TRUE(world_.Drain().ok());

  inode.reset();
  world_.Remount();
  const auto loaded = Load(flushed.bref);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ((*loaded)->meta(), FileData(0x400).meta);
  EXPECT_EQ((*loaded)->filename(), "0x0000000000000400");
  EXPECT_FALSE((*loaded)->modified());
  EXPECT_FALSE((*loaded)->direct_data().has_value());
  EXPECT_TRUE((*(*loaded)->tree().Find(Key(51 << 16))).has_value());
}

TEST_F(InodeTest, WithoutAChangeNothingIsWritten) {
  auto inode = Create(FileData(0x400), InodeBref(0x400));
  const Blockref first = Flush(*inode).bref;
  const auto before = world_.allocator().allocations();
  inode->set_meta(inode->meta());
  inode->set_filename(inode->filename());
  inode->ClearDirectData();
  const Inode::Flushed again = Flush(*inode);
  EXPECT_FALSE(again.changed);
  EXPECT_EQ(again.bref, first);
  EXPECT_EQ(world_.allocator().allocations(), before);
}

TEST_F(InodeTest, KeepsWhatItDoesNotKnow) {
  InodeData data = FileData(0x400);
  data.meta.reservedD8 = 0x1122334455667788;
  data.meta.reservedE8 = {1, 2, 3};
  data.meta.uflags = 0x80000000;
  data.meta.unusedC8 = 9;
  data.filename[200] = 'z';
  Blockref bref = InodeBref(0x400);
  bref.copyid = 0xff;
  bref.vradix = 10;
  bref.update_tid = Tid(3);
  auto loaded = Load(Stored(data, bref));
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  InodeMeta meta = (*loaded)->meta();
  meta.size = 65536;
  (*loaded)->set_meta(meta);
  const Blockref flushed = Flush(**loaded).bref;
  EXPECT_EQ(flushed.copyid, 0xff);
  EXPECT_EQ(flushed.vradix, 10);
  EXPECT_EQ(flushed.update_tid, Tid(3));
  data.meta.size = 65536;
  const InodeData found = OnMedia(flushed);
  EXPECT_EQ(std::memcmp(&found, &data, sizeof data), 0);
}

TEST_F(InodeTest, MetadataAlwaysGetsARealCheck) {  // spec 01 section 4.3, F-147
  for (const auto& [before, after] : std::vector<std::pair<uint8_t, uint8_t>>{
           {0x02, 0x32}, {0x11, 0x31}, {0x22, 0x22}, {0x40, 0x40}}) {
    auto inode = Create(FileData(0x400), InodeBref(0x400, before));
    EXPECT_EQ(Flush(*inode).bref.methods, after);
  }
}

TEST_F(InodeTest, DirectDataBecomesBlocks) {  // spec 03 section 7.4
  InodeData data = FileData(0x400, kOpFlagDirectdata);
  data.meta.size = 3;
  data.u[0] = std::byte{'a'};
  data.u[2] = std::byte{'c'};
  auto inode = Create(data, InodeBref(0x400));
  const Blockref small = Flush(*inode).bref;
  EXPECT_EQ(small.data_count(), 0u);
  EXPECT_EQ(small.leaf_count, 0);
  auto loaded = Load(small);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  ASSERT_TRUE((*loaded)->direct_data().has_value());
  EXPECT_EQ(*(*loaded)->direct_data(), data.u);
  EXPECT_EQ(*(*loaded)->tree().Find(Key(0)), std::nullopt);

  (*loaded)->ClearDirectData();
  EXPECT_FALSE((*loaded)->direct_data().has_value());
  const Blockref block = world_.Data(0, 10);
  ASSERT_TRUE((*loaded)->tree().Put(block).ok());
  const Blockref large = Flush(**loaded).bref;
  const InodeData found = OnMedia(large);
  EXPECT_FALSE(found.meta.directdata());
  EXPECT_EQ(found.blockset(0), block);
  EXPECT_TRUE(IsAllZero(ConstByteSpan(found.u).subspan(128)));
  EXPECT_EQ(large.data_count(), 1024u);
}

TEST_F(InodeTest, TheTableThatNamesItReportsTheOldBlock) {
  auto inode = Create(FileData(0x400), InodeBref(0x400));
  ChainTree index(TableKind::kPfsRoot, {}, kMethods, world_.store(), world_.cache());
  const Blockref first = Flush(*inode).bref;
  ASSERT_TRUE(index.Put(first).ok());
  inode->Named();
  inode->set_filename("other");
  const Blockref second = Flush(*inode).bref;
  EXPECT_TRUE(world_.allocator().dropped().empty());
  inode->Named();
  EXPECT_TRUE(world_.allocator().dropped().empty());
  ASSERT_TRUE(index.Put(second).ok());
  index.DeliverDrops();
  EXPECT_EQ(world_.allocator().dropped().count(first.data_off), 1u);
}

// Spec 02 section 13.4: a block is dropped once and by nobody too early, whatever a cycle failed
// at.
TEST_F(InodeTest, ABlockThatNoTableGotIsDroppedByTheInode) {
  auto inode = Create(FileData(0x400), InodeBref(0x400));
  const Blockref first = Flush(*inode).bref;
  inode->Named();
  const Blockref data = world_.Data(0), newer = world_.Data(0);
  ASSERT_TRUE(inode->tree().Put(data).ok());
  const Blockref second = Flush(*inode).bref;  // and no table got it
  EXPECT_TRUE(inode->AheadOfIndex());
  ASSERT_TRUE(inode->tree().Put(newer).ok());
  const Blockref third = Flush(*inode).bref;
  EXPECT_TRUE(world_.allocator().dropped().empty()) << "the index still leads to the first one";
  inode->Named();
  EXPECT_FALSE(inode->AheadOfIndex());
  EXPECT_EQ(world_.allocator().dropped(),
            (std::map<DataOff, BrefType>{{second.data_off, BrefType::kInode},
                                         {data.data_off, BrefType::kData}}));
  EXPECT_TRUE(world_.allocator().live().contains(first.data_off)) << "the index drops it";
  EXPECT_TRUE(world_.allocator().live().contains(third.data_off));
}

TEST_F(InodeTest, ARemovedInodeGivesAwayWhatItHasOnce) {
  auto inode = Create(FileData(0x400), InodeBref(0x400));
  const Blockref data = world_.Data(0), newer = world_.Data(0);
  ASSERT_TRUE(inode->tree().Put(data).ok());
  const Blockref first = Flush(*inode).bref;
  inode->Named();
  ASSERT_TRUE(inode->tree().Put(newer).ok());
  const Blockref second = Flush(*inode).bref;  // and no table got it
  DropList drops = inode->DropAll();
  EXPECT_EQ(inode->DropAll().size(), 0u);
  EXPECT_EQ(*inode->tree().Find(Key(0)), newer) << "who reads it still finds it";
  EXPECT_TRUE(world_.allocator().dropped().empty());
  drops.DeliverTo(world_.allocator());
  EXPECT_EQ(world_.allocator().live(),
            (std::map<DataOff, BrefType>{{first.data_off, BrefType::kInode}}))
      << "what the index named, the index drops; second was " << second.data_off.raw;
}

TEST_F(InodeTest, WhatIsExactTheHorizonOfThePfsSays) {  // spec 02 section 13.4, spec 03 R12
  InodeData root_data = FileData(1);
  root_data.meta.op_flags = kOpFlagPfsroot;
  root_data.meta.pfs_lsnap_tid = Tid(50);
  const auto root = Create(root_data, InodeBref(1));
  ASSERT_NE(root->horizon(), nullptr);
  EXPECT_EQ(root->horizon()->upto(), Tid(50));
  EXPECT_EQ(Create(FileData(0x400), InodeBref(0x400))->horizon(), nullptr) << "all may be shared";
  const auto inode = Inode::Create(FileData(0x400), InodeBref(0x400), world_.store(),
                                   world_.cache(), root->horizon());
  std::vector<bool> exact;
  for (const uint64_t modify_tid : {50, 51}) {
    Blockref block = world_.Data(0);
    block.modify_tid = Tid(modify_tid);
    ASSERT_TRUE(inode->tree().Put(block).ok());
    ASSERT_TRUE(*inode->tree().Erase(Key(0)));
    if (modify_tid == 51) root->horizon()->Raise(Tid(99));  // after the edit: it changes nothing
  }
  inode->Named();
  for (const DroppedBlock& block : world_.allocator().TakeDroppedBlocks()) {
    exact.push_back(block.exact_by_horizon);
  }
  EXPECT_EQ(exact, (std::vector<bool>{false, true}));
  root->horizon()->Raise(Tid(60));
  EXPECT_EQ(root->horizon()->upto(), Tid(99)) << "it never falls";
}

TEST_F(InodeTest, ModifyTidIsAboveTheSnapshotAndTheBlocks) {  // R9, F-146
  InodeData data = FileData(0x400);
  data.meta.pfs_lsnap_tid = Tid(5000);
  auto inode = Create(data, InodeBref(0x400));
  EXPECT_EQ(Flush(*inode).bref.modify_tid, Tid(5000));
  Blockref foreign = world_.Data(0);
  foreign.modify_tid = Tid(6000);
  ASSERT_TRUE(inode->tree().Put(foreign).ok());
  EXPECT_EQ(Flush(*inode).bref.modify_tid, Tid(6000));
}

TEST_F(InodeTest, AFailedFlushKeepsEverythingForTheNext) {
  for (uint64_t n = 1;; ++n) {
    SCOPED_TRACE(n);
    auto inode = Create(FileData(0x400), InodeBref(0x400));
    const Blockref first = Flush(*inode).bref;
    std::map<Key, Blockref> model;
    for (uint64_t b = 0; b < 300; ++b) {
      const Blockref leaf = world_.Data(b, 10);
      ASSERT_TRUE(inode->tree().Put(leaf).ok());
      model[leaf.key] = leaf;
    }
    world_.allocator().FailAt(n);
    const absl::StatusOr<Inode::Flushed> failed = inode->Flush(world_.tids(), executor_);
    world_.allocator().FailAt(0);
    if (failed.ok()) {
      EXPECT_EQ(n, 5u) << "three tables and the inode";
      return;
    }
    EXPECT_TRUE(inode->modified());
    EXPECT_EQ(inode->bref(), first);
    const Blockref flushed = Flush(*inode).bref;
    EXPECT_FALSE(inode->modified());
    ASSERT_TRUE(world_.Drain().ok());
    std::vector<Blockref> blockset;
    const InodeData found = OnMedia(flushed);
    for (int i = 0; i < 4 && !found.blockset(i).empty(); ++i) blockset.push_back(found.blockset(i));
    EXPECT_EQ(WalkTopology(world_.device(), blockset, TableKind::kFile).leaves, model);
  }
}

TEST_F(InodeTest, ABlocksetCanBeTakenOver) {  // snapshots and clones
  auto source = Create(FileData(0x400), InodeBref(0x400));
  for (uint64_t b = 0; b < 300; ++b) ASSERT_TRUE(source->tree().Put(world_.Data(b, 10)).ok());
  Flush(*source);
  InodeData copy = FileData(0x401);
  copy.u = source->flushed_data().u;
  auto clone = Create(copy, InodeBref(0x401));
  const Blockref flushed = Flush(*clone).bref;
  EXPECT_EQ(flushed.data_count(), source->bref().data_count());
  EXPECT_EQ(flushed.leaf_count, 300);
  EXPECT_EQ(OnMedia(flushed).u, source->flushed_data().u);
  EXPECT_EQ(*clone->tree().Find(Key(299 << 16)), *source->tree().Find(Key(299 << 16)));
}

TEST_F(InodeTest, BadBlocksAreDataLoss) {
  const auto code = [&](const InodeData& data) {
    return Load(Stored(data, InodeBref(0x400))).status().code();
  };
  EXPECT_EQ(code(FileData(0x400)), absl::StatusCode::kOk);
  EXPECT_EQ(code(FileData(0x401)), absl::StatusCode::kDataLoss) << "another number (R16)";
  InodeData overlap = FileData(0x400);
  overlap.set_blockset(0, world_.Data(5));
  overlap.set_blockset(1, world_.Data(5));
  EXPECT_EQ(code(overlap), absl::StatusCode::kDataLoss) << "a blockset out of order (R2)";
  InodeData wrong_kind = FileData(0x400);
  wrong_kind.set_blockset(0, world_.InodeLeaf(0x500));
  EXPECT_EQ(code(wrong_kind), absl::StatusCode::kDataLoss) << "an inode in a file";

  const Blockref stored = Stored(FileData(0x400), InodeBref(0x400));
  ASSERT_TRUE(world_.Drain().ok());
  world_.Damage(stored.data_off, 0x60);
  world_.Remount();
  EXPECT_EQ(Load(stored).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace h2bd
