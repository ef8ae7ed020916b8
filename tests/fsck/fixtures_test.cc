// What the reference's images hold: read and checked without the engine, compared with the
// manifest.
#include "tests/support/fixtures.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "core/fsck/check.h"
#include "core/fsck/media_reader.h"
#include "core/fsck/tree_digest.h"
#include "tests/fsck/volume_fixture.h"

namespace h2bd {
namespace {

using nlohmann::json;

constexpr uint64_t kHashedMax = 16 * kGiB;

const json& Manifest() {
  static const json manifest = [] {
    const absl::StatusOr<std::string> text = FixtureManifest();
    return text.ok() ? json::parse(*text) : json::object();
  }();
  return manifest;
}

const json& ManifestOf(const std::string& name) {
  for (const json& image : Manifest()["images"]) {
    if (image["name"] == name) return image;
  }
  ADD_FAILURE() << name << " is not in the manifest";
  return Manifest();
}

uint64_t CountIn(const json& counts, const char* kind) { return counts.value(kind, uint64_t{0}); }

class FixtureTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    device_ = std::make_unique<MemoryDevice>(CachedFixture(GetParam()), 512, GetParam());
    absl::StatusOr<VolumeSet> set = OpenSet(*device_);
    ASSERT_TRUE(set.ok()) << set.status();
    set_ = *std::move(set);
  }
  const json& manifest() const { return ManifestOf(GetParam()); }

  void ExpectEntry(MediaReader& reader, const MediaPfs& pfs, const json& entry);
  void ExpectContents(MediaReader& reader, const InodeData& inode, const json& entry);

  std::unique_ptr<MemoryDevice> device_;
  VolumeSet set_;
};

TEST_P(FixtureTest, CheckFindsWhatTheManifestCallsOddAndNothingElse) {
  const CheckReport report = CheckImage(*device_);
  uint64_t orphans = 0, nlinks = 0;
  for (const json& pfs : manifest()["pfs"]) orphans += pfs["orphan_inodes"].size();
  for (const json& warning : manifest()["inspector"]["warnings"]) {
    nlinks += warning.get<std::string>().find("has nlinks") != std::string::npos;
  }
  EXPECT_EQ(report.errors, 0u) << report.ToString();
  EXPECT_EQ(report.count(FindingCode::kInodeOrphan), orphans) << report.ToString();
  EXPECT_EQ(report.count(FindingCode::kNlinks), nlinks) << report.ToString();
  EXPECT_EQ(report.warnings, orphans + nlinks) << report.ToString();
  EXPECT_EQ(report.slots.size(), manifest()["generations"].size());
}

TEST_P(FixtureTest, CheckCountsTheBlocksThatTheManifestCounts) {
  const CheckReport report = CheckImage(*device_);
  ASSERT_FALSE(report.slots.empty());
  EXPECT_EQ(report.slots[0].slot, manifest()["best_slot"]);
  const BlockTotals& found = report.slots[0].blocks;
  const json& blocks = manifest()["block_counts"];
  EXPECT_EQ(found.inodes, CountIn(blocks, "inode"));
  EXPECT_EQ(found.indirects, CountIn(blocks, "indirect"));
  // The manifest counts a block once per kind of check code; f13 shares two between methods.
  const uint64_t twice = GetParam() == "f13-check-none-disabled" ? 2 : 0;
  EXPECT_EQ(found.data + twice, CountIn(blocks, "data"));
  EXPECT_EQ(found.freemap_leaves, CountIn(blocks, "freemap_leaf"));
  EXPECT_EQ(found.freemap_nodes, CountIn(blocks, "freemap_node"));
  EXPECT_EQ(report.staged_bytes, manifest()["freemap"]["possibly_free_bytes"]);
}

TEST_P(FixtureTest, DigestOfEveryGenerationIsTheRecordedOne) {
  for (const json& generation : manifest()["generations"]) {
    SCOPED_TRACE(generation["slot"]);
    absl::StatusOr<MediaReader> reader = MediaReader::Open(set_, generation["slot"].get<int>());
    ASSERT_TRUE(reader.ok()) << reader.status();
    const absl::StatusOr<std::string> digest = TreeDigest(*reader);
    ASSERT_TRUE(digest.ok()) << digest.status();
    EXPECT_EQ(*digest, generation["tree_digest"]);

    const auto all = reader->ListPfs();
    ASSERT_TRUE(all.ok()) << all.status();
    std::vector<std::string> names;
    for (const MediaPfs& pfs : *all) names.push_back(pfs.name);
    std::sort(names.begin(), names.end());
    EXPECT_EQ(names, generation["pfs"].get<std::vector<std::string>>());
  }
}

TEST_P(FixtureTest, EveryEntryOfEveryPfsReadsAsRecorded) {
  absl::StatusOr<MediaReader> reader = MediaReader::Open(set_);
  ASSERT_TRUE(reader.ok()) << reader.status();
  for (const json& listed : manifest()["pfs"]) {
    const auto pfs = reader->FindPfs(listed["name"].get<std::string>());
    ASSERT_TRUE(pfs.ok()) << pfs.status();
    EXPECT_EQ(pfs->root.meta.pfs_subtype == kPfsSubtypeSnapshot, listed["subtype"] == "snapshot");
    EXPECT_EQ(FormatUuid(pfs->root.meta.pfs_clid), listed["clid"]);
    EXPECT_EQ(pfs->root.meta.pfs_inum, listed["pfs_inum"]);
    for (const json& entry : listed["entries"]) {
      SCOPED_TRACE(pfs->name + entry["path"].get<std::string>());
      ExpectEntry(*reader, *pfs, entry);
    }
  }
}

void FixtureTest::ExpectEntry(MediaReader& reader, const MediaPfs& pfs, const json& entry) {
  const std::string path = entry.contains("path_hex")
                               ? absl::HexStringToBytes(entry["path_hex"].get<std::string>())
                               : entry["path"].get<std::string>();
  EXPECT_EQ(ShowName(path), entry["path"]);
  const absl::StatusOr<InodeData> inode = reader.Lookup(pfs, path);
  ASSERT_TRUE(inode.ok()) << inode.status();
  EXPECT_EQ(inode->meta.inum.v, entry["inum"]);
  EXPECT_EQ(inode->meta.nlinks, entry["nlinks"]);
  EXPECT_EQ(OwnerId(inode->meta.uid), entry["uid"]);
  EXPECT_EQ(inode->meta.mtime, entry["mtime"]);
  if (entry["type"] == "directory") {
    EXPECT_EQ(inode->meta.type, ObjectType::kDirectory);
    const auto entries = reader.ListDirectory(*inode);
    ASSERT_TRUE(entries.ok()) << entries.status();
    EXPECT_EQ(entries->size(), entry["count"]);
  } else if (entry["type"] == "symlink") {
    const absl::StatusOr<std::string> target = reader.ReadLink(*inode);
    ASSERT_TRUE(target.ok()) << target.status();
    EXPECT_EQ(ShowName(*target), entry["target"]);
  } else if (entry["type"] == "file") {
    EXPECT_EQ(inode->meta.size, entry["size"]);
    EXPECT_EQ(inode->meta.directdata(), entry["embedded"]);
    ExpectContents(reader, *inode, entry);
  }
}

void FixtureTest::ExpectContents(MediaReader& reader, const InodeData& inode, const json& entry) {
  if (inode.meta.size <= kHashedMax) {
    const absl::StatusOr<std::string> sha = FileSha256(reader, inode);
    ASSERT_TRUE(sha.ok()) << sha.status();
    EXPECT_EQ(*sha, entry["sha256"]);
  }
  if (entry.value("embedded", false)) return;
  uint64_t blocks = 0;
  const absl::Status walked = reader.ForEachBlock(inode, [&](uint64_t off, ConstByteSpan bytes) {
    EXPECT_LE(off + bytes.size(), inode.meta.size);
    ++blocks;
    return absl::OkStatus();
  });
  EXPECT_TRUE(walked.ok()) << walked;
  EXPECT_EQ(blocks, entry["blocks"]);
  for (const json& extent : entry.value("extents", json::array())) {
    std::vector<std::byte> bytes(extent[1].get<size_t>());
    const absl::StatusOr<uint64_t> got = reader.Read(inode, extent[0].get<uint64_t>(), bytes);
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_EQ(*got, bytes.size());
    EXPECT_EQ(Sha256Hex(bytes), extent[2]);
  }
}

INSTANTIATE_TEST_SUITE_P(All, FixtureTest, testing::ValuesIn(FixtureNames()),
                         [](const testing::TestParamInfo<std::string>& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(FixtureTest);

TEST(Fixtures, AreThere) {
  if (FixtureNames().empty()) SkipLoudly("every test of core/fsck over the reference's images");
  EXPECT_EQ(FixtureNames().empty(), !SharedDir().has_value());
}

}  // namespace
}  // namespace h2bd
