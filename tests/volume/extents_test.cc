// Which parts of a disk hold data (Volume::GetExtents): against a model of blocks, before, during
// and after cycles.
#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "core/base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fixtures.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

using ::testing::ElementsAre;

constexpr uint64_t kBlock = kLogicalBytes;
constexpr auto kData = ExtentKind::kData;
constexpr auto kHole = ExtentKind::kHole;
constexpr auto kZero = ExtentKind::kZero;

class ExtentsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<SparseImage> image = FormattedImage(1 * kGiB);
    ASSERT_TRUE(image.ok());
    device_ = std::make_unique<MemoryDevice>(*std::move(image));
    Reopen();
  }
  void TearDown() override {
    disk_.reset();
    if (volume_ != nullptr) {
      EXPECT_TRUE(volume_->Close().ok());
    }
    volume_.reset();
    ExpectClean(*device_);
  }
  void Reopen() {
    disk_.reset();
    volume_.reset();
    absl::StatusOr<std::unique_ptr<Volume>> volume = OpenOn(*device_, ManualOptions());
    ASSERT_TRUE(volume.ok()) << volume.status();
    volume_ = *std::move(volume);
    if (volume_->GetDisk({"", "d"}).ok()) disk_ = *volume_->OpenDisk({"", "d"});
  }
  void Make(uint64_t size) {
    ASSERT_TRUE(volume_->CreateDisk({"", "d"}, {.size_bytes = size}).ok());
    disk_ = *volume_->OpenDisk({"", "d"});
  }
  void Fill(uint64_t offset, uint64_t length, char with) {
    while (length > 0) {
      const uint64_t n = std::min<uint64_t>(length, 1 * kMiB);
      ASSERT_TRUE(WriteText(*volume_, disk_, offset, std::string(n, with)).ok());
      offset += n;
      length -= n;
    }
  }
  std::vector<Extent> All(uint64_t offset = 0, uint64_t length = UINT64_MAX,
                          size_t max = Volume::kMaxExtents) {
    const absl::StatusOr<std::vector<Extent>> extents =
        volume_->GetExtents(disk_, offset, length, max);
    EXPECT_TRUE(extents.ok()) << extents.status();
    return extents.value_or(std::vector<Extent>());
  }
  void Sync() { ASSERT_TRUE(volume_->Sync(disk_, {}).ok()); }

  std::unique_ptr<MemoryDevice> device_;
  std::unique_ptr<Volume> volume_;
  DiskRef disk_;
};

TEST_F(ExtentsTest, ShowsWhatIsWrittenPunchedAndZero) {
  Make(1 * kTiB + 5);
  EXPECT_THAT(All(), ElementsAre(Extent{0, 1 * kTiB + 5, kHole}));
  Fill(3 * kBlock, 2 * kBlock, 'a');
  Fill(10 * kBlock, kBlock, '\0');
  Fill(12 * kBlock + 7, 1, 'b');
  Fill(1 * kTiB, 5, 'c');
  const std::vector<Extent> dirty = {{0, 3 * kBlock, kHole},
                                     {3 * kBlock, 2 * kBlock, kData},
                                     {5 * kBlock, 5 * kBlock, kHole},
                                     {10 * kBlock, kBlock, kZero},
                                     {11 * kBlock, kBlock, kHole},
                                     {12 * kBlock, kBlock, kData},
                                     {13 * kBlock, 1 * kTiB - 13 * kBlock, kHole},
                                     {1 * kTiB, 5, kData}};
  EXPECT_EQ(All(), dirty);
  Sync();
  std::vector<Extent> stored = dirty;
  stored[2].length = 7 * kBlock;
  stored.erase(stored.begin() + 3, stored.begin() + 5);
  EXPECT_EQ(All(), stored) << "zeros become a hole with the cycle";
  ASSERT_TRUE(volume_->Discard(disk_, 4 * kBlock, 1 * kTiB - 4 * kBlock, {}).ok());
  EXPECT_THAT(All(), ElementsAre(Extent{0, 3 * kBlock, kHole}, Extent{3 * kBlock, kBlock, kData},
                                 Extent{4 * kBlock, 1 * kTiB - 4 * kBlock, kHole},
                                 Extent{1 * kTiB, 5, kData}));
}

TEST_F(ExtentsTest, ARangeIsCutAndPagedWithoutALoss) {
  Make(100 * kBlock);
  for (uint64_t block = 0; block < 100; block += 2) Fill(block * kBlock, kBlock, 'x');
  Sync();
  EXPECT_THAT(All(5, 3), ElementsAre(Extent{5, 3, kData}));
  EXPECT_THAT(All(kBlock - 1, 2),
              ElementsAre(Extent{kBlock - 1, 1, kData}, Extent{kBlock, 1, kHole}));
  EXPECT_THAT(All(100 * kBlock), ElementsAre());
  EXPECT_THAT(All(0, 0), ElementsAre());
  const std::vector<Extent> whole = All();
  EXPECT_EQ(whole.size(), 100u);
  std::vector<Extent> paged;
  for (uint64_t at = 0; at < 100 * kBlock;) {
    const std::vector<Extent> page = All(at, UINT64_MAX, 7);
    ASSERT_FALSE(page.empty());
    paged.insert(paged.end(), page.begin(), page.end());
    at = page.back().offset + page.back().length;
  }
  EXPECT_EQ(paged, whole);
  EXPECT_EQ(volume_->GetExtents(disk_, 100 * kBlock + 1, 1, 10).status().code(),
            absl::StatusCode::kOutOfRange);
  for (const size_t max : {size_t{0}, Volume::kMaxExtents + 1}) {
    EXPECT_EQ(volume_->GetExtents(disk_, 0, 1, max).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  ASSERT_TRUE(volume_->DeleteDisk({"", "d"}).ok());
  EXPECT_EQ(volume_->GetExtents(disk_, 0, 1, 10).status().code(), absl::StatusCode::kNotFound);
}

// Random changes and cycles against a model of each block; what is said to be no data reads as
// zeros.
TEST_F(ExtentsTest, AgreesWithAModelOfBlocks) {
  SeededRandom random(TestSeed());
  constexpr uint64_t kBlocks = 600;
  Make(kBlocks * kBlock);
  std::map<uint64_t, ExtentKind> model;
  for (int step = 0; step < 400 && !HasFailure(); ++step) {
    const uint64_t first = random.Next64() % kBlocks;
    const uint64_t count = 1 + random.Next64() % std::min<uint64_t>(20, kBlocks - first);
    const uint64_t dice = random.Next64() % 10;
    if (dice < 5) {
      Fill(first * kBlock, count * kBlock, 'x');
      for (uint64_t i = 0; i < count; ++i) model[first + i] = kData;
    } else if (dice < 7) {
      Fill(first * kBlock, count * kBlock, '\0');
      for (uint64_t i = 0; i < count; ++i) model[first + i] = kZero;
    } else if (dice < 9) {
      ASSERT_TRUE(volume_->WriteZeroes(disk_, first * kBlock, count * kBlock, {}).ok());
      for (uint64_t i = 0; i < count; ++i) model.erase(first + i);
    } else {
      Sync();
      std::erase_if(model, [](const auto& block) { return block.second == kZero; });
      if (random.Next64() % 4 == 0) Reopen();
    }
    std::vector<Extent> expected;
    for (uint64_t block = 0; block < kBlocks; ++block) {
      const auto it = model.find(block);
      AppendExtent(expected, block * kBlock, kBlock, it == model.end() ? kHole : it->second);
    }
    ASSERT_EQ(All(), expected) << "step " << step;
  }
  const std::string content = *ReadAll(*volume_, disk_);
  for (const Extent& extent : All()) {
    if (extent.kind == kData) continue;
    EXPECT_TRUE(
        IsAllZero(AsBytes(absl::string_view(content).substr(extent.offset, extent.length))));
  }
}

}  // namespace
}  // namespace h2bd
