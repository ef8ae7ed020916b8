// The reference's images through the engine: every regular file reads back with the recorded hash,
// and a volume that h2bd has changed is clean and keeps its old files.
#include "tests/support/fixtures.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <map>
#include <nlohmann/json.hpp>
#include <span>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/random.h"
#include "core/fsck/check.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

using nlohmann::json;

// Larger files are compared by the tools' own tests; here one pass must stay short.
constexpr uint64_t kHashedBytesMax = 256 * kMiB;

const json& Manifest() {
  static const json manifest = json::parse(*FixtureManifest());
  return manifest;
}

const json& ImageOf(const std::string& name) {
  for (const json& image : Manifest()["images"]) {
    if (image["name"] == name) return image;
  }
  return Manifest().at("no such image");
}

absl::StatusOr<std::string> Sha256Of(Volume& volume, const DiskRef& disk, uint64_t offset,
                                     uint64_t length) {
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> hash(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_DigestInit_ex(hash.get(), EVP_sha256(), nullptr);
  std::vector<std::byte> chunk(kMiB);
  for (uint64_t at = 0; at < length;) {
    const ByteSpan part = ByteSpan(chunk).first(std::min<uint64_t>(chunk.size(), length - at));
    H2_RETURN_IF_ERROR(volume.Read(disk, offset + at, part, {}));
    EVP_DigestUpdate(hash.get(), part.data(), part.size());
    at += part.size();
  }
  std::string digest(32, '\0');
  EVP_DigestFinal_ex(hash.get(), reinterpret_cast<unsigned char*>(digest.data()), nullptr);
  return std::string(absl::BytesToHexString(digest));
}

std::string PathOf(const json& entry) {
  const std::string path =
      entry.contains("path_hex")
          ? std::string(absl::HexStringToBytes(entry["path_hex"].get<std::string>()))
          : entry["path"].get<std::string>();
  return path.substr(1);
}

// Reads every regular file of every PFS; returns how many were compared.
int CompareFiles(Volume& volume, const json& image) {
  int compared = 0;
  for (const json& pfs : image["pfs"]) {
    for (const json& entry : pfs["entries"]) {
      if (entry["type"] != "file") continue;
      const DiskName name{pfs["name"], PathOf(entry)};
      SCOPED_TRACE(name.ToString());
      const absl::StatusOr<DiskRef> disk = volume.OpenDisk(name);
      EXPECT_TRUE(disk.ok()) << disk.status();
      if (!disk.ok()) continue;
      EXPECT_EQ((*disk)->size_bytes(), entry["size"].get<uint64_t>());
      if (entry.contains("extents")) {
        for (const json& extent : entry["extents"]) {
          const absl::StatusOr<std::string> digest =
              Sha256Of(volume, *disk, extent[0].get<uint64_t>(), extent[1].get<uint64_t>());
          EXPECT_TRUE(digest.ok()) << digest.status();
          if (digest.ok()) {
            EXPECT_EQ(*digest, extent[2].get<std::string>());
          }
        }
      } else if (entry["size"].get<uint64_t>() <= kHashedBytesMax) {
        const absl::StatusOr<std::string> digest =
            Sha256Of(volume, *disk, 0, entry["size"].get<uint64_t>());
        EXPECT_TRUE(digest.ok()) << digest.status();
        if (digest.ok()) {
          EXPECT_EQ(*digest, entry["sha256"].get<std::string>());
        }
      }
      ++compared;
    }
  }
  return compared;
}

// The last PFS that is neither LOCAL nor a snapshot.
const json& ChangeablePfs(const json& image) {
  const json* found = nullptr;
  for (const json& pfs : image["pfs"]) {
    if (pfs["name"] != "LOCAL" && pfs["subtype"] == "none") found = &pfs;
  }
  return found != nullptr ? *found : Manifest().at("no changeable PFS");
}

class FixtureTest : public ::testing::TestWithParam<std::string> {};

TEST_P(FixtureTest, EveryRegularFileReadsBack) {
  absl::StatusOr<SparseImage> image = LoadFixture(GetParam());
  ASSERT_TRUE(image.ok()) << image.status();
  MemoryDevice device(*image);
  VolumeOptions options = ManualOptions();
  options.read_only = true;
  const auto volume = OpenOn(device, options);
  ASSERT_TRUE(volume.ok()) << volume.status();
  EXPECT_GT(CompareFiles(**volume, ImageOf(GetParam())), 0);
  EXPECT_TRUE(device.Snapshot() == *image) << "reading has changed the image";
}

TEST_P(FixtureTest, IsCleanAndKeepsItsFilesAfterChangesAndAHundredSyncs) {
  absl::StatusOr<SparseImage> image = LoadFixture(GetParam());
  ASSERT_TRUE(image.ok()) << image.status();
  MemoryDevice device(*std::move(image));
  const std::string pfs = ChangeablePfs(ImageOf(GetParam()))["name"];
  {
    const auto volume = OpenOn(device, ManualOptions());
    ASSERT_TRUE(volume.ok()) << volume.status();
    for (int i = 0; i < 100; ++i) {
      const DiskName name{pfs, absl::StrCat("h2bd-test-", i % 7)};
      if (i >= 7 && i % 3 == 0) {
        ASSERT_EQ((*volume)->DeleteDisk(name), absl::OkStatus());
      }
      if (i < 7 || i % 3 == 0) {
        ASSERT_TRUE((*volume)->CreateDisk(name, {5 * kMiB}).ok());
      }
      const absl::StatusOr<DiskRef> disk = (*volume)->OpenDisk(name);
      ASSERT_TRUE(disk.ok()) << disk.status();
      ASSERT_EQ(WriteText(**volume, *disk, static_cast<uint64_t>(i) * 40000,
                          std::string(70000, static_cast<char>('a' + i % 26))),
                absl::OkStatus());
      const auto synced = (*volume)->Sync(nullptr, {});
      ASSERT_TRUE(synced.ok()) << synced.status();
      ASSERT_TRUE(synced->ran_cycle);
    }
    ASSERT_EQ((*volume)->Close(), absl::OkStatus());
  }
  BlockDevice* devices[] = {&device};
  const CheckReport report = CheckDevices(devices);
  EXPECT_EQ(report.errors, 0u) << report.ToString();
  const auto volume = OpenOn(device, ManualOptions());
  ASSERT_TRUE(volume.ok()) << volume.status();
  CompareFiles(**volume, ImageOf(GetParam()));
}

// Whatever form the reference gave a file (bytes in the inode, short last blocks, any codec and
// check code), writing, growing and shrinking it work, and what was not written stays.
// Of all PFSs that are no snapshots.
std::vector<DiskName> ChangeableFiles(const json& image, uint64_t size_max) {
  std::vector<DiskName> names;
  for (const json& pfs : image["pfs"]) {
    if (pfs["subtype"] != "none") continue;
    for (const json& entry : pfs["entries"]) {
      if (entry["type"] == "file" && entry["size"].get<uint64_t>() <= size_max) {
        names.push_back({pfs["name"], PathOf(entry)});
      }
    }
  }
  return names;
}

// Whatever form the reference gave a file (bytes in the inode, short last blocks, any codec and
// check code), writing, growing and shrinking it work, and what was not written stays.
TEST_P(FixtureTest, FilesOfTheReferenceCanBeOverwrittenGrownAndShrunk) {
  constexpr uint64_t kSizeMax = 4 * kMiB;
  constexpr int kFilesMax = 60;
  absl::StatusOr<SparseImage> image = LoadFixture(GetParam());
  ASSERT_TRUE(image.ok()) << image.status();
  MemoryDevice device(*std::move(image));
  SeededRandom rng(TestSeed());
  std::map<DiskId, std::pair<DiskName, std::string>> expected;  // by inode: there are hard links
  {
    const auto volume = OpenOn(device, ManualOptions());
    ASSERT_TRUE(volume.ok()) << volume.status();
    for (const DiskName& name : ChangeableFiles(ImageOf(GetParam()), kSizeMax)) {
      if (expected.size() == kFilesMax) break;
      const absl::StatusOr<DiskRef> disk = (*volume)->OpenDisk(name);
      ASSERT_TRUE(disk.ok()) << disk.status();
      if (expected.contains((*disk)->id())) continue;
      std::string text((*disk)->size_bytes(), '\0');
      ASSERT_EQ((*volume)->Read(*disk, 0, std::as_writable_bytes(std::span(text)), {}),
                absl::OkStatus());

      const uint64_t size = rng.Next64() % (text.size() + 200'000);
      text.resize(size, '\0');
      ASSERT_TRUE((*volume)->ResizeDisk(name, size).ok());
      if (!text.empty()) {
        const uint64_t at = rng.Next64() % text.size();
        const std::string change(std::min<uint64_t>(1 + rng.Next64() % 5000, text.size() - at),
                                 '!');
        ASSERT_EQ(WriteText(**volume, *disk, at, change), absl::OkStatus());
        text.replace(at, change.size(), change);
      }
      expected[(*disk)->id()] = {name, text};
    }
    EXPECT_FALSE(expected.empty());
    const auto synced = (*volume)->Sync(nullptr, {});
    ASSERT_TRUE(synced.ok()) << synced.status();
  }
  BlockDevice* devices[] = {&device};
  const CheckReport report = CheckDevices(devices);
  EXPECT_EQ(report.errors, 0u) << report.ToString();
  const auto volume = OpenOn(device, ManualOptions());
  ASSERT_TRUE(volume.ok()) << volume.status();
  for (const auto& [id, file] : expected) {
    const absl::StatusOr<DiskRef> disk = (*volume)->OpenDisk(file.first);
    ASSERT_TRUE(disk.ok()) << disk.status();
    std::string text((*disk)->size_bytes(), '\0');
    ASSERT_EQ((*volume)->Read(*disk, 0, std::as_writable_bytes(std::span(text)), {}),
              absl::OkStatus());
    EXPECT_TRUE(text == file.second) << file.first.ToString();
  }
}

TEST(HardLinks, AllNamesOfAFileCanBeDeletedInOneCycle) {
  absl::StatusOr<SparseImage> image = LoadFixture("f08-pfs-snapshot");
  if (!image.ok()) return SkipLoudly("deleting hard links of the reference");
  MemoryDevice device(*std::move(image));
  {
    const auto volume = OpenOn(device, ManualOptions());
    ASSERT_TRUE(volume.ok()) << volume.status();
    const DiskRef disk = *(*volume)->OpenDisk({"DATA", "hard1"});
    ASSERT_EQ((*volume)->DeleteDisk({"DATA", "hard1"}), absl::OkStatus());
    EXPECT_EQ(WriteText(**volume, disk, 0, "one name is left"), absl::OkStatus());
    ASSERT_EQ((*volume)->DeleteDisk({"DATA", "hard2"}), absl::OkStatus());
    EXPECT_EQ(WriteText(**volume, disk, 0, "x").code(), absl::StatusCode::kNotFound);
    ASSERT_TRUE((*volume)->Sync(nullptr, {}).ok());
  }
  BlockDevice* devices[] = {&device};
  const CheckReport report = CheckDevices(devices);
  EXPECT_EQ(report.errors, 0u) << report.ToString();
  EXPECT_EQ(report.ToString().find("inode-orphan"), std::string::npos) << report.ToString();
}

std::vector<std::string> Names() {
  std::vector<std::string> names = FixtureNames();
  if (names.empty()) SkipLoudly("the reference's images through the engine");
  return names;
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(FixtureTest);
INSTANTIATE_TEST_SUITE_P(All, FixtureTest, ::testing::ValuesIn(Names()), [](const auto& fixture) {
  std::string name = fixture.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace h2bd
