#include "core/inode/directory.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/media/dirhash.h"
#include "tests/chain/chain_world.h"

namespace h2bd {
namespace {

class DirectoryTest : public ::testing::Test {
 protected:
  DirectoryTest() {
    InodeData data;
    data.meta.type = ObjectType::kDirectory;
    data.meta.op_flags = kOpFlagPfsroot;
    data.meta.inum = kInumPfsRoot;
    data.set_name("DATA");
    Blockref bref;
    bref.type = BrefType::kInode;
    bref.key = Dirhash("DATA");
    bref.methods = 0x30;
    dir_ = Inode::Create(data, bref, world_.store(), world_.cache());
  }
  absl::Status Insert(absl::string_view name, uint64_t inum = 0x400) {
    return InsertDirent(*dir_, world_.store(), name, Inum(inum), ObjectType::kRegfile,
                        world_.tids());
  }
  absl::StatusOr<std::optional<Dirent>> Find(absl::string_view name) {
    return FindDirent(*dir_, world_.store(), name);
  }
  uint64_t KeyOf(absl::string_view name) {
    const auto found = Find(name);
    EXPECT_TRUE(found.ok() && found->has_value()) << name;
    return found.ok() && found->has_value() ? (*found)->key.v : 0;
  }
  Blockref LeafOf(absl::string_view name) { return **dir_->tree().Find(Key(KeyOf(name))); }
  // Flushes the directory to the device and lets go of it.
  Blockref Close() {
    InlineExecutor executor;
    const auto flushed = dir_->Flush(world_.tids(), executor);
    EXPECT_TRUE(flushed.ok()) << flushed.status();
    EXPECT_TRUE(world_.Drain().ok());
    dir_.reset();
    world_.Remount();
    return flushed.ok() ? flushed->bref : Blockref{};
  }
  void Open(const Blockref& bref) {
    auto loaded = Inode::Load(bref, /*indexed=*/false, world_.store(), world_.cache());
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    dir_ = *std::move(loaded);
  }
  void Reload() { Open(Close()); }

  ChainWorld world_;
  std::shared_ptr<Inode> dir_;
};

TEST_F(DirectoryTest, KeysAreThoseOfTheReference) {
  ASSERT_TRUE(Insert("small").ok());
  EXPECT_EQ(KeyOf("small"), 0xfeddf94987948001) << "spec 03 section 16";
  ASSERT_TRUE(Insert("disk2").ok());
  EXPECT_EQ(KeyOf("disk2"), 0x9a56241bbe4d8001);
}

TEST_F(DirectoryTest, EqualHashesShareABucket) {  // spec 01 section 13.4
  struct Case {
    absl::string_view name;
    uint64_t low;
  };
  const Case cases[] = {{"a.c.b.h.f.e.d.g", 0x8001},
                        {"c.b.f.h.e.a.g.d", 0x8000},
                        {"a.g.c.d.h.f.b.e", 0x8003},
                        {"a.g.f.h.b.c.e.d", 0x8002},
                        {"b.e.h.g.d.c.f.a", 0x8005}};
  uint64_t inum = 0x400;
  for (const Case& c : cases) {
    ASSERT_TRUE(Insert(c.name, inum++).ok());
    EXPECT_EQ(KeyOf(c.name), 0xe596b8c5c9580000 | c.low) << c.name;
  }
  Reload();
  inum = 0x400;
  for (const Case& c : cases) {
    const auto found = Find(c.name);
    ASSERT_TRUE(found.ok() && found->has_value()) << c.name;
    EXPECT_EQ((*found)->inum, Inum(inum++));
    EXPECT_EQ((*found)->name, std::string(c.name));
  }
  ASSERT_TRUE(EraseDirent(*dir_, world_.store(), cases[2].name).ok());
  EXPECT_EQ(*Find(cases[2].name), std::nullopt);
  EXPECT_NE(*Find(cases[4].name), std::nullopt) << "a gap in the bucket";
}

TEST_F(DirectoryTest, TheBlockrefSaysItAll) {  // spec 01 section 8.4
  ASSERT_TRUE(Insert("hello.txt", 0x404).ok());
  Blockref expected;
  expected.type = BrefType::kDirent;
  expected.methods = 0x30;
  expected.key = Key(0xd6e8905688708001);
  expected.mirror_tid = world_.tids().mirror_tid;
  expected.modify_tid = world_.tids().modify_tid;
  expected.set_dirent(Inum(0x404), 9, 2);
  std::ranges::copy(AsBytes("hello.txt"), expected.check.begin());
  EXPECT_EQ(LeafOf("hello.txt"), expected);
}

TEST_F(DirectoryTest, NamesOfAllLengths) {
  std::vector<std::string> names;
  for (size_t length : {1, 2, 63, 64, 65, 128, 255}) names.emplace_back(length, 'n');
  for (const std::string& name : names) ASSERT_TRUE(Insert(name, 0x1000 + name.size()).ok());
  EXPECT_EQ(LeafOf(names[3]).data_off.raw, 0u) << "64 bytes still stand in the blockref";
  EXPECT_EQ(LeafOf(names[4]).data_off.radix(), 10u) << "65 do not";
  Reload();
  for (const std::string& name : names) {
    const auto found = Find(name);
    ASSERT_TRUE(found.ok()) << found.status();
    ASSERT_TRUE(found->has_value()) << name.size();
    EXPECT_EQ((*found)->inum, Inum(0x1000 + name.size()));
    EXPECT_EQ((*found)->type, ObjectType::kRegfile);
  }
  EXPECT_EQ(*Find(std::string(66, 'n')), std::nullopt);
  const DataOff block = LeafOf(names[4]).data_off;
  ASSERT_TRUE(EraseDirent(*dir_, world_.store(), names[4]).ok());
  dir_->Named();
  EXPECT_TRUE(world_.allocator().dropped().contains(block));
}

TEST_F(DirectoryTest, NamesAreBytes) {
  ASSERT_TRUE(Insert("Disk").ok());
  EXPECT_EQ(*Find("disk"), std::nullopt);
  const std::string odd("\x01\xff .-_~", 7);
  ASSERT_TRUE(Insert(odd).ok());
  EXPECT_NE(*Find(odd), std::nullopt);
}

TEST_F(DirectoryTest, TakenAndMissingNames) {
  ASSERT_TRUE(Insert("a").ok());
  EXPECT_EQ(Insert("a").code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(EraseDirent(*dir_, world_.store(), "b").code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(EraseDirent(*dir_, world_.store(), "a").ok());
  EXPECT_EQ(EraseDirent(*dir_, world_.store(), "a").code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(Insert("a", 0x555).ok());
  EXPECT_EQ((*Find("a"))->inum, Inum(0x555));
}

TEST_F(DirectoryTest, ListsInKeyOrderAndInPages) {
  for (uint64_t i = 0; i < 300; ++i) {
    ASSERT_TRUE(dir_->tree().Put(world_.InodeLeaf(0x400 + i)).ok());  // the index is not listed
    ASSERT_TRUE(Insert(std::string("file") + std::to_string(i), 0x400 + i).ok());
  }
  Reload();
  std::vector<Dirent> all;
  Key from;
  for (;;) {
    const auto page = ListDirents(*dir_, world_.store(), from, 7);
    ASSERT_TRUE(page.ok()) << page.status();
    EXPECT_LE(page->size(), 7u);
    all.insert(all.end(), page->begin(), page->end());
    if (page->size() < 7) break;
    from = Key(page->back().key.v + 1);
  }
  EXPECT_EQ(all.size(), 300u);
  EXPECT_TRUE(std::is_sorted(all.begin(), all.end(),
                             [](const Dirent& a, const Dirent& b) { return a.key < b.key; }));
  EXPECT_TRUE(ListDirents(*dir_, world_.store(), Key(0), 0)->empty());
}

TEST_F(DirectoryTest, DamagedNamesAreSkippedAndReported) {
  const std::string name(100, 'x');
  ASSERT_TRUE(Insert(name).ok());
  ASSERT_TRUE(Insert("fine").ok());
  Blockref slash = world_.DirentLeaf(Key(0xf000000000008001), Inum(0x400));
  slash.check[0] = std::byte{'/'};  // would leave the directory
  ASSERT_TRUE(dir_->tree().Put(slash).ok());
  const Blockref leaf = LeafOf(name);
  const Blockref closed = Close();
  world_.Damage(leaf.data_off, 5);
  Open(closed);

  std::vector<Dirent> damaged;
  const auto listed = ListDirents(*dir_, world_.store(), Key(0), 100, &damaged);
  ASSERT_TRUE(listed.ok()) << listed.status();
  ASSERT_EQ(listed->size(), 1u);
  EXPECT_EQ((*listed)[0].name, "fine");
  EXPECT_EQ(damaged.size(), 2u);
  EXPECT_EQ(std::ranges::count(damaged, leaf.key, &Dirent::key), 1);
  EXPECT_EQ(std::ranges::count(damaged, slash.key, &Dirent::key), 1);
  for (const Dirent& entry : damaged) {
    EXPECT_EQ(entry.name, "");
    EXPECT_EQ(entry.inum, (entry.key == slash.key ? slash : leaf).dirent_inum());
  }
  EXPECT_EQ(Find(name).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Insert(name).code(), absl::StatusCode::kDataLoss) << "it may be there already";
  EXPECT_TRUE(ListDirents(*dir_, world_.store(), Key(0), 100).ok());
}

TEST_F(DirectoryTest, AFullBucket) {
  const uint64_t hash = Dirhash("full").v;
  std::vector<Blockref> leaves;
  for (uint64_t k = hash; k <= hash + 0x7fff; ++k)
    leaves.push_back(world_.DirentLeaf(Key(k), Inum(2)));
  const Blockref last = leaves.back();
  leaves.pop_back();
  ASSERT_TRUE(dir_->tree().PutAll(leaves).ok());
  EXPECT_EQ(*FreeDirentKey(dir_->tree(), "full"), last.key) << "the last one";
  ASSERT_TRUE(Insert("full").ok());
  EXPECT_EQ(KeyOf("full"), last.key.v);
  EXPECT_EQ(FreeDirentKey(dir_->tree(), "full").status().code(),
            absl::StatusCode::kResourceExhausted);
  ASSERT_TRUE(*dir_->tree().Erase(Key(hash + 0x1234)));
  EXPECT_EQ(*FreeDirentKey(dir_->tree(), "full"), Key(hash + 0x1234));
}

TEST_F(DirectoryTest, WithoutSpaceNothingIsLeftBehind) {
  world_.allocator().FailAt(1);
  EXPECT_EQ(Insert(std::string(100, 'x')).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(*Find(std::string(100, 'x')), std::nullopt);
  EXPECT_TRUE(world_.allocator().live().empty());
}

}  // namespace
}  // namespace h2bd
