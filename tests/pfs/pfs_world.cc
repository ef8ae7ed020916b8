#include "tests/pfs/pfs_world.h"

#include <gtest/gtest.h>

#include "core/media/dirhash.h"

namespace h2bd {
namespace {

InodeData SuperRoot() {
  InodeData data;
  data.meta.type = ObjectType::kDirectory;
  data.meta.mode = 0700;
  data.meta.nlinks = 2;
  data.meta.comp_algo = 1;
  data.meta.check_algo = 3;
  data.meta.pfs_type = kPfsTypeSuproot;
  data.set_name("SUPROOT");
  return data;
}

Blockref RootBref(Key key) {
  Blockref bref;
  bref.type = BrefType::kInode;
  bref.key = key;
  bref.methods = 0x31;
  bref.flags = key == Key(0) ? 0 : kBrefFlagPfsroot;
  return bref;
}

}  // namespace

PfsWorld::PfsWorld(const std::vector<std::string>& labels) : header_(new VolumeData) {
  auto super_root = Inode::Create(SuperRoot(), RootBref(Key(0)), chains_.store(), chains_.cache());
  for (const std::string& label : labels) {
    const Key key = Dirhash(label);
    auto root = Inode::Create(NewPfsRootInode(label, key, absl::FromUnixSeconds(1), random_),
                              RootBref(key), chains_.store(), chains_.cache());
    const auto flushed = root->Flush(chains_.tids(), executor_);
    EXPECT_TRUE(flushed.ok() && super_root->tree().Put(flushed->bref).ok());
  }
  const auto flushed = super_root->Flush(chains_.tids(), executor_);
  EXPECT_TRUE(flushed.ok()) << flushed.status();
  header_->sroot_blockset[0] = flushed->bref;
  EXPECT_TRUE(chains_.Drain().ok());
  super_root.reset();
  Reopen();
}

Pfs& PfsWorld::pfs(absl::string_view label) {
  const absl::StatusOr<Pfs*> found = table_->Find(label);
  H2_ASSERT(found.ok());
  return **found;
}

Pfs& PfsWorld::AddPfs(const std::string& label) {
  const absl::StatusOr<Key> key = table_->FreeKey(label);
  H2_ASSERT(key.ok());
  return table_->Add(Inode::Create(NewPfsRootInode(label, *key, absl::FromUnixSeconds(2), random_),
                                   RootBref(*key), chains_.store(), chains_.cache()));
}

std::shared_ptr<Inode> PfsWorld::AddFile(Pfs& pfs, absl::string_view name, uint64_t blocks) {
  const Inum inum = pfs.NewInum();
  Blockref bref;
  bref.type = BrefType::kInode;
  bref.key = Key(inum.v);
  bref.methods = 0x32;
  auto inode = Inode::Create(
      NewDiskInode(inum, pfs.root().meta(), blocks * kLogicalBytes, absl::FromUnixSeconds(3)), bref,
      chains_.store(), chains_.cache());
  pfs.Adopt(inum, inode);
  for (uint64_t b = 0; b < blocks; ++b) {
    EXPECT_TRUE(inode->tree().Put(chains_.Data(b, 10)).ok());
  }
  const auto flushed = inode->Flush(chains_.tids(), executor_);
  EXPECT_TRUE(flushed.ok() && pfs.PutIndex(flushed->bref).ok());
  inode->Named();
  EXPECT_TRUE(
      InsertDirent(pfs.root(), chains_.store(), name, inum, ObjectType::kRegfile, chains_.tids())
          .ok());
  return inode;
}

void PfsWorld::FlushAll() {
  std::vector<Blockref> changed;
  for (Pfs* pfs : table_->all()) {
    const absl::StatusOr<Inode::Flushed> flushed = pfs->Flush(chains_.tids(), executor_);
    ASSERT_TRUE(flushed.ok()) << flushed.status();
    if (flushed->changed) changed.push_back(flushed->bref);
  }
  const auto sroot = table_->FlushSuperRoot(chains_.tids(), changed, executor_);
  ASSERT_TRUE(sroot.ok()) << sroot.status();
  header_->sroot_blockset = *sroot;
  ASSERT_TRUE(chains_.Drain().ok());
  chains_.NextCycle();
}

void PfsWorld::Reopen(Logger& logger) {
  table_.reset();
  chains_.Remount();
  auto table = PfsTable::Open(*header_, chains_.store(), chains_.cache(), logger);
  ASSERT_TRUE(table.ok()) << table.status();
  table_ = *std::move(table);
}

}  // namespace h2bd
