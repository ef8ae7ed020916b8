#include "core/pfs/pfs.h"

#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "tests/chain/topology_walk.h"
#include "tests/pfs/pfs_world.h"

namespace h2bd {
namespace {

TEST(Pfs, InodeNumbersStartAt1024AndAreNeverReused) {  // F-027, F-028, R10
  PfsWorld world;
  EXPECT_EQ(world.pfs("DATA").NewInum(), Inum(1024));
  EXPECT_EQ(world.pfs("DATA").NewInum(), Inum(1025));
  EXPECT_EQ(world.pfs("LOCAL").NewInum(), Inum(1024)) << "each PFS has its own";
  world.FlushAll();
  EXPECT_EQ(world.pfs("DATA").root().meta().pfs_inum, 1026u) << "the next number to issue";
  world.Reopen();
  EXPECT_EQ(world.pfs("DATA").NewInum(), Inum(1027)) << "the reference leaves one out, too";
}

TEST(Pfs, WithoutAChangeNothingIsWritten) {
  PfsWorld world;
  const auto before = world.chains().allocator().allocations();
  const auto header = world.header().sroot_blockset;
  world.FlushAll();
  EXPECT_EQ(world.chains().allocator().allocations(), before) << "opening dirties no counter";
  EXPECT_EQ(world.header().sroot_blockset, header);
}

TEST(Pfs, FilesSurvive) {
  PfsWorld world;
  for (int i = 0; i < 200; ++i) {
    world.AddFile(world.pfs("DATA"), "file" + std::to_string(i), static_cast<uint64_t>(i % 7));
  }
  world.FlushAll();
  EXPECT_EQ(world.pfs("DATA").root().bref().inode_count(), 200u);
  world.Reopen();
  Pfs& pfs = world.pfs("DATA");
  for (int i = 0; i < 200; ++i) {
    const auto name = FindDirent(pfs.root(), world.chains().store(), "file" + std::to_string(i));
    ASSERT_TRUE(name.ok() && name->has_value()) << i;
    const auto inode = pfs.GetInode((*name)->inum);
    ASSERT_TRUE(inode.ok()) << inode.status();
    EXPECT_EQ((*inode)->meta().size, static_cast<uint64_t>(i % 7) * kLogicalBytes);
  }
  const InodeData root = pfs.root().flushed_data();
  std::vector<Blockref> blockset;
  for (int i = 0; i < 4 && !root.blockset(i).empty(); ++i) blockset.push_back(root.blockset(i));
  EXPECT_EQ(WalkTopology(world.chains().device(), blockset, TableKind::kPfsRoot).leaves.size(),
            400u);
}

TEST(Pfs, OneObjectPerInode) {
  PfsWorld world;
  auto file = world.AddFile(world.pfs("DATA"), "a");
  const Inum inum = file->meta().inum;
  EXPECT_EQ(*world.pfs("DATA").GetInode(inum), file) << "before it is on media";
  EXPECT_EQ(*world.pfs("DATA").GetInode(kInumPfsRoot), world.pfs("DATA").shared_root());
  file.reset();
  world.FlushAll();
  world.Reopen();
  EXPECT_EQ(*world.pfs("DATA").GetInode(inum), *world.pfs("DATA").GetInode(inum));
}

TEST(Pfs, MissingInodes) {
  PfsWorld world;
  world.AddFile(world.pfs("DATA"), "a");
  for (uint64_t inum : {uint64_t{0}, uint64_t{2}, uint64_t{4711}, uint64_t{1} << 63, UINT64_MAX}) {
    EXPECT_EQ(world.pfs("DATA").GetInode(Inum(inum)).status().code(), absl::StatusCode::kNotFound)
        << inum;
  }
}

TEST(Pfs, AnInodeUnderAWrongNumberIsDataLoss) {  // R16, spec 03 section 7.3
  PfsWorld world;
  auto file = world.AddFile(world.pfs("DATA"), "a");
  Blockref wrong = file->bref();
  wrong.key = Key(5000);
  ASSERT_TRUE(world.pfs("DATA").PutIndex(wrong).ok());
  EXPECT_EQ(world.pfs("DATA").GetInode(Inum(5000)).status().code(), absl::StatusCode::kDataLoss);
}

// F-219: what is dropped while an inode or a name is read from the device is not used again before.
TEST(Pfs, WhoReadsAnInodeOrANameIsAReader) {
  PfsWorld world;
  const std::string name(100, 'n');
  // With so much between them the roots lie in other device buffers.
  const Inum inum = world.AddFile(world.pfs("DATA"), name, 100)->meta().inum;
  world.AddFile(world.pfs("DATA"), "filler", 300);
  world.FlushAll();
  const auto expect_scope = [&](const std::function<absl::Status(Pfs&)>& read) {
    world.Reopen();
    Pfs& pfs = world.pfs("DATA");
    ReaderEpochs& epochs = world.chains().store().readers();
    bool seen = false;
    world.chains().DuringNextRead([&] {
      seen = true;
      const uint64_t stamp = epochs.now();
      for (int i = 0; i < 10; ++i) epochs.TryAdvance();
      EXPECT_FALSE(epochs.Over(stamp));
    });
    EXPECT_EQ(read(pfs), absl::OkStatus());
    EXPECT_TRUE(seen);
  };
  expect_scope([&](Pfs& pfs) { return pfs.GetInode(inum).status(); });
  expect_scope(
      [&](Pfs& pfs) { return FindDirent(pfs.root(), world.chains().store(), name).status(); });
  expect_scope([&](Pfs& pfs) {
    return ListDirents(pfs.root(), world.chains().store(), Key(0), 10).status();
  });
}

TEST(Pfs, RemovedFromTheIndex) {
  PfsWorld world;
  Pfs& pfs = world.pfs("DATA");
  const Inum inum = world.AddFile(pfs, "a")->meta().inum;
  const DataOff block = pfs.GetInode(inum).value()->bref().data_off;
  ASSERT_TRUE(pfs.EraseIndex(inum).ok());
  EXPECT_FALSE(world.chains().allocator().dropped().contains(block)) << "the header names it";
  world.FlushAll();
  EXPECT_TRUE(world.chains().allocator().dropped().contains(block));
  EXPECT_TRUE(pfs.GetInode(inum).ok()) << "still in memory";
  pfs.Forget(inum);
  EXPECT_EQ(pfs.GetInode(inum).status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(pfs.EraseIndex(inum).ok()) << "a cycle may be repeated";
}

TEST(Pfs, AnInodeThatWasFlushedMeanwhileIsReadAgain) {
  PfsWorld world;
  world.chains().NewPlace(BrefType::kData, 16);  // the inode has a device buffer of its own
  const Inum inum = world.AddFile(world.pfs("DATA"), "a")->meta().inum;
  world.chains().NewPlace(BrefType::kData, 16);
  world.FlushAll();
  world.Reopen();
  Pfs& pfs = world.pfs("DATA");
  // While GetInode reads the old block somebody else changes the inode and lets go of it.
  world.chains().DuringNextRead([&] {
    const Blockref old = **pfs.root().tree().Find(Key(inum.v));
    InodeData data = NewDiskInode(inum, pfs.root().meta(), 7 * kLogicalBytes, absl::UnixEpoch());
    const auto changed = Inode::Create(data, old, world.chains().store(), world.chains().cache());
    const auto flushed = changed->Flush(world.chains().tids(), world.executor());
    ASSERT_TRUE(flushed.ok() && pfs.PutIndex(flushed->bref).ok());
  });
  EXPECT_EQ(pfs.GetInode(inum).value()->meta().size, 7 * kLogicalBytes);
}

// The window between the look-up of a name and the use of its inode: a delete and its cycle run
// while GetInode reads (I-29).
TEST(Pfs, AnInodeThatWasDeletedMeanwhileIsNotFound) {
  for (const bool table_is_read : {true, false}) {
    SCOPED_TRACE(table_is_read ? "during the read of the index" : "during the read of the inode");
    PfsWorld world;
    world.chains().NewPlace(BrefType::kData, 16);  // the inode has a device buffer of its own
    const Inum inum = world.AddFile(world.pfs("DATA"), "a")->meta().inum;
    world.chains().NewPlace(BrefType::kData, 16);
    for (int i = 0; i < 10; ++i) world.AddFile(world.pfs("DATA"), "file" + std::to_string(i));
    world.FlushAll();
    world.Reopen();
    Pfs& pfs = world.pfs("DATA");
    if (!table_is_read) {
      ASSERT_TRUE((*pfs.root().tree().Find(Key(inum.v))).has_value());
    }
    bool deleted = false;
    world.chains().DuringNextRead([&] {
      ASSERT_TRUE(pfs.EraseIndex(inum).ok());
      pfs.Forget(inum);
      deleted = true;
    });
    EXPECT_EQ(pfs.GetInode(inum).status().code(), absl::StatusCode::kNotFound);
    EXPECT_TRUE(deleted);
    EXPECT_EQ(pfs.GetInode(inum).status().code(), absl::StatusCode::kNotFound) << "it stays away";
    world.FlushAll();
    world.Reopen();
    EXPECT_EQ(world.pfs("DATA").GetInode(inum).status().code(), absl::StatusCode::kNotFound);
  }
}

TEST(Pfs, KnowsAnInodeUntilItIsForgotten) {
  PfsWorld world;
  Pfs& pfs = world.pfs("DATA");
  const Inum inum = world.AddFile(pfs, "a")->meta().inum;
  const auto inode = *pfs.GetInode(inum);
  pfs.TrimInodes(0);
  EXPECT_TRUE(pfs.Knows(inum, *inode));
  EXPECT_FALSE(pfs.Knows(inum, pfs.root()));
  ASSERT_TRUE(pfs.EraseIndex(inum).ok());
  pfs.Forget(inum);
  EXPECT_FALSE(pfs.Knows(inum, *inode));
}

TEST(Pfs, TrimKeepsWhatIsHeldOrModified) {
  PfsWorld world;
  Pfs& pfs = world.pfs("DATA");
  std::set<uint64_t> inums;
  for (int i = 0; i < 10; ++i) {
    inums.insert(world.AddFile(pfs, "file" + std::to_string(i))->meta().inum.v);
  }
  const auto held = *pfs.GetInode(Inum(*inums.begin()));
  Inode* const modified = pfs.GetInode(Inum(*inums.rbegin())).value().get();
  modified->set_filename("changed");
  pfs.TrimInodes(5);
  pfs.TrimInodes(0);
  EXPECT_EQ(*pfs.GetInode(Inum(*inums.begin())), held);
  EXPECT_EQ(pfs.GetInode(Inum(*inums.rbegin()))->get(), modified);
  EXPECT_EQ(pfs.GetInode(Inum(*inums.rbegin())).value()->filename(), "changed");
  for (uint64_t inum : inums) EXPECT_TRUE(pfs.GetInode(Inum(inum)).ok()) << "loaded again";
}

TEST(Pfs, AFailedFlushIsRepeated) {
  for (uint64_t n = 1;; ++n) {
    SCOPED_TRACE(n);
    PfsWorld world;
    Pfs& pfs = world.pfs("DATA");
    for (int i = 0; i < 100; ++i) world.AddFile(pfs, "file" + std::to_string(i));
    world.chains().allocator().FailAt(n);
    const auto failed = pfs.Flush(world.chains().tids(), world.executor());
    world.chains().allocator().FailAt(0);
    if (failed.ok()) {
      EXPECT_GT(n, 4u);
      return;
    }
    world.FlushAll();
    world.Reopen();
    const auto names = ListDirents(world.pfs("DATA").root(), world.chains().store(), Key(0), 1000);
    ASSERT_TRUE(names.ok());
    EXPECT_EQ(names->size(), 100u);
    EXPECT_EQ(world.pfs("DATA").NewInum(), Inum(1024 + 100 + 1));
  }
}

TEST(Pfs, NewDiskInode) {  // spec 03 section 7.2
  InodeMeta parent;
  parent.inum = kInumPfsRoot;
  parent.comp_algo = 0x93;
  parent.uid[12] = std::byte{42};
  for (const auto& [algo, real] : std::vector<std::pair<uint8_t, uint8_t>>{
           {0, 3}, {1, 3}, {2, 2}, {3, 3}, {4, 4}, {5, 3}, {9, 3}}) {
    parent.check_algo = algo;
    EXPECT_EQ(NewDiskInode(Inum(0x400), parent, 0, absl::UnixEpoch()).meta.check_algo, real);
  }
  const InodeData inode =
      NewDiskInode(Inum(0x400), parent, 10 * kGiB, absl::FromUnixMicros(1234567));
  EXPECT_EQ(inode.meta.type, ObjectType::kRegfile);
  EXPECT_EQ(inode.meta.op_flags, 0) << "never DIRECTDATA";
  EXPECT_EQ(inode.meta.comp_algo, 0x93) << "with the level";
  EXPECT_EQ(inode.meta.iparent, kInumPfsRoot);
  EXPECT_EQ(inode.meta.name_key, Key(0x400));
  EXPECT_EQ(inode.meta.nlinks, 1u);
  EXPECT_EQ(inode.meta.size, 10 * kGiB);
  EXPECT_EQ(inode.meta.mtime, 1234567u);
  EXPECT_EQ(inode.meta.uid, parent.uid);
  EXPECT_EQ(inode.name(), "0x0000000000000400");
  EXPECT_TRUE(IsAllZero(inode.u));
}

TEST(Pfs, NewPfsRootInode) {  // spec 03 section 11.4
  SeededRandom random(1);
  const InodeData one = NewPfsRootInode("one", Key(0x8000000000008001), absl::UnixEpoch(), random);
  const InodeData boot =
      NewPfsRootInode("Boot", Key(0x8000000000008002), absl::UnixEpoch(), random);
  EXPECT_EQ(one.meta.type, ObjectType::kDirectory);
  EXPECT_EQ(one.meta.op_flags, kOpFlagPfsroot);
  EXPECT_EQ(one.meta.inum, kInumPfsRoot);
  EXPECT_EQ(one.meta.mode, 0755u);
  EXPECT_EQ(one.meta.pfs_type, kPfsTypeMaster);
  EXPECT_EQ(one.meta.pfs_subtype, 0);
  EXPECT_EQ(one.meta.pfs_nmasters, 0);
  EXPECT_EQ(one.meta.name_key, Key(0x8000000000008001));
  EXPECT_EQ(one.name(), "one");
  EXPECT_EQ(one.meta.comp_algo, 2);
  EXPECT_EQ(boot.meta.comp_algo, 1);
  EXPECT_EQ(one.meta.check_algo, 3);
  const std::set<Uuid> uuids = {one.meta.pfs_clid, one.meta.pfs_fsid, boot.meta.pfs_clid,
                                boot.meta.pfs_fsid};
  EXPECT_EQ(uuids.size(), 4u) << "R11";
}

}  // namespace
}  // namespace h2bd
