// Staged changes of sizes: what they take, and what they start from.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/trans/transaction_fixture.h"

namespace h2bd {
namespace {

using ::testing::HasSubstr;

// A size that changes takes the disk from the smaller one of both on (spec 04 section 9.1).
TEST_F(Transactions, ASizeTakesEverythingBehindIt) {
  const TxnId a = Begin(), b = Begin();
  EXPECT_EQ(Stage(b, WriteOf(kDisk, 90, 10)), kOk);
  EXPECT_EQ(table_.StageSize(a, kDisk, 200, 99).code(), kAborted) << "cuts off what b wrote";
  EXPECT_EQ(table_.Get(a, OpSeq())->writes, 0u);
  EXPECT_EQ(*table_.StagedSize(a, kDisk), std::nullopt);
  EXPECT_EQ(table_.StageSize(a, kDisk, 200, 100).code(), kOk);
  EXPECT_EQ(*table_.StagedSize(a, kDisk), 100u);
  EXPECT_EQ(*table_.StagedSize(b, kDisk), std::nullopt);
  EXPECT_EQ(*table_.StagedSize(a, kOtherDisk), std::nullopt);
  EXPECT_TRUE(table_.HasStaging(kDisk));
  EXPECT_EQ(Stage(b, WriteOf(kDisk, 0, 100)), kOk) << "before what is cut off";
  const absl::Status met = table_.Stage(b, ZeroesOf(kDisk, 150, 1));
  EXPECT_EQ(met.code(), kAborted);
  EXPECT_THAT(met.message(), HasSubstr(absl::StrCat(a.v)));
  EXPECT_EQ(table_.Abort(a).status(), absl::OkStatus());
  EXPECT_EQ(Stage(b, ZeroesOf(kDisk, 150, 1)), kOk);
}

TEST_F(Transactions, TwoSizesOfOneDiskAlwaysMeet) {
  const TxnId a = Begin(), b = Begin();
  ASSERT_EQ(table_.StageSize(a, kDisk, 100, 200).code(), kOk);
  for (const uint64_t size : {uint64_t{0}, uint64_t{100}, uint64_t{1} << 62}) {
    const absl::Status met = table_.StageSize(b, kDisk, 100, size);
    EXPECT_EQ(met.code(), kAborted) << size;
    EXPECT_THAT(met.message(),
                HasSubstr(absl::StrCat("bytes from ", std::min(size, uint64_t{100}), " on")));
  }
  EXPECT_EQ(table_.StageSize(b, kOtherDisk, 100, 200).code(), kOk);
  EXPECT_EQ(table_.StageSize(a, kDisk, 100, 300).code(), kOk) << "its own";
}

TEST_F(Transactions, ASizeStartsFromTheOneStagedBefore) {
  const TxnId id = Begin();
  for (const uint64_t size : {50, 300, 150}) {
    ASSERT_EQ(table_.StageSize(id, kDisk, 100, size).code(), kOk);
  }
  EXPECT_EQ(*table_.StagedSize(id, kDisk), 150u);
  EXPECT_EQ(table_.staged_bytes(), 0u);
  const auto changes = table_.Prepare(id);
  ASSERT_TRUE(changes.ok());
  std::vector<std::pair<uint64_t, std::optional<uint64_t>>> seen;
  for (const StagedWrite& change : *changes) seen.emplace_back(change.offset, change.new_size);
  EXPECT_THAT(seen,
              ::testing::ElementsAre(std::pair(50, 50), std::pair(50, 300), std::pair(150, 150)));
  EXPECT_EQ(table_.StageSize(id, kDisk, 100, 1).code(), kWrongState);
  EXPECT_EQ(table_.StagedSize(id, kDisk).status().code(), kWrongState);
}

TEST_F(Transactions, AnExclusiveSizeStopsPlainChangesBehindIt) {
  const TxnId exclusive = table_.Begin({.exclusive = true})->id;
  ASSERT_EQ(table_.StageSize(exclusive, kDisk, 100, 60).code(), kOk);
  EXPECT_EQ(table_.CheckPlainChange(kDisk, 0, 60), absl::OkStatus());
  EXPECT_EQ(table_.CheckPlainChange(kDisk, 59, 2).code(), kAborted);
}

}  // namespace
}  // namespace h2bd
