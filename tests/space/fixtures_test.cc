// Each volume of the reference goes through what an operator does with space: snapshot, clone,
// overwrite, growth, scrub, delete. Every file that was not touched keeps its contents, and both
// checkers find the volume in order.
#include "tests/support/fixtures.h"

#include <gtest/gtest.h>

#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/fsck/check.h"
#include "core/fsck/media_reader.h"
#include "core/fsck/tree_digest.h"
#include "tests/space/second_checker.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

constexpr uint64_t kHashedBytesMax = 256 * kMiB;

absl::StatusOr<VolumeSet> Assemble(MemoryDevice& device) {
  std::vector<std::unique_ptr<BlockDevice>> devices;
  devices.push_back(std::make_unique<BorrowedDevice>(device));
  return AssembleVolumeSet(std::move(devices), NullLogger());
}

// Contents of the files in the root directories of all PFSs, by "PFS/file", read without the
// engine.
std::map<std::string, std::string> Files(MemoryDevice& device) {
  std::map<std::string, std::string> files;
  absl::StatusOr<VolumeSet> set = Assemble(device);
  EXPECT_TRUE(set.ok()) << set.status();
  if (!set.ok()) return files;
  absl::StatusOr<MediaReader> reader = MediaReader::Open(*set);
  EXPECT_TRUE(reader.ok()) << reader.status();
  const absl::StatusOr<std::vector<MediaPfs>> pfses = reader->ListPfs();
  EXPECT_TRUE(pfses.ok()) << pfses.status();
  for (const MediaPfs& pfs : *pfses) {
    const auto entries = reader->ListDirectory(pfs.root);
    EXPECT_TRUE(entries.ok()) << entries.status();
    for (const MediaEntry& entry : *entries) {
      if (entry.type != ObjectType::kRegfile) continue;
      const absl::StatusOr<InodeData> inode = reader->ReadEntryInode(pfs, entry);
      if (!inode.ok() || inode->meta.size > kHashedBytesMax) continue;
      const absl::StatusOr<std::string> hash = FileSha256(*reader, *inode);
      EXPECT_TRUE(hash.ok()) << hash.status();
      files[absl::StrCat(pfs.name, "/", entry.name)] = hash.value_or("");
    }
  }
  return files;
}

CheckReport CheckNewest(MemoryDevice& device) {
  CheckOptions options;
  options.slot = BestSlot(ProbeHeaders(device));
  BlockDevice* const devices[] = {&device};
  return CheckDevices(devices, options);
}

// What was damaged on purpose in a fixture's older headers is no matter here.
uint64_t ErrorsOfNewest(const ScrubReport& report) {
  uint64_t errors = 0;
  for (const ScrubFinding& finding : report.findings) errors += !finding.older;
  return errors;
}

// Snapshot, clone, overwrite and a new disk in one PFS.
void Change(Volume& volume, const std::string& pfs, const std::map<std::string, std::string>& files,
            std::map<std::string, std::string>& clones) {
  const auto snapshots = volume.CreateSnapshots({{pfs, "space"}});
  ASSERT_TRUE(snapshots.ok()) << snapshots.status();
  const auto first = files.lower_bound(pfs + "/");
  if (first != files.end() && first->first.rfind(pfs + "/", 0) == 0) {
    const std::string source = first->first.substr(pfs.size() + 1);
    const DiskName clone{pfs, "space-clone"}, changed{pfs, "space-changed"};
    const auto cloned = volume.CloneDisk({pfs, source}, clone);
    ASSERT_TRUE(cloned.ok()) << cloned.status();
    clones[absl::StrCat(pfs, "/space-clone")] = first->second;
    ASSERT_TRUE(volume.CloneDisk({pfs + "@space", source}, changed).ok());
    const auto disk = volume.OpenDisk(changed);
    ASSERT_TRUE(disk.ok()) << disk.status();
    if ((*disk)->size_bytes() >= 100) {
      ASSERT_EQ(WriteText(volume, *disk, 50, "this is only in the clone"), absl::OkStatus());
    }
  }
  const DiskName fresh{pfs, "space-new"};
  ASSERT_TRUE(volume.CreateDisk(fresh, {.size_bytes = 64 * kMiB}).ok());
  const auto disk = volume.OpenDisk(fresh);
  ASSERT_TRUE(disk.ok()) << disk.status();
  for (uint64_t at = 0; at < 64 * kMiB; at += 512 * kKiB) {
    ASSERT_EQ(WriteText(volume, *disk, at, absl::StrCat("at ", at)), absl::OkStatus());
  }
  ASSERT_EQ(volume.RunCycle(), absl::OkStatus());
}

class SpaceFixtures : public testing::TestWithParam<std::string> {};

TEST_P(SpaceFixtures, GoesThroughEverythingAndKeepsItsFiles) {
  const absl::StatusOr<SparseImage> image = LoadFixture(GetParam());
  ASSERT_TRUE(image.ok()) << image.status();
  MemoryDevice memory(*image);
  const absl::StatusOr<VolumeSet> set = Assemble(memory);
  if (!set.ok()) GTEST_SKIP() << "one device of several: " << set.status();
  const std::map<std::string, std::string> files = Files(memory);
  std::map<std::string, std::string> clones;
  {
    const auto volume = OpenOn(memory, ManualOptions());
    ASSERT_TRUE(volume.ok()) << volume.status();
    std::vector<std::string> pfses;
    for (const PfsInfo& pfs : (*volume)->ListPfs()) {
      if (pfs.subtype == 0 && pfs.label != "LOCAL") pfses.push_back(pfs.label);
    }
    for (const std::string& pfs : pfses) Change(**volume, pfs, files, clones);
    if (HasFatalFailure()) return;
    const auto grown =
        (*volume)->Grow({.bytes = (*volume)->GetStatus().total_bytes + kGiB + 8 * kMiB});
    ASSERT_TRUE(grown.ok()) << grown.status();
    const auto id = (*volume)->StartScrub();
    ASSERT_TRUE(id.ok()) << id.status();
    ASSERT_TRUE((*volume)->WaitOperation(*id, {}).ok());
    EXPECT_TRUE((*volume)->LastScrub().complete);
    EXPECT_EQ(ErrorsOfNewest((*volume)->LastScrub()), 0u)
        << (*volume)->LastScrub().findings.front().ToString();
    for (const std::string& pfs : pfses) {
      ASSERT_EQ((*volume)->DeleteDisk({pfs, "space-new"}), absl::OkStatus());
      ASSERT_TRUE((*volume)->DeleteSnapshot({pfs, "space"}).ok());
    }
    ASSERT_EQ((*volume)->Close(), absl::OkStatus());
  }
  const std::map<std::string, std::string> after = Files(memory);
  for (const auto& [name, hash] : files) {
    ASSERT_TRUE(after.contains(name)) << name;
    EXPECT_EQ(after.at(name), hash) << name;
  }
  for (const auto& [name, hash] : clones) {
    ASSERT_TRUE(after.contains(name)) << name;
    EXPECT_EQ(after.at(name), hash) << name;
  }
  const CheckReport report = CheckNewest(memory);
  EXPECT_EQ(report.errors, 0u) << report.ToString(Severity::kError);
  const auto counted = RunSecondChecker({memory.Snapshot()});
  EXPECT_TRUE(counted.ok()) << counted.status();
}

std::string NameOf(const testing::TestParamInfo<std::string>& test) {
  std::string name = test.param;
  for (char& c : name) c = absl::ascii_isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
}
// None where the shared material is absent: LoadFixture says so loudly in the other tests.
INSTANTIATE_TEST_SUITE_P(Each, SpaceFixtures, testing::ValuesIn(FixtureNames()), NameOf);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(SpaceFixtures);

}  // namespace
}  // namespace h2bd
