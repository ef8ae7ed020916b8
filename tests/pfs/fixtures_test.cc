// Images of the reference: every PFS, directory and inode as manifest.json has them, before and
// after changes.
#include "tests/support/fixtures.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/pfs/pfs.h"
#include "tests/chain/chain_world.h"

namespace h2bd {
namespace {

using Json = nlohmann::json;

// What both sides know of one path.
struct Entry {
  std::string type;
  uint64_t inum = 0;
  uint64_t nlinks = 0;
  uint64_t mode = 0;
  uint64_t mtime = 0;
  uint64_t size = 0;    // files
  int64_t blocks = -1;  // files: DATA blockrefs; -1 when embedded
  std::string target;   // embedded links
  friend bool operator==(const Entry&, const Entry&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Entry& e) {
    return out << e.type << " inum " << e.inum << " nlinks " << e.nlinks << " mode " << std::oct
               << e.mode << std::dec << " mtime " << e.mtime << " size " << e.size << " blocks "
               << e.blocks << " target " << e.target;
  }
};
using Tree = std::map<std::string, Entry>;

std::string TypeName(ObjectType type) {
  switch (type) {
    case ObjectType::kDirectory:
      return "directory";
    case ObjectType::kRegfile:
      return "file";
    case ObjectType::kSoftlink:
      return "symlink";
    case ObjectType::kFifo:
      return "fifo";
    default:
      return absl::StrCat("type ", static_cast<int>(type));
  }
}

Tree FromManifest(const Json& pfs) {
  Tree tree;
  for (const Json& e : pfs["entries"]) {
    const std::string path = e.contains("path_hex")
                                 ? absl::HexStringToBytes(e["path_hex"].get<std::string>())
                                 : e["path"].get<std::string>();
    Entry entry;
    entry.type = e["type"];
    entry.inum = e["inum"];
    entry.nlinks = e["nlinks"];
    entry.mode = std::stoull(e["mode"].get<std::string>(), nullptr, 8);
    entry.mtime = e["mtime"];
    if (entry.type == "file") {
      entry.size = e["size"];
      if (!e.value("embedded", false)) entry.blocks = e["blocks"];
    }
    if (entry.type == "symlink" && e["target"].get<std::string>().size() <= kEmbeddedBytes) {
      entry.target = e["target"];
    }
    tree[path] = entry;
  }
  return tree;
}

class Reader {
 public:
  Reader(Pfs& pfs, BlockStore& store) : pfs_(pfs), store_(store) {}

  Tree Read() {
    tree_["/"] = Describe(pfs_.root());
    ReadDirectory("", pfs_.root());
    return tree_;
  }

 private:
  Entry Describe(Inode& inode) {
    const InodeMeta meta = inode.meta();
    Entry entry{.type = TypeName(meta.type),
                .inum = meta.inum.v,
                .nlinks = meta.nlinks,
                .mode = meta.mode,
                .mtime = meta.mtime};
    if (meta.type == ObjectType::kRegfile) {
      entry.size = meta.size;
      if (!meta.directdata()) {
        entry.blocks = 0;
        const absl::Status status =
            inode.tree().Scan(Key(0), Key(UINT64_MAX), [&](const Blockref&) {
              ++entry.blocks;
              return true;
            });
        EXPECT_TRUE(status.ok()) << status;
      }
    }
    if (meta.type == ObjectType::kSoftlink && meta.directdata()) {
      entry.target = std::string(AsText(*inode.direct_data()).substr(0, meta.size));
    }
    return entry;
  }

  void ReadDirectory(const std::string& path, Inode& dir) {
    Key from;
    for (;;) {
      std::vector<Dirent> damaged;
      const auto page = ListDirents(dir, store_, from, 100, &damaged);
      ASSERT_TRUE(page.ok()) << page.status();
      EXPECT_TRUE(damaged.empty());
      for (const Dirent& name : *page) ReadEntry(path + "/" + name.name, dir, name);
      if (page->size() < 100) return;
      from = Key(page->back().key.v + 1);
    }
  }

  void ReadEntry(const std::string& path, Inode& dir, const Dirent& name) {
    const auto found = FindDirent(dir, store_, name.name);
    ASSERT_TRUE(found.ok() && found->has_value()) << path;
    EXPECT_EQ((*found)->key, name.key);
    const auto inode = pfs_.GetInode(name.inum);
    ASSERT_TRUE(inode.ok()) << path << ": " << inode.status();
    EXPECT_EQ((*inode)->meta().type, name.type) << path;
    EXPECT_TRUE(tree_.emplace(path, Describe(**inode)).second) << path;
    if (name.type == ObjectType::kDirectory) ReadDirectory(path, **inode);
  }

  Pfs& pfs_;
  BlockStore& store_;
  Tree tree_;
};

// The newest valid header of the image.
std::unique_ptr<VolumeData> BestHeader(MemoryDevice& device) {
  std::unique_ptr<VolumeData> best;
  for (int slot = 0; slot < kVolumeHeaderSlots; ++slot) {
    const uint64_t at = static_cast<uint64_t>(slot) * kVolumeHeaderSpacing;
    if (at + kVolumeHeaderBytes > device.size_bytes()) break;
    AlignedBuffer raw(kVolumeHeaderBytes);
    EXPECT_TRUE(device.Read(ByteOff(at), raw.span()).ok());
    auto header = std::make_unique<VolumeData>(LoadAs<VolumeData>(raw.span()));
    if (!CheckVolumeHeader(*header).ok()) continue;
    if (best == nullptr || header->mirror_tid > best->mirror_tid) best = std::move(header);
  }
  return best;
}

class PfsFixtures : public ::testing::Test {
 protected:
  static void ForEachImage(const std::function<void(const Json&)>& body) {
    const auto text = FixtureManifest();
    if (!text.ok()) {
      SkipLoudly("the images of the reference");
      return;
    }
    const Json manifest = Json::parse(*text);
    for (const Json& image : manifest["images"]) {
      SCOPED_TRACE(image["name"].get<std::string>());
      body(image);
      if (HasFailure()) return;
    }
  }
  static void ExpectTree(const Tree& found, const Tree& expected) {
    for (const auto& [path, entry] : expected) {
      const auto it = found.find(path);
      ASSERT_NE(it, found.end()) << path << " is missing";
      EXPECT_EQ(it->second, entry) << path;
    }
    EXPECT_EQ(found.size(), expected.size());
  }
  static void ExpectImage(const Json& image, PfsTable& table, BlockStore& store) {
    ASSERT_EQ(table.all().size(), image["pfs"].size());
    for (const Json& expected : image["pfs"]) {
      SCOPED_TRACE(expected["name"].get<std::string>());
      const auto pfs = table.Find(expected["name"].get<std::string>());
      ASSERT_TRUE(pfs.ok()) << pfs.status();
      EXPECT_EQ(absl::StrCat(absl::Hex((*pfs)->key().v)), expected["key"].get<std::string>());
      EXPECT_EQ((*pfs)->snapshot(), expected["subtype"] == "snapshot");
      const InodeMeta root = (*pfs)->root().meta();
      EXPECT_EQ(FormatUuid(root.pfs_clid), expected["clid"].get<std::string>());
      EXPECT_EQ(FormatUuid(root.pfs_fsid), expected["fsid"].get<std::string>());
      ExpectTree(Reader(**pfs, store).Read(), FromManifest(expected));
      for (const Json& orphan : expected["orphan_inodes"]) {
        EXPECT_TRUE((*pfs)->GetInode(Inum(orphan.get<uint64_t>())).ok()) << "orphan " << orphan;
      }
    }
  }
};

TEST_F(PfsFixtures, EveryInodeIsAsTheManifestSays) {
  ForEachImage([](const Json& image) {
    auto data = LoadFixture(image["name"]);
    ASSERT_TRUE(data.ok()) << data.status();
    ChainWorld world(*std::move(data), {.cache_bytes = 256 * kKiB});
    const auto header = BestHeader(world.device());
    ASSERT_NE(header, nullptr);
    EXPECT_EQ(header->mirror_tid.v, image["mirror_tid"].get<uint64_t>());
    const auto table = PfsTable::Open(*header, world.store(), world.cache(), NullLogger());
    ASSERT_TRUE(table.ok()) << table.status();
    for (const Json& pfs : image["pfs"]) {
      EXPECT_EQ((*table->get()->Find(pfs["name"].get<std::string>()))->root().meta().pfs_inum,
                pfs["pfs_inum"].get<uint64_t>());
    }
    ExpectImage(image, **table, world.store());
    EXPECT_LE(world.cache().bytes(), 256 * kKiB);
  });
}

// Adds files to every PFS of every image, through several cycles; what was there stays as it was.
TEST_F(PfsFixtures, WhatOthersWroteSurvivesOurChanges) {
  ForEachImage([](const Json& image) {
    auto data = LoadFixture(image["name"]);
    ASSERT_TRUE(data.ok()) << data.status();
    const uint64_t size = data->size();
    ChainWorld world(*std::move(data), {.allocate_from = RoundDown(size / 8 * 7, kSegBytes)});
    const auto header = BestHeader(world.device());
    ASSERT_NE(header, nullptr);
    InlineExecutor executor;
    Json expected = image;
    for (int cycle = 0; cycle < 3; ++cycle) {
      world.Remount();
      auto opened = PfsTable::Open(*header, world.store(), world.cache(), NullLogger());
      ASSERT_TRUE(opened.ok()) << opened.status();
      PfsTable& table = **opened;
      ExpectImage(expected, table, world.store());
      const FlushTids tids{Tid(header->mirror_tid.v + 1 + static_cast<uint64_t>(cycle)),
                           Tid(table.HighestModifyTid().v + 1)};
      std::vector<Blockref> changed;
      for (Json& json : expected["pfs"]) {
        Pfs& pfs = **table.Find(json["name"].get<std::string>());
        for (int i = 0; i < 40; ++i) {
          const uint64_t blocks = i == 0 ? 700 : 3;
          const Inum inum = pfs.NewInum();
          Blockref bref;
          bref.type = BrefType::kInode;
          bref.key = Key(inum.v);
          bref.methods = 0x32;
          const InodeData disk = NewDiskInode(inum, pfs.root().meta(), blocks * kLogicalBytes,
                                              absl::FromUnixSeconds(77));
          auto inode = Inode::Create(disk, bref, world.store(), world.cache());
          for (uint64_t b = 0; b < blocks; ++b)
            ASSERT_TRUE(inode->tree().Put(world.Data(b, 10)).ok());
          const auto flushed = inode->Flush(tids, executor);
          ASSERT_TRUE(flushed.ok()) << flushed.status();
          ASSERT_TRUE(pfs.PutIndex(flushed->bref).ok());
          const std::string name = absl::StrCat("added-", cycle, "-", i);
          ASSERT_TRUE(
              InsertDirent(pfs.root(), world.store(), name, inum, ObjectType::kRegfile, tids).ok());
          json["entries"].push_back({{"path", "/" + name},
                                     {"type", "file"},
                                     {"inum", inum.v},
                                     {"nlinks", 1},
                                     {"mode", "0600"},
                                     {"mtime", 77'000'000},
                                     {"size", blocks * kLogicalBytes},
                                     {"blocks", blocks}});
        }
        const auto flushed = pfs.Flush(tids, executor);
        ASSERT_TRUE(flushed.ok()) << flushed.status();
        changed.push_back(flushed->bref);
      }
      const auto sroot = table.FlushSuperRoot(tids, changed, executor);
      ASSERT_TRUE(sroot.ok()) << sroot.status();
      ASSERT_TRUE(world.Drain().ok());
      header->sroot_blockset = *sroot;
    }
  });
}

}  // namespace
}  // namespace h2bd
