#include <gmock/gmock.h>

#include "client/api/client.h"
#include "core/base/status.h"
#include "tests/client/client_fixture.h"

namespace h2bd::client {
namespace {

class TransactionTest : public ClientFixture {
 protected:
  TransactionTest() { server_.AddDisk("vm2", kDiskBytes); }

  // One with a write to each of two disks.
  Transaction Staged() {
    absl::StatusOr<Transaction> transaction = client_->Begin();
    EXPECT_TRUE(transaction.ok()) << transaction.status();
    EXPECT_TRUE(transaction->Write(Disk("vm1"), 0, AsBytes("one")).ok());
    EXPECT_TRUE(transaction->Write(Disk("vm2"), 5, AsBytes("two")).ok());
    return *std::move(transaction);
  }
  bool IsApplied() {
    return server_.Content("vm1").starts_with("one") &&
           server_.Content("vm2").substr(5, 3) == "two";
  }
};

TEST_F(TransactionTest, NothingShowsBeforeCommit) {
  Transaction transaction = Staged();
  EXPECT_FALSE(IsApplied());
  const absl::StatusOr<TransactionInfo> info = transaction.Commit(Durability::kAccepted);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->state, TransactionState::kApplied);
  EXPECT_TRUE(IsApplied());
  EXPECT_FALSE(server_.DurableContent("vm1").starts_with("one"));
}

TEST_F(TransactionTest, ASizeIsStagedLikeAWrite) {
  Transaction transaction = Staged();
  ASSERT_TRUE(transaction.Resize(Disk("vm2"), 100).ok());
  EXPECT_EQ(server_.Content("vm2").size(), kDiskBytes);
  ASSERT_TRUE(transaction.Commit(Durability::kAccepted).ok());
  EXPECT_EQ(server_.Content("vm2").size(), 100u);
  EXPECT_TRUE(IsApplied());
}

TEST_F(TransactionTest, AStagedSizeThatMayBeLostSpoilsIt) {
  Transaction transaction = Staged();
  server_.FailNext("ResizeDisk", 1, kUnavailable);
  const absl::Status status = transaction.Resize(Disk("vm1"), 9);
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_EQ(server_.calls("ResizeDisk"), 1);  // not sent again
  EXPECT_TRUE(absl::IsAborted(transaction.Commit(Durability::kAccepted).status()));
}

TEST_F(TransactionTest, ADurableCommitIsDurable) {
  EXPECT_EQ(Staged().Commit(Durability::kDurable)->state, TransactionState::kDurable);
  EXPECT_TRUE(server_.DurableContent("vm1").starts_with("one"));
}

TEST_F(TransactionTest, ACommitIsAsDurableAsItsBeginSaid) {
  for (const bool answer_is_lost : {false, true}) {
    absl::StatusOr<Transaction> durable = client_->Begin({.durability = Durability::kDurable});
    ASSERT_TRUE(durable.ok()) << durable.status();
    const std::string text = answer_is_lost ? "lost" : "kept";
    ASSERT_TRUE(durable->Write(Disk("vm1"), 0, AsBytes(text)).ok());
    if (answer_is_lost) server_.LoseNextAnswer("CommitTransaction");
    const absl::StatusOr<TransactionInfo> info = durable->Commit();
    ASSERT_TRUE(info.ok()) << info.status();
    EXPECT_EQ(info->state, TransactionState::kDurable);
    EXPECT_TRUE(server_.DurableContent("vm1").starts_with(text));
  }
  absl::StatusOr<Transaction> told = client_->Begin({.durability = Durability::kDurable});
  ASSERT_TRUE(told.ok()) << told.status();
  EXPECT_EQ(told->Commit(Durability::kAccepted)->state, TransactionState::kApplied);
  EXPECT_EQ(Staged().Commit()->state, TransactionState::kApplied);
}

TEST_F(TransactionTest, LeavingItAborts) {
  { const Transaction transaction = Staged(); }
  EXPECT_EQ(server_.calls("AbortTransaction"), 1);
  { Staged().Commit(Durability::kAccepted).IgnoreError(); }
  EXPECT_EQ(server_.calls("AbortTransaction"), 1);
}

TEST_F(TransactionTest, ALostAnswerIsAskedForAgain) {
  Transaction transaction = Staged();
  server_.LoseNextAnswer("CommitTransaction");
  const absl::StatusOr<TransactionInfo> info = transaction.Commit(Durability::kAccepted);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->state, TransactionState::kApplied);
  EXPECT_EQ(server_.calls("CommitTransaction"), 1);
}

TEST_F(TransactionTest, ACommitThatNeverArrivedIsAborted) {
  Transaction transaction = Staged();
  server_.FailNext("CommitTransaction", 1, kUnavailable);
  const absl::Status status = transaction.Commit(Durability::kAccepted).status();
  EXPECT_TRUE(absl::IsAborted(status)) << status;
  EXPECT_FALSE(IsApplied());
  EXPECT_EQ(transaction.Get()->state, TransactionState::kAborted);
}

TEST_F(TransactionTest, AfterARestartTheOutcomeIsUnknown) {
  Transaction transaction = Staged();
  server_.FailNext("CommitTransaction", 1, kUnavailable);
  server_.Restart();
  const absl::Status status = transaction.Commit(Durability::kDurable).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnknown);
  EXPECT_EQ(ReasonOf(status), kReasonOutcomeUnknown);
}

TEST_F(TransactionTest, AStagedWriteThatMayBeLostSpoilsIt) {
  Transaction transaction = Staged();
  server_.FailNext("Write", 1, kUnavailable);
  EXPECT_TRUE(absl::IsUnavailable(transaction.Write(Disk("vm1"), 9, AsBytes("x"))));
  EXPECT_EQ(server_.calls("Write"), 3);  // not sent again
  EXPECT_TRUE(absl::IsAborted(transaction.Commit(Durability::kAccepted).status()));
  EXPECT_EQ(server_.calls("CommitTransaction"), 0);
}

TEST_F(TransactionTest, BeginIsRepeatedWithItsRequestId) {
  server_.FailNext("BeginTransaction", 1, kUnavailable);
  EXPECT_TRUE(client_->Begin({.timeout = absl::Seconds(1.5), .label = "label"}).ok());
  const std::vector<std::string> ids = server_.request_ids();
  ASSERT_EQ(ids.size(), 2u);
  EXPECT_EQ(ids[0], ids[1]);
}

}  // namespace
}  // namespace h2bd::client
