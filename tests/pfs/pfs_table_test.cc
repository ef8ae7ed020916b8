// The super-root.
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "core/media/dirhash.h"
#include "tests/chain/drop_audit.h"
#include "tests/pfs/pfs_world.h"

namespace h2bd {
namespace {

std::vector<std::string> Labels(const PfsTable& table) {
  std::vector<std::string> labels;
  for (const PfsInfo& info : table.List()) labels.push_back(info.label);
  return labels;
}

class CollectingLogger final : public Logger {
 public:
  void Write(LogSeverity severity, absl::string_view message,
             std::initializer_list<LogField>) override {
    if (severity == LogSeverity::kError) errors.emplace_back(message);
    if (severity == LogSeverity::kWarning) warnings.emplace_back(message);
  }
  std::vector<std::string> errors, warnings;
};

TEST(PfsTable, FindsByExactLabel) {
  PfsWorld world;
  EXPECT_EQ(Labels(world.table()), (std::vector<std::string>{"DATA", "LOCAL"}));
  EXPECT_EQ(world.pfs("DATA").key(), Key(0xc78fff92381d8000));
  EXPECT_FALSE(world.pfs("DATA").snapshot());
  const absl::Status missing = world.table().Find("data").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(std::string(missing.message()).find("DATA, LOCAL"), std::string::npos) << missing;
}

TEST(PfsTable, CreateAndRemove) {
  PfsWorld world;
  std::vector<std::string> labels = {"DATA", "LOCAL"};
  for (int i = 0; i < 40; ++i) {
    labels.push_back("pfs" + std::to_string(i));
    world.AddPfs(labels.back());
    if (i % 3 == 0) world.FlushAll();
  }
  world.FlushAll();
  std::sort(labels.begin(), labels.end());
  EXPECT_EQ(Labels(world.table()), labels);
  world.Reopen();
  EXPECT_EQ(Labels(world.table()), labels);
  for (Pfs* pfs : world.table().all()) {
    EXPECT_EQ(pfs->root().bref().flags & kBrefFlagPfsroot, kBrefFlagPfsroot) << "R17";
    EXPECT_EQ(pfs->root().meta().name_key, pfs->key());
  }
  Pfs& gone = world.pfs("pfs7");
  const DataOff block = gone.root().bref().data_off;
  ASSERT_TRUE(world.table().Remove(gone.key()).ok());
  ASSERT_TRUE(world.table().Remove(gone.key()).ok()) << "again";
  EXPECT_EQ(gone.label(), "pfs7") << "who holds it keeps it";
  EXPECT_FALSE(world.chains().allocator().dropped().contains(block)) << "the header names it";
  world.FlushAll();
  EXPECT_TRUE(world.chains().allocator().dropped().contains(block));
  world.Reopen();
  EXPECT_EQ(Labels(world.table()).size(), labels.size() - 1);
  EXPECT_FALSE(world.table().Find("pfs7").ok());
  world.AddPfs("pfs7");
}

// Spec 03 section 11.5, spec 02 section 13.4: with the root go the index, the names and all inodes,
// those that nobody has read and those that memory has in a newer state than the media.
TEST(PfsTable, WithAPfsGoesAllThatOnlyItNames) {
  PfsWorld world;
  BumpAllocator& allocator = world.chains().allocator();
  world.AddPfs("gone");
  for (const char* label : {"gone", "DATA"}) {
    for (int i = 0; i < 30; ++i) {
      world.AddFile(world.pfs(label), absl::StrCat(i, std::string(70, 'n')), i == 3 ? 600 : 2);
    }
  }
  world.FlushAll();
  world.Reopen();
  Pfs& gone = world.pfs("gone");
  auto ahead = gone.GetInode(Inum(kInodeStart + 3));
  ASSERT_TRUE(ahead.ok()) << ahead.status();
  ASSERT_TRUE((*ahead)->tree().Put(world.chains().Data(5, 10)).ok());
  ASSERT_TRUE((*ahead)->Flush(world.chains().tids(), world.executor()).ok());
  ASSERT_TRUE(world.table().Remove(gone.key()).ok());
  world.FlushAll();
  DropList below;
  for (const DroppedTree& tree : allocator.TakeDroppedTrees()) {
    BlockWalk walk(world.chains().device(), world.chains().total_size());
    walk.Add(tree.root, tree.kind);
    for (const auto& [data_off, type] : walk.found()) {
      Blockref block;
      block.type = type;
      block.data_off = data_off;
      if (data_off != tree.root.data_off) below.Block(block, tree.horizon);
    }
  }
  EXPECT_GT(below.size(), 100u);
  below.DeliverTo(allocator);
  BlockWalk reachable(world.chains().device(), world.chains().total_size());
  reachable.AddHeader(world.header());
  EXPECT_EQ(allocator.live(), reachable.found());
}

TEST(PfsTable, KeysAreThoseOfTheReference) {
  PfsWorld world;
  EXPECT_EQ(*world.table().FreeKey("snap1"), Key(0x9ea9b595ab3c8001)) << "hash + 1";
  EXPECT_EQ(world.table().FreeKey("DATA").status().code(), absl::StatusCode::kAlreadyExists);
  world.AddPfs("new");
  EXPECT_EQ(world.table().FreeKey("new").status().code(), absl::StatusCode::kAlreadyExists)
      << "before it is flushed";
  // Equal hashes, neither flushed yet.
  const Key first = world.AddPfs("a.c.b.h.f.e.d.g").key(),
            second = world.AddPfs("c.b.f.h.e.a.g.d").key();
  EXPECT_EQ(first, Key(0xe596b8c5c9588001));
  EXPECT_NE(second, first);
  EXPECT_EQ(second.v | kDirhashLoMask, first.v | kDirhashLoMask) << "in the same bucket";
}

TEST(PfsTable, PutsThePfsrootFlagWhereItIsMissing) {  // R17
  PfsWorld world;
  world.AddFile(world.pfs("DATA"), "a");
  auto flushed = world.pfs("DATA").Flush(world.chains().tids(), world.executor());
  ASSERT_TRUE(flushed.ok());
  flushed->bref.flags = 0;
  const auto sroot =
      world.table().FlushSuperRoot(world.chains().tids(), {flushed->bref}, world.executor());
  ASSERT_TRUE(sroot.ok());
  world.header().sroot_blockset = *sroot;
  ASSERT_TRUE(world.chains().Drain().ok());
  world.Reopen();
  EXPECT_EQ(world.pfs("DATA").root().bref().flags, kBrefFlagPfsroot);
}

// A cycle looks at the dirty ones only, so this list must name each PFS that the next header lacks
// something of, and may not grow with the number of PFSs (F-114).
TEST(PfsTable, APfsIsDirtyUntilAHeaderHasItsRoot) {
  PfsWorld world({"LOCAL", "DATA", "OTHER"});
  const auto dirty = [&] {
    std::vector<std::string> labels;
    for (Pfs* pfs : world.table().dirty()) labels.push_back(pfs->label());
    return labels;
  };
  world.FlushAll();
  world.table().ForgetClean();
  EXPECT_TRUE(dirty().empty());
  world.AddFile(world.pfs("DATA"), "a");
  Pfs& added = world.AddPfs("NEW");
  EXPECT_EQ(dirty().size(), 2u);
  world.table().ForgetClean();
  EXPECT_EQ(dirty().size(), 2u) << "no header has it";
  ASSERT_TRUE(world.pfs("DATA").Flush(world.chains().tids(), world.executor()).ok());
  ASSERT_FALSE(world.pfs("DATA").root().modified());
  world.table().ForgetClean();
  EXPECT_EQ(dirty().size(), 2u) << "a cycle failed between the root and the super-root";
  EXPECT_TRUE(world.table()
                  .FlushSuperRoot(world.chains().tids(), {world.pfs("DATA").root().bref()},
                                  world.executor())
                  .ok());
  world.table().ForgetClean();
  EXPECT_EQ(dirty(), (std::vector<std::string>{"NEW"}));
  ASSERT_TRUE(world.table().Remove(added.key()).ok());
  EXPECT_TRUE(dirty().empty()) << "it is gone";
}

TEST(PfsTable, InodesThatNobodyHoldsAreKeptWithinBoundsInEachPfs) {
  PfsWorld world;
  std::vector<std::weak_ptr<Inode>> files;
  for (size_t i = 0; i < Pfs::kInodesKept + 10; ++i) {
    files.push_back(world.AddFile(world.pfs("DATA"), absl::StrCat(i)));
  }
  const auto in_memory = [&] {
    return static_cast<size_t>(std::count_if(files.begin(), files.end(),
                                             [](const auto& file) { return !file.expired(); }));
  };
  EXPECT_EQ(in_memory(), files.size());
  world.table().TrimInodes();
  EXPECT_EQ(in_memory(), Pfs::kInodesKept);
}

TEST(PfsTable, TheSuperRootIsCopiedOnWriteAndReported) {
  PfsWorld world;
  const Blockref before = world.header().sroot_blockset[0];
  world.AddFile(world.pfs("DATA"), "a");
  world.FlushAll();
  const auto& after = world.header().sroot_blockset;
  EXPECT_NE(after[0].data_off, before.data_off);
  EXPECT_EQ(after[0].type, BrefType::kInode);
  for (int i = 1; i < 4; ++i) EXPECT_EQ(after[static_cast<size_t>(i)], Blockref{});
  EXPECT_TRUE(world.chains().allocator().dropped().contains(before.data_off));
  EXPECT_EQ(after[0].inode_count(), 3u) << "two roots and a file";
}

TEST(PfsTable, TheHighestTidIsSeenWhereverItIs) {  // F-130
  PfsWorld world;
  world.AddFile(world.pfs("DATA"), "a");
  world.FlushAll();
  const Tid written(world.chains().tids().modify_tid.v - 1);
  EXPECT_EQ(world.table().HighestModifyTid(), written);
  InodeMeta meta = world.pfs("LOCAL").root().meta();
  meta.pfs_lsnap_tid = Tid(written.v + 1000);
  world.pfs("LOCAL").root().set_meta(meta);
  EXPECT_EQ(world.table().HighestModifyTid(), meta.pfs_lsnap_tid);
  world.FlushAll();
  EXPECT_GE(world.pfs("LOCAL").root().bref().modify_tid, meta.pfs_lsnap_tid) << "R9";
}

TEST(PfsTable, ADamagedRootIsLeftOutAndKeepsItsPlace) {
  PfsWorld world({"LOCAL", "DATA", "THIRD"});
  const Blockref third = world.pfs("THIRD").root().bref();
  world.chains().Damage(third.data_off, 100);
  world.Reopen();
  EXPECT_EQ(Labels(world.table()), (std::vector<std::string>{"DATA", "LOCAL"}));
  EXPECT_EQ(world.table().FreeKey("THIRD").status().code(), absl::StatusCode::kDataLoss);
  world.AddFile(world.pfs("DATA"), "a");
  world.FlushAll();
  world.chains().Damage(third.data_off, 100);  // repaired
  world.Reopen();
  EXPECT_EQ(Labels(world.table()), (std::vector<std::string>{"DATA", "LOCAL", "THIRD"}));
}

TEST(PfsTable, OpenReportsWhatIsWrong) {
  PfsWorld world;
  InodeMeta meta = world.pfs("LOCAL").root().meta();
  meta.pfs_clid = world.pfs("DATA").root().meta().pfs_clid;
  world.pfs("LOCAL").root().set_meta(meta);
  Pfs& bad = world.AddPfs("BAD");
  world.FlushAll();
  world.chains().Damage(bad.root().bref().data_off, 7);
  CollectingLogger logger;
  world.Reopen(logger);
  EXPECT_EQ(logger.errors.size(), 1u) << "the damaged root";
  EXPECT_EQ(logger.warnings.size(), 1u) << "one clid for two (R11)";
}

TEST(PfsTable, ACounterThatWouldRunIntoTheNamesIsRefused) {
  PfsWorld world;
  Pfs& pfs = world.AddPfs("BIG");
  world.FlushAll();
  InodeMeta meta = pfs.root().meta();
  meta.pfs_inum = uint64_t{1} << 62;
  pfs.root().set_meta(meta);
  const auto flushed = pfs.root().Flush(world.chains().tids(), world.executor());
  ASSERT_TRUE(flushed.ok());
  const auto sroot =
      world.table().FlushSuperRoot(world.chains().tids(), {flushed->bref}, world.executor());
  ASSERT_TRUE(sroot.ok() && world.chains().Drain().ok());
  world.header().sroot_blockset = *sroot;
  world.Reopen();
  EXPECT_EQ(Labels(world.table()), (std::vector<std::string>{"DATA", "LOCAL"}));
}

TEST(PfsTable, ADamagedSuperRootIsDataLoss) {
  PfsWorld world;
  const auto code = [&] {
    return PfsTable::Open(world.header(), world.chains().store(), world.chains().cache(),
                          NullLogger())
        .status()
        .code();
  };
  const auto good = world.header().sroot_blockset;
  EXPECT_EQ(code(), absl::StatusCode::kOk);
  world.header().sroot_blockset = {};
  EXPECT_EQ(code(), absl::StatusCode::kDataLoss) << "none";
  world.header().sroot_blockset = good;
  world.header().sroot_blockset[1] = good[0];
  EXPECT_EQ(code(), absl::StatusCode::kDataLoss) << "two";
  world.header().sroot_blockset = good;
  world.header().sroot_blockset[0].check[3] ^= std::byte{1};
  EXPECT_EQ(code(), absl::StatusCode::kDataLoss) << "another check code";
}

TEST(PfsTable, AFailedFlushIsRepeated) {
  for (uint64_t n = 1;; ++n) {
    SCOPED_TRACE(n);
    PfsWorld world({"LOCAL", "DATA", "a", "b", "c", "d"});
    std::vector<Blockref> changed;
    for (Pfs* pfs : world.table().all()) {
      pfs->NewInum();
      changed.push_back(pfs->Flush(world.chains().tids(), world.executor())->bref);
    }
    world.chains().allocator().FailAt(n);
    const auto failed =
        world.table().FlushSuperRoot(world.chains().tids(), changed, world.executor());
    world.chains().allocator().FailAt(0);
    if (failed.ok()) {
      EXPECT_GT(n, 1u);
      return;
    }
    world.FlushAll();
    world.Reopen();
    for (Pfs* pfs : world.table().all()) EXPECT_EQ(pfs->root().meta().pfs_inum, 1025u);
    EXPECT_EQ(world.table().all().size(), 6u);
  }
}

}  // namespace
}  // namespace h2bd
