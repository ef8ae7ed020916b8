// PFSs come and go (spec 03 sections 11.4 and 11.5, R11, R17).
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/support/fixtures.h"
#include "tests/volume/pfs_volume.h"

namespace h2bd {
namespace {

TEST(PfsChanges, ANewPfsHasWhatTheReferenceGivesIt) {
  PfsVolume volume;
  ASSERT_EQ(volume->CreatePfs("B", {}).status(), absl::OkStatus());
  const MediaPfs pfs = volume.OnMedia("B");
  InodeMeta expected;
  expected.type = ObjectType::kDirectory;
  expected.op_flags = kOpFlagPfsroot;
  expected.mode = 0755;
  expected.inum = expected.iparent = Inum(1);
  expected.nlinks = 1;
  expected.ctime = expected.mtime = expected.btime = pfs.root.meta.btime;
  expected.name_key = pfs.bref.key;
  expected.name_len = 1;
  expected.comp_algo = 2;
  expected.check_algo = 3;
  expected.pfs_type = 6;
  expected.pfs_inum = pfs.root.meta.pfs_inum;
  expected.pfs_clid = pfs.root.meta.pfs_clid;
  expected.pfs_fsid = pfs.root.meta.pfs_fsid;
  EXPECT_TRUE(pfs.root.meta == expected);
  EXPECT_EQ(pfs.bref.flags, kBrefFlagPfsroot) << "R17";
  EXPECT_EQ(pfs.bref.methods, 0x31) << "the super-root's";
  volume.Make("B/vm1", "content");
  volume.Sync();
  EXPECT_EQ(volume.AfterACrash().at("B/vm1"), "content");
}

TEST(PfsChanges, SettingsAreForNewDisks) {
  PfsVolume volume;
  ASSERT_EQ(volume
                ->CreatePfs("B", {.comp = CompMethod::kZlib,
                                  .comp_level = 7,
                                  .check = CheckMethod::kSha192,
                                  .quota_bytes = 5 * kMiB})
                .status(),
            absl::OkStatus());
  volume.Make("B/before", "content");
  EXPECT_EQ(volume->GetDisk({"B", "before"})->comp, CompMethod::kZlib);
  EXPECT_EQ(volume->GetDisk({"B", "before"})->check, CheckMethod::kSha192);
  EXPECT_EQ(volume.OnMedia("B").root.meta.comp_algo, 0x73);
  EXPECT_EQ(volume.OnMedia("B").root.meta.data_quota, 5 * kMiB);
  ASSERT_EQ(volume->SetPfs("B", {.comp_level = 9}).status(), absl::OkStatus());
  EXPECT_EQ(volume.OnMedia("B").root.meta.comp_algo, 0x93);
  ASSERT_EQ(
      volume
          ->SetPfs("B",
                   {.comp = CompMethod::kNone, .check = CheckMethod::kIscsi32, .quota_bytes = 0})
          .status(),
      absl::OkStatus());
  volume.Reopen();
  volume.Make("B/after", "content");
  EXPECT_EQ(volume->GetDisk({"B", "before"})->comp, CompMethod::kZlib);
  EXPECT_EQ(volume->GetDisk({"B", "after"})->comp, CompMethod::kNone);
  EXPECT_EQ(volume->GetDisk({"B", "after"})->check, CheckMethod::kIscsi32);
  EXPECT_EQ(volume.OnMedia("B").root.meta.data_quota, 0u);
}

TEST(PfsChanges, SettingsThatAreRefused) {
  PfsVolume volume;
  const auto code = [&](const PfsSettings& settings) {
    const absl::StatusCode set = volume->SetPfs("DATA", settings).status().code();
    EXPECT_EQ(volume->CreatePfs("B", settings).status().code(), set);
    return set;
  };
  for (const CheckMethod check :
       {CheckMethod::kNone, CheckMethod::kDisabled, CheckMethod::kFreemap, CheckMethod(9)}) {
    EXPECT_EQ(code({.check = check}), absl::StatusCode::kInvalidArgument) << "F-147";
  }
  EXPECT_EQ(code({.comp = CompMethod(4)}), absl::StatusCode::kInvalidArgument);
  for (const int level : {-1, 1, 5, 10}) {
    EXPECT_EQ(code({.comp = CompMethod::kZlib, .comp_level = level}),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(code({.comp = CompMethod::kLz4, .comp_level = 6}), absl::StatusCode::kInvalidArgument);
}

TEST(PfsChanges, LabelsThatAreRefused) {
  PfsVolume volume;
  const auto code = [&](const std::string& label) {
    return volume->CreatePfs(label, {}).status().code();
  };
  EXPECT_EQ(code("DATA"), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(code("a@b"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("a/b"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(""), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(std::string(256, 'x')), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(std::string(255, 'x')), absl::StatusCode::kOk);
  EXPECT_EQ(code("data"), absl::StatusCode::kOk) << "exact bytes";
}

TEST(PfsChanges, APfsGoesWithAllThatIsInIt) {
  PfsVolume volume;
  volume.Make("stays", std::string(kMiB, 's'));
  ASSERT_TRUE(volume->CreatePfs("B", {}).ok());
  const PfsContents without = [&] {
    PfsContents contents = volume.All();
    contents.erase("B/");
    return contents;
  }();
  for (int round = 0; round < 5; ++round) {
    SCOPED_TRACE(round);
    volume.Make("B/synced", std::string(kMiB, 'b'));
    volume.Sync();
    if (round == 3) volume.Reopen();
    volume.Make("B/dirty", std::string(kMiB, 'd'));
    volume.Write("B/synced", 5, "dirty");
    const DiskRef open = *volume->OpenDisk({"B", "dirty"});
    const absl::Status refused = volume->DeletePfs("B", false).status();
    EXPECT_EQ(ReasonOf(refused), kReasonPfsNotEmpty) << refused;
    EXPECT_EQ(WriteText(*volume, open, 0, "x"), absl::OkStatus()) << "nothing has changed";
    ASSERT_EQ(volume->DeletePfs("B", true).status(), absl::OkStatus());
    EXPECT_EQ(WriteText(*volume, open, 0, "x").code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(volume->GetStatus().dirty_bytes, 0u);
    EXPECT_EQ(volume->GetStatus().space.reserved_bytes, 0u);
    EXPECT_EQ(volume.All(), without);
    EXPECT_EQ(volume.AfterACrash(), without);
    ASSERT_EQ(volume->CreatePfs("B", {}).status(), absl::OkStatus()) << "the label is free";
    EXPECT_EQ(volume->ListDisks("B", 10, "")->disks.size(), 0u);
  }
  ASSERT_EQ(volume->DeletePfs("B", false).status(), absl::OkStatus()) << "it is empty";
  for (const char* needed : {"DATA", "LOCAL"}) {
    EXPECT_EQ(volume->DeletePfs(needed, true).status().code(),
              absl::StatusCode::kFailedPrecondition);
  }
  EXPECT_EQ(volume->DeletePfs("B", true).status().code(), absl::StatusCode::kNotFound);
}

// Snapshots are PFSs of their own (spec 03 section 11.5).
TEST(PfsChanges, SnapshotsOutliveTheirPfs) {
  PfsVolume volume;
  ASSERT_TRUE(volume->CreatePfs("B", {}).ok());
  volume.Make("B/vm1", std::string(kMiB, 'b'));
  ASSERT_TRUE(volume->CreateSnapshots({{"B", "s"}}).ok());
  ASSERT_TRUE(volume->DeletePfs("B", true).ok());
  volume.Reopen();
  EXPECT_EQ(volume.Read("B@s/vm1"), std::string(kMiB, 'b'));
  ASSERT_TRUE(volume->CreatePfs("B", {}).ok());
  ASSERT_TRUE(volume->CloneDisk({"B@s", "vm1"}, {"B", "vm1"}).ok());
  EXPECT_EQ(volume.Read("B/vm1"), std::string(kMiB, 'b'));
}

// A caller that gives up before a cycle has the change leaves nothing behind.
TEST(PfsChanges, ADeadlineThatPassesFirstTakesTheChangeBack) {
  VolumeOptions options = ManualOptions();
  options.sync_runs_cycle = false;
  PfsVolume volume(options);
  volume.Make("vm1", "content");
  const IoOptions at_once{.deadline = absl::Now()};
  EXPECT_EQ(volume->CreatePfs("B", {}, at_once).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(volume->CloneDisk({"", "vm1"}, {"", "vm2"}, at_once).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(volume->GetStatus().space.reserved_bytes != 0, true) << "of the disk";
  ASSERT_EQ(volume->RunCycle(), absl::OkStatus());
  EXPECT_EQ(volume->GetStatus().space.reserved_bytes, 0u);
  EXPECT_FALSE(volume.All().contains("B/"));
  EXPECT_EQ(volume->CreateDisk({"", "vm2"}, {1}).status(), absl::OkStatus()) << "the name is free";
}

}  // namespace
}  // namespace h2bd
