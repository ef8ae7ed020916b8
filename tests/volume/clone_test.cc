// Clones of disks, rollback of disks and of PFSs (spec 03 section 11.7, R12).
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/support/fixtures.h"
#include "tests/volume/pfs_volume.h"

namespace h2bd {
namespace {

TEST(Clone, BeginsAsItsSourceAndGoesItsOwnWay) {
  PfsVolume volume;
  const std::string content(9 * kMiB, 'c');
  volume.Make("gold", content);
  ASSERT_TRUE(volume->CreateSnapshots({{"", "s"}}).ok());
  volume.Write("gold", 100, "later than the snapshot");
  ASSERT_EQ(volume->CloneDisk({"DATA@s", "gold"}, {"", "old"}).status(), absl::OkStatus());
  ASSERT_EQ(volume->CloneDisk({"", "gold"}, {"", "new"}).status(), absl::OkStatus());
  EXPECT_EQ(volume.Read("old"), content);
  EXPECT_EQ(volume.Read("new"), volume.Read("gold"));
  volume.Write("old", 5 * kMiB, "of old");
  volume.Write("new", 5 * kMiB, "of new");
  volume.Write("gold", 5 * kMiB, "of gold");
  volume.Sync();
  PfsContents expected = volume.All();
  EXPECT_EQ(expected.at("DATA/old").substr(5 * kMiB, 7), "of oldc");
  EXPECT_EQ(expected.at("DATA/new").substr(100, 5), "later");
  EXPECT_EQ(expected.at("DATA@s/gold"), content);
  EXPECT_EQ(volume.AfterACrash(), expected);
  // The source goes; the clones stay.
  ASSERT_TRUE(volume->DeleteDisk({"", "gold"}).ok());
  ASSERT_TRUE(volume->DeleteSnapshot({"DATA", "s"}).ok());
  expected.erase("DATA/gold");
  expected.erase("DATA@s/");
  expected.erase("DATA@s/gold");
  EXPECT_EQ(volume.AfterACrash(), expected);
}

// R12: both PFSs say in the same header up to where they share. A block that the source drops
// later would otherwise count as its own.
TEST(Clone, RaisesLsnapOfBothPfses) {
  PfsVolume volume;
  ASSERT_TRUE(volume->CreatePfs("B", {}).ok());
  volume.Make("gold", std::string(kMiB, 'g'));
  volume.Sync();
  ASSERT_EQ(volume->CloneDisk({"", "gold"}, {"B", "copy"}).status(), absl::OkStatus());
  const DiskRef gold = *volume->OpenDisk({"", "gold"}), copy = *volume->OpenDisk({"B", "copy"});
  const Tid shared = gold->inode().bref().modify_tid;
  EXPECT_GT(shared, Tid(0));
  for (const char* label : {"DATA", "B"}) {
    EXPECT_GE(volume.OnMedia(label).root.meta.pfs_lsnap_tid, shared) << label;
  }
  for (const DiskRef& disk : {gold, copy}) {
    EXPECT_GE(disk->inode().horizon()->upto(), shared) << "in memory, for what is dropped";
  }
  const InodeMeta from = gold->inode().meta(), to = copy->inode().meta();
  EXPECT_EQ(to.size, from.size);
  EXPECT_EQ(to.comp_algo, from.comp_algo);
  EXPECT_EQ(to.check_algo, from.check_algo);
  EXPECT_EQ(to.nlinks, 1u);
  EXPECT_EQ(to.iparent, Inum(1));
  EXPECT_EQ(copy->inode().flushed_data().u, gold->inode().flushed_data().u);
  EXPECT_EQ(copy->inode().bref().data_count(), gold->inode().bref().data_count());
  volume.Write("B/copy", 5, "changed");
  volume.Sync();
  EXPECT_GT(copy->inode().bref().modify_tid, shared);
}

TEST(Clone, NamesThatAreRefused) {
  PfsVolume volume;
  volume.Make("a", "a");
  volume.Make("b", "b");
  ASSERT_TRUE(volume->CreateSnapshots({{"", "s"}}).ok());
  const auto code = [&](const DiskName& from, const DiskName& to) {
    return volume->CloneDisk(from, to).status().code();
  };
  EXPECT_EQ(code({"", "none"}, {"", "c"}), absl::StatusCode::kNotFound);
  EXPECT_EQ(code({"", "a"}, {"", "b"}), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(code({"", "a"}, {"NONE", "c"}), absl::StatusCode::kNotFound);
  EXPECT_EQ(code({"", "a"}, {"", "x/y"}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({"", "a"}, {"DATA@s", "c"}), absl::StatusCode::kFailedPrecondition);
}

// No chain to follow: the inode names the blocks.
TEST(Clone, OfAClone) {
  PfsVolume volume;
  const std::string content(5 * kMiB, 'c');
  volume.Make("c0", content);
  constexpr int kDepth = 1000;
  for (int i = 1; i <= kDepth; ++i) {
    ASSERT_EQ(
        volume->CloneDisk({"", absl::StrCat("c", i - 1)}, {"", absl::StrCat("c", i)}).status(),
        absl::OkStatus())
        << i;
    if (i % 100 == 0) volume.Write(absl::StrCat("c", i), 64 * 1024 + 3, absl::StrCat("<", i, ">"));
  }
  volume.Sync();
  volume.Reopen();
  EXPECT_EQ(volume.Read("c0"), content);
  EXPECT_EQ(volume.Read("c99"), content);
  EXPECT_EQ(volume.Read(absl::StrCat("c", kDepth)).substr(64 * 1024 + 3, 6), "<1000>");
  const DiskRef first = *volume->OpenDisk({"", "c0"});
  const DiskRef last = *volume->OpenDisk({"", absl::StrCat("c", kDepth)});
  EXPECT_EQ(*first->inode().tree().Depth(Key(0)), *last->inode().tree().Depth(Key(0)));
}

TEST(Rollback, ADiskBecomesWhatItWas) {
  PfsVolume volume;
  const std::string content(9 * kMiB, 'c');
  volume.Make("vm1", content);
  volume.Make(std::string(100, 'n'), content);  // a name in a block of its own
  ASSERT_TRUE(volume->CreateSnapshots({{"", "s"}}).ok());
  for (const std::string& name : {std::string("vm1"), std::string(100, 'n')}) {
    volume.Write(name, 2 * kMiB, "damage");
    ASSERT_TRUE(volume->ResizeDisk({"", name}, 20 * kMiB).ok());
    const DiskRef before = *volume->OpenDisk({"", name});
    volume.Write(name, 18 * kMiB, "never synced");
    ASSERT_EQ(volume->RollbackDisk({"DATA@s", name}, {"", name}).status(), absl::OkStatus());
    EXPECT_EQ(volume.Read(name), content);
    std::byte byte;
    EXPECT_EQ(volume->Read(before, 0, {&byte, 1}, {}).code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(WriteText(*volume, before, 0, "x").code(), absl::StatusCode::kNotFound);
    volume.Write(name, 0, "again");
  }
  volume.Sync();
  const PfsContents now = volume.All();
  EXPECT_EQ(now.at("DATA@s/vm1"), content);
  EXPECT_EQ(now.size(), 7u) << "two disks and two in the snapshot, three PFSs";
  EXPECT_EQ(volume.AfterACrash(), now);
}

TEST(Rollback, IsRefusedWhileATransactionStages) {
  PfsVolume volume;
  volume.Make("vm1", std::string(kMiB, 'c'));
  ASSERT_TRUE(volume->CreateSnapshots({{"", "s"}}).ok());
  const DiskRef disk = *volume->OpenDisk({"", "vm1"});
  const TxnInfo txn = *volume->Begin({});
  const ConstByteSpan bytes = AsBytes("staged");
  ASSERT_TRUE(
      volume->TxnWrite(txn.id, disk, 0, std::span<const ConstByteSpan>(&bytes, 1), {}).ok());
  for (const absl::Status& refused : {volume->RollbackDisk({"DATA@s", "vm1"}, {"", "vm1"}).status(),
                                      volume->RollbackPfs({"DATA", "s"}).status()}) {
    EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(ReasonOf(refused), kReasonOpenTransaction);
  }
  ASSERT_TRUE(volume->Commit(txn.id, {}).ok()) << "the disk is as it was";
  EXPECT_TRUE(volume->RollbackDisk({"DATA@s", "vm1"}, {"", "vm1"}).ok());
  EXPECT_EQ(volume->RollbackDisk({"", "vm1"}, {"", "vm1"}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(volume->RollbackDisk({"DATA@s", "vm1"}, {"", "none"}).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(Rollback, APfsBecomesWhatItWas) {
  PfsVolume volume;
  volume.Make("a", std::string(3 * kMiB, 'a'));
  volume.Make("b", std::string(3 * kMiB, 'b'));
  ASSERT_TRUE(volume->CreateSnapshots({{"", "s"}}).ok());
  const PfsContents then = volume.All();
  const MediaPfs before = volume.OnMedia("DATA");
  volume.Write("a", kMiB, "damage");
  ASSERT_TRUE(volume->DeleteDisk({"", "b"}).ok());
  volume.Make("c", "new");
  volume.Sync();
  volume.Write("c", 0, "NEW");  // dirty when it goes
  ASSERT_TRUE(volume->RenameDisk({"", "a"}, {"", "z"}).ok());
  DiskRef open = *volume->OpenDisk({"", "z"});
  ASSERT_EQ(volume->RollbackPfs({"DATA", "s"}).status(), absl::OkStatus());
  EXPECT_EQ(volume.All(), then);
  EXPECT_EQ(WriteText(*volume, open, 0, "x").code(), absl::StatusCode::kNotFound);
  open.reset();
  const MediaPfs after = volume.OnMedia("DATA");
  EXPECT_EQ(after.root.meta.pfs_fsid, before.root.meta.pfs_fsid);
  EXPECT_EQ(after.root.meta.pfs_clid, before.root.meta.pfs_clid);
  EXPECT_EQ(after.root.meta.pfs_subtype, 0);
  EXPECT_GE(after.root.meta.pfs_inum, kInodeStart + 3) << "numbers are not used again";
  EXPECT_GE(after.root.meta.pfs_lsnap_tid, volume.OnMedia("DATA@s").root.meta.pfs_lsnap_tid);
  volume.Write("a", 0, "goes on");
  volume.Make("d", "goes on");
  volume.Sync();
  const PfsContents now = volume.All();
  EXPECT_EQ(now.at("DATA@s/a"), then.at("DATA@s/a"));
  EXPECT_EQ(volume.AfterACrash(), now);
  // And again, also after a restart.
  volume.Reopen();
  ASSERT_EQ(volume->RollbackPfs({"DATA", "s"}).status(), absl::OkStatus());
  EXPECT_EQ(volume.AfterACrash(), then);
}

// Spec 03 section 11.7's randomized test: 14 runs of 8 rounds.
TEST(CloneProperty, CopiesShareAndNeverMix) {
  const uint64_t seed = TestSeed();
  for (int run = 0; run < 14; ++run) {
    SeededRandom rng(seed + static_cast<uint64_t>(run));
    const auto below = [&](uint64_t limit) { return rng.Next64() % limit; };
    PfsVolume volume;
    PfsContents model = {{"DATA/", ""}, {"LOCAL/", ""}};
    const auto disks = [&](bool writable) {
      std::vector<std::string> names;
      for (const auto& [name, content] : model) {
        if (name.back() != '/' && (!writable || name.find('@') == std::string::npos)) {
          names.push_back(name);
        }
      }
      return names;
    };
    const auto pick = [&](const std::vector<std::string>& names) {
      return names[below(names.size())];
    };
    int next = 0;
    const auto make = [&] {
      const std::string name = absl::StrCat("DATA/d", next++);
      model[name] = std::string(1 + below(3 * kMiB), static_cast<char>('a' + next % 26));
      volume.Make(name, model[name]);
    };
    make();
    make();
    for (int round = 0; round < 8; ++round) {
      SCOPED_TRACE(absl::StrCat("run ", run, ", round ", round));
      for (int step = 0; step < 6; ++step) {
        if (disks(true).empty()) make();
        const std::string name = pick(disks(true));
        const DiskName disk = *DiskName::Parse(name);
        std::string& content = model[name];
        switch (below(8)) {
          case 0:
          case 1:
          case 2: {
            const uint64_t offset = below(content.size());
            const std::string text(std::min<uint64_t>(content.size() - offset, below(200000)),
                                   static_cast<char>('A' + below(26)));
            volume.Write(name, offset, text);
            content.replace(offset, text.size(), text);
            break;
          }
          case 3: {
            const uint64_t offset = below(content.size());
            const uint64_t length = below(content.size() - offset + 1);
            const DiskRef ref = *volume->OpenDisk(disk);
            ASSERT_TRUE(volume->Discard(ref, offset, length, {}).ok());
            content.replace(offset, length, std::string(length, '\0'));
            break;
          }
          case 4: {
            const uint64_t size = 1 + below(3 * kMiB);
            ASSERT_TRUE(volume->ResizeDisk(disk, size).ok());
            content.resize(size);
            break;
          }
          case 5: {
            const std::string from = pick(disks(false)), to = absl::StrCat("DATA/d", next++);
            ASSERT_EQ(volume->CloneDisk(*DiskName::Parse(from), *DiskName::Parse(to)).status(),
                      absl::OkStatus());
            model[to] = model[from];
            break;
          }
          case 6: {
            if (model.size() < 8) break;
            ASSERT_TRUE(volume->DeleteDisk(disk).ok());
            model.erase(name);
            break;
          }
          default: {
            const std::string from = pick(disks(false));
            if (from == name) break;
            ASSERT_EQ(volume->RollbackDisk(*DiskName::Parse(from), disk).status(),
                      absl::OkStatus());
            content = model[from];
            break;
          }
        }
      }
      const std::string label = absl::StrCat("DATA@s", round);
      ASSERT_TRUE(volume->CreateSnapshots({{"DATA", absl::StrCat("s", round)}}).ok());
      PfsContents copies = {{label + "/", ""}};
      for (const auto& [name, content] : model) {
        if (name.starts_with("DATA/d")) copies[label + name.substr(4)] = content;
      }
      model.insert(copies.begin(), copies.end());
      if (round % 3 == 2) {
        const std::string gone = absl::StrCat("DATA@s", below(static_cast<uint64_t>(round) + 1));
        if (model.contains(gone + "/")) {
          ASSERT_TRUE(volume->DeleteSnapshot({"", gone}).ok());
          std::erase_if(model,
                        [&](const auto& entry) { return entry.first.starts_with(gone + "/"); });
        }
      }
      ASSERT_EQ(volume.All(), model);
      if (below(2) == 0) {
        volume.Sync();
        ASSERT_EQ(volume.AfterACrash(), model);
        volume.Reopen();
      }
    }
  }
}

}  // namespace
}  // namespace h2bd
