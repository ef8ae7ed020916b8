// Snapshots: what is on the media, one instant for several PFSs, everything that can happen to one
// (spec 03 section 11.6, F-106, F-207, R9 to R12).
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "core/media/dirhash.h"
#include "tests/support/fixtures.h"
#include "tests/volume/pfs_volume.h"

namespace h2bd {
namespace {

// Another process than the one that made the content, so that tables are on media only.
const std::string& Old() {
  static const std::string text(3 * kMiB, 'o');
  return text;
}

TEST(Snapshot, KeepsWhatWasThereAndIsReadByName) {
  PfsVolume volume;
  volume.Make("vm1", Old());
  volume.Write("vm1", 5, "not synced before");
  const auto made = volume->CreateSnapshots({{"DATA", "s1"}});
  ASSERT_TRUE(made.ok()) << made.status();
  const std::string then = volume.Read("DATA@s1/vm1");
  EXPECT_EQ(then.substr(5, 17), "not synced before");
  EXPECT_EQ(then, volume.Read("vm1"));
  volume.Write("vm1", 1 * kMiB, "later");
  ASSERT_TRUE(volume->ResizeDisk({"", "vm1"}, 2 * kMiB).ok());
  volume.Make("vm2", "new");
  EXPECT_EQ(volume.Read("DATA@s1/vm1"), then);
  volume.Sync();
  const PfsContents now = volume.All();
  EXPECT_EQ(now.at("DATA@s1/vm1"), then);
  EXPECT_FALSE(now.contains("DATA@s1/vm2"));
  EXPECT_EQ(volume.AfterACrash(), now);
  volume.Reopen();
  EXPECT_EQ(volume.All(), now);
}

// Design section 5.2: field by field.
TEST(Snapshot, BytesOnMedia) {
  PfsVolume volume;
  volume.Make("vm1", Old());
  volume.Sync();
  const InodeMeta before = volume.OnMedia("DATA").root.meta;
  const auto made = volume->CreateSnapshots({{"DATA", "s1"}}, {.automatic = true, .held = true});
  ASSERT_TRUE(made.ok()) << made.status();
  const MediaPfs parent = volume.OnMedia("DATA");
  const MediaPfs snapshot = volume.OnMedia("DATA@s1");
  const InodeMeta& meta = snapshot.root.meta;
  InodeMeta expected;
  expected.type = ObjectType::kDirectory;
  expected.op_flags = kOpFlagPfsroot;
  expected.pfs_subtype = 2;
  expected.uflags = 0x10;
  expected.inum = expected.iparent = Inum(1);
  expected.nlinks = 1;
  expected.mode = parent.root.meta.mode;
  expected.uid = parent.root.meta.uid;
  expected.gid = parent.root.meta.gid;
  expected.comp_algo = parent.root.meta.comp_algo;
  expected.check_algo = parent.root.meta.check_algo;
  expected.ctime = expected.mtime = expected.btime = meta.btime;
  expected.name_key = snapshot.bref.key;
  expected.name_len = 7;
  expected.pfs_type = 6;
  expected.pfs_inum = parent.root.meta.pfs_inum + 1;
  expected.pfs_clid = meta.pfs_clid;
  expected.pfs_fsid = meta.pfs_fsid;
  expected.pfs_lsnap_tid = meta.pfs_lsnap_tid;
  for (size_t i = 0; i < sizeof meta; ++i) {
    EXPECT_EQ(reinterpret_cast<const char*>(&meta)[i], reinterpret_cast<const char*>(&expected)[i])
        << "byte " << i;
  }
  EXPECT_EQ(snapshot.root.u, parent.root.u) << "the four blockrefs, verbatim";
  EXPECT_GT(meta.btime, before.btime);
  EXPECT_GE(meta.pfs_inum, kInodeStart + 1);
  EXPECT_NE(meta.pfs_clid, parent.root.meta.pfs_clid) << "R11";
  EXPECT_NE(meta.pfs_fsid, parent.root.meta.pfs_fsid);
  EXPECT_NE(meta.pfs_clid, Uuid{});
  // R12: both say up to where they share, and all that they share is not above it.
  EXPECT_EQ(parent.root.meta.pfs_lsnap_tid, meta.pfs_lsnap_tid);
  EXPECT_GT(meta.pfs_lsnap_tid, before.pfs_lsnap_tid);
  for (int i = 0; i < kBlocksetCount; ++i) {
    EXPECT_LE(parent.root.blockset(i).modify_tid, meta.pfs_lsnap_tid);
  }
  EXPECT_GE(snapshot.bref.modify_tid, meta.pfs_lsnap_tid) << "R9";
  EXPECT_GE(parent.bref.modify_tid, meta.pfs_lsnap_tid) << "R9";
  EXPECT_EQ(snapshot.bref.type, BrefType::kInode);
  EXPECT_EQ(snapshot.bref.flags, kBrefFlagPfsroot) << "R17";
  EXPECT_EQ(snapshot.bref.keybits, 0);
  EXPECT_EQ(snapshot.bref.methods, 0x31) << "the super-root's";
  EXPECT_EQ(snapshot.bref.key.v & ~kDirhashLoMask, Dirhash("DATA@s1").v) << "in its bucket";
  EXPECT_EQ(snapshot.bref.data_count(), parent.bref.data_count());
  EXPECT_EQ(snapshot.bref.inode_count(), parent.bref.inode_count());
  EXPECT_EQ(snapshot.bref.mirror_tid, parent.bref.mirror_tid) << "one header";
  // And what the caller is told.
  const SnapshotInfo& info = made->front();
  EXPECT_EQ(info.name, (SnapshotName{"DATA", "s1"}));
  EXPECT_EQ(info.fsid, meta.pfs_fsid);
  EXPECT_EQ(info.tid, meta.pfs_lsnap_tid);
  EXPECT_TRUE(info.held && info.automatic);
  EXPECT_EQ(info.referenced_bytes, snapshot.bref.data_count());
}

// What is written after a snapshot is above lsnap, so that its blocks count as the PFS's own again
// (F-130); the next open begins above it, too.
TEST(Snapshot, WhatIsWrittenLaterIsAboveWhatIsShared) {
  PfsVolume volume;
  volume.Make("vm1", Old());
  for (int i = 0; i < 3; ++i) {
    const auto made = volume->CreateSnapshots({{"", absl::StrCat("s", i)}});
    ASSERT_TRUE(made.ok()) << made.status();
    volume.Write("vm1", 9, absl::StrCat("change ", i));
    volume.Sync();
    EXPECT_GT(volume.OnMedia("DATA").bref.modify_tid, made->front().tid);
    volume.Reopen();
  }
}

TEST(Snapshot, SeveralPfsesAreOfOneInstant) {
  PfsVolume volume;
  ASSERT_TRUE(volume->CreatePfs("B", {}).ok());
  volume.Make("vm1", Old());
  volume.Make("B/vm1", Old());
  // One transaction over both: no snapshot has it by half.
  const DiskRef a = *volume->OpenDisk({"", "vm1"}), b = *volume->OpenDisk({"B", "vm1"});
  const TxnInfo txn = *volume->Begin({});
  const ConstByteSpan bytes = AsBytes("both");
  for (const DiskRef& disk : {a, b}) {
    ASSERT_TRUE(
        volume->TxnWrite(txn.id, disk, 0, std::span<const ConstByteSpan>(&bytes, 1), {}).ok());
  }
  ASSERT_TRUE(volume->Commit(txn.id, {}).ok());
  const auto made = volume->CreateSnapshots({{"DATA", "s"}, {"B", "s"}});
  ASSERT_TRUE(made.ok()) << made.status();
  ASSERT_EQ(made->size(), 2u);
  EXPECT_EQ((*made)[0].seq, (*made)[1].seq);
  EXPECT_EQ(volume.Read("DATA@s/vm1").substr(0, 4), "both");
  EXPECT_EQ(volume.Read("B@s/vm1").substr(0, 4), "both");
  // One bad name, and there is none of them.
  EXPECT_EQ(volume->CreateSnapshots({{"B", "t"}, {"NONE", "t"}}).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(volume->CreateSnapshots({{"B", "t"}, {"DATA", "s"}}).status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(volume->ListSnapshots(std::nullopt)->size(), 2u);
  EXPECT_TRUE(volume->CreateSnapshots({{"B", "t"}}).ok()) << "the name is free";
}

TEST(Snapshot, NamesThatAreRefused) {
  PfsVolume volume;
  const auto code = [&](const SnapshotName& name) {
    return volume->CreateSnapshots({name}).status().code();
  };
  EXPECT_EQ(code({"DATA", ""}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({"DATA", "a/b"}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({"DATA", "a@b"}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({"DATA", std::string(251, 'x')}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({"DATA", std::string(250, 'x')}), absl::StatusCode::kOk) << "255 with the PFS";
  EXPECT_EQ(code({"none", "a"}), absl::StatusCode::kNotFound);
  EXPECT_EQ(code({"DATA@" + std::string(250, 'x'), "a"}), absl::StatusCode::kFailedPrecondition)
      << "of a snapshot";
  EXPECT_EQ(volume->CreateSnapshots({}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(volume->CreateSnapshots({{"DATA", "a"}, {"", "a"}}).status().code(),
            absl::StatusCode::kAlreadyExists);
}

TEST(Snapshot, ListedByAgeAndDeletedUnlessHeld) {
  PfsVolume volume;
  volume.Make("vm1", Old());
  for (const char* name : {"c", "a", "b"}) {
    ASSERT_TRUE(volume->CreateSnapshots({{"", name}}).ok());
  }
  const auto names = [&] {
    std::string all;
    const std::vector<SnapshotInfo> list = *volume->ListSnapshots("DATA");
    for (const SnapshotInfo& info : list) all += info.name.name;
    return all;
  };
  EXPECT_EQ(names(), "cab");
  ASSERT_TRUE(volume->HoldSnapshot({"DATA", "a"}, true).ok());
  volume.Reopen();
  const absl::Status held = volume->DeleteSnapshot({"DATA", "a"}).status();
  EXPECT_EQ(held.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(held), kReasonHeld);
  EXPECT_EQ(volume->DeletePfs("DATA@a", true).status().code(), absl::StatusCode::kInvalidArgument);
  const DiskRef open = *volume->OpenDisk({"DATA@b", "vm1"});
  ASSERT_EQ(volume->DeleteSnapshot({"DATA", "b"}).status(), absl::OkStatus());
  std::byte byte;
  EXPECT_EQ(volume->Read(open, 0, {&byte, 1}, {}).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(volume->OpenDisk({"DATA@b", "vm1"}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(volume->DeleteSnapshot({"DATA", "b"}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(names(), "ca");
  ASSERT_TRUE(volume->HoldSnapshot({"DATA", "a"}, false).ok());
  EXPECT_TRUE(volume->DeleteSnapshot({"DATA", "a"}).ok());
  EXPECT_EQ(names(), "c");
  EXPECT_EQ(volume.Read("DATA@c/vm1"), Old());
  EXPECT_EQ(volume->HoldSnapshot({"DATA", "a"}, true).status().code(), absl::StatusCode::kNotFound);
}

// Keys, caches and handles of the one before must not show in the next one (design section 2.5).
TEST(Snapshot, ALabelIsUsedAHundredTimes) {
  PfsVolume volume;
  volume.Make("vm1", std::string(100 * 1000, '.'));
  for (int i = 0; i < 100; ++i) {
    const std::string text = absl::StrCat("round ", i);
    volume.Write("vm1", 70 * 1000, text);
    ASSERT_TRUE(volume->CreateSnapshots({{"", "s"}}).ok());
    volume.Write("vm1", 70 * 1000, std::string(20, 'x'));
    EXPECT_EQ(volume.Read("DATA@s/vm1").substr(70 * 1000, text.size()), text);
    ASSERT_EQ(volume->DeleteSnapshot({"", "DATA@s"}).status(), absl::OkStatus());
  }
  EXPECT_EQ(volume->ListPfs().size(), 2u);
}

// The change waits for a cycle; nobody may see half of it until then, and the name is taken.
TEST(Snapshot, TheAsynchronousFormAnswersFromTheCycle) {
  VolumeOptions options = ManualOptions();
  options.sync_runs_cycle = false;
  PfsVolume volume(options);
  volume.Make("vm1", Old());
  std::vector<absl::StatusCode> answers;
  const auto create = [&](const char* name) {
    volume->CreateSnapshotsAsync(
        {{"", name}}, {}, [&](const auto& result) { answers.push_back(result.status().code()); });
  };
  create("s");
  create("s");
  EXPECT_EQ(answers, (std::vector{absl::StatusCode::kAlreadyExists})) << "at once";
  create("t");
  EXPECT_FALSE(volume->OpenDisk({"DATA@s", "vm1"}).ok());
  ASSERT_EQ(volume->RunCycle(), absl::OkStatus());
  EXPECT_EQ(answers, (std::vector{absl::StatusCode::kAlreadyExists, absl::StatusCode::kOk,
                                  absl::StatusCode::kOk}));
  EXPECT_EQ(volume.Read("DATA@s/vm1"), Old());
  // One that no cycle takes any more is answered by the end of the volume.
  const absl::Status closed = volume->Close();
  EXPECT_EQ(closed, absl::OkStatus());
  create("u");
  EXPECT_EQ(answers.back(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace h2bd
