#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "tests/trans/transaction_fixture.h"

namespace h2bd {
namespace {

using ::testing::HasSubstr;

// --- life
// --------------------------------------------------------------------------------------------

TEST_F(Transactions, CommitHandsOutTheWritesInOrder) {
  const TxnId id = Begin();
  EXPECT_EQ(Stage(id, WriteOf(kDisk, 0, 100, 'a')), kOk);
  EXPECT_EQ(Stage(id, ZeroesOf(kOtherDisk, 50, 1 * kGiB)), kOk);
  EXPECT_EQ(Stage(id, WriteOf(kDisk, 50, 100, 'b')), kOk);
  EXPECT_EQ(table_.staged_bytes(), 200u) << "zeroes need no memory";
  const auto writes = table_.Prepare(id);
  ASSERT_TRUE(writes.ok());
  ASSERT_EQ(writes->size(), 3u);
  EXPECT_EQ((*writes)[0].bytes->span()[0], std::byte{'a'});
  EXPECT_EQ((*writes)[1].bytes, nullptr);
  EXPECT_EQ((*writes)[1].disk, kOtherDisk);
  EXPECT_EQ((*writes)[2].offset, 50u);
  EXPECT_EQ(StateOf(id), TxnState::kPreparing);
  EXPECT_EQ(table_.staged_bytes(), 200u) << "held until the outcome";

  const TxnInfo applied = table_.Applied(id, OpSeq(7));
  EXPECT_EQ(applied.state, TxnState::kApplied);
  EXPECT_EQ(applied.seq, OpSeq(7));
  EXPECT_EQ(table_.staged_bytes(), 0u);
  EXPECT_EQ(table_.Get(id, OpSeq(6))->state, TxnState::kApplied);
  EXPECT_EQ(table_.Get(id, OpSeq(7))->state, TxnState::kDurable);
}

TEST_F(Transactions, FailedCommitIsAborted) {
  const TxnId id = Begin();
  EXPECT_EQ(Stage(id, WriteOf(kDisk, 0, 100)), kOk);
  ASSERT_TRUE(table_.Prepare(id).ok());
  EXPECT_EQ(table_.Failed(id).state, TxnState::kAborted);
  EXPECT_EQ(StateOf(id), TxnState::kAborted);
  EXPECT_FALSE(table_.HasStaging(kDisk));
}

TEST_F(Transactions, OnlyOpenOnesTakeWritesAndCommit) {
  const TxnId id = Begin();
  ASSERT_TRUE(table_.Prepare(id).ok());
  EXPECT_EQ(Stage(id, WriteOf(kDisk, 0, 1)), kWrongState);
  EXPECT_EQ(table_.Prepare(id).status().code(), kWrongState);
  EXPECT_EQ(table_.StagedOn(id, kDisk, 0, 1).status().code(), kWrongState);
  table_.Applied(id, OpSeq(1));
  EXPECT_EQ(Stage(id, WriteOf(kDisk, 0, 1)), kWrongState);
  EXPECT_EQ(table_.Prepare(id).status().code(), kWrongState);

  const auto unknown = absl::StatusCode::kNotFound;
  const TxnId nobody(id.v + 100);
  EXPECT_EQ(Stage(nobody, WriteOf(kDisk, 0, 1)), unknown);
  EXPECT_EQ(table_.Prepare(nobody).status().code(), unknown);
  EXPECT_EQ(table_.Abort(nobody).status().code(), unknown);
  EXPECT_EQ(table_.Get(nobody, OpSeq()).status().code(), unknown);
}

TEST_F(Transactions, AbortDropsTheStaging) {
  const TxnId id = Begin();
  EXPECT_EQ(Stage(id, WriteOf(kDisk, 0, 100)), kOk);
  EXPECT_TRUE(table_.HasStaging(kDisk));
  EXPECT_EQ(table_.Abort(id)->state, TxnState::kAborted);
  EXPECT_FALSE(table_.HasStaging(kDisk));
  EXPECT_EQ(table_.staged_bytes(), 0u);
  EXPECT_EQ(table_.Abort(id)->state, TxnState::kAborted) << "again changes nothing";

  const TxnId applied = Begin();
  ASSERT_TRUE(table_.Prepare(applied).ok());
  table_.Applied(applied, OpSeq(1));
  EXPECT_EQ(table_.Abort(applied).status().code(), kWrongState);
}

TEST_F(Transactions, AbortWaitsForARunningCommit) {
  for (const bool succeeds : {true, false}) {
    const TxnId id = Begin();
    ASSERT_TRUE(table_.Prepare(id).ok());
    absl::Notification aborting;
    absl::StatusOr<TxnInfo> outcome = absl::UnknownError("did not return");
    std::thread aborter([&] {
      aborting.Notify();
      outcome = table_.Abort(id);
    });
    aborting.WaitForNotification();
    if (succeeds) {
      table_.Applied(id, OpSeq(1));
    } else {
      table_.Failed(id);
    }
    aborter.join();
    // Either the abort lost the race and reports the outcome, or it came after it.
    if (succeeds && !outcome.ok()) {
      EXPECT_EQ(outcome.status().code(), kWrongState);
    } else {
      EXPECT_EQ(outcome->state, succeeds ? TxnState::kApplied : TxnState::kAborted);
    }
  }
}

TEST_F(Transactions, AbortAllSparesTheOnesThatCommit) {
  const TxnId open = Begin();
  const TxnId committing = Begin();
  ASSERT_TRUE(table_.Prepare(committing).ok());
  table_.AbortAll();
  EXPECT_EQ(StateOf(open), TxnState::kAborted);
  EXPECT_EQ(StateOf(committing), TxnState::kPreparing);
  EXPECT_EQ(table_.Applied(committing, OpSeq(1)).state, TxnState::kApplied);
}

// An id from before a restart must not name somebody else's transaction.
TEST_F(Transactions, IdsOfALaterServerAreOthers) {
  class LaterClock final : public Clock {
   public:
    absl::Time WallNow() const override { return absl::FromUnixSeconds(1'700'000'060); }
    absl::Duration MonotonicNow() const override { return absl::ZeroDuration(); }
  } later;
  TransactionTable restarted({}, later);
  std::vector<TxnId> ids;
  for (int i = 0; i < 100; ++i) ids.push_back(Begin());
  const TxnId first = restarted.Begin({})->id;
  EXPECT_THAT(ids, ::testing::Each(::testing::Lt(first)));
}

TEST_F(Transactions, ManyEndedOnesAreForgottenOldestFirst) {
  const TxnId long_open = Begin();
  const TxnId first = Begin();
  ASSERT_TRUE(table_.Abort(first).ok());
  for (int i = 0; i < 5000; ++i) ASSERT_TRUE(table_.Abort(Begin()).ok());
  EXPECT_EQ(table_.Get(first, OpSeq()).status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(table_.Abort(long_open).ok());
  EXPECT_EQ(StateOf(long_open), TxnState::kAborted) << "it ended last, though its id is the lowest";
}

// --- conflicts
// ---------------------------------------------------------------------------------------

TEST_F(Transactions, TheLaterOfTwoOverlappingWritesIsRefused) {
  const TxnId a = Begin();
  const TxnId b = Begin();
  EXPECT_EQ(Stage(a, WriteOf(kDisk, 100, 100)), kOk);
  EXPECT_EQ(Stage(b, WriteOf(kDisk, 0, 100)), kOk) << "touches";
  EXPECT_EQ(Stage(b, WriteOf(kDisk, 200, 100)), kOk) << "touches";
  EXPECT_EQ(Stage(b, WriteOf(kOtherDisk, 100, 100)), kOk) << "another disk";
  const absl::Status refused = table_.Stage(b, WriteOf(kDisk, 199, 1));
  EXPECT_EQ(refused.code(), kAborted);
  EXPECT_THAT(refused.message(), HasSubstr(absl::StrCat(a.v)));
  EXPECT_EQ(Stage(b, ZeroesOf(kDisk, 0, 1 * kGiB)), kAborted);
  EXPECT_EQ(Stage(a, WriteOf(kDisk, 99, 1)), kAborted);
  EXPECT_EQ(StateOf(b), TxnState::kOpen);
  EXPECT_EQ(table_.Get(b, OpSeq())->writes, 3u);
  EXPECT_EQ(Stage(a, WriteOf(kDisk, 150, 10)), kOk) << "its own range";
}

TEST_F(Transactions, ARangeIsTakenUntilTheOutcome) {
  const TxnId a = Begin();
  const TxnId b = Begin();
  EXPECT_EQ(Stage(a, WriteOf(kDisk, 0, 100)), kOk);
  ASSERT_TRUE(table_.Prepare(a).ok());
  EXPECT_EQ(Stage(b, WriteOf(kDisk, 0, 100)), kAborted);
  EXPECT_TRUE(table_.HasStaging(kDisk));
  table_.Applied(a, OpSeq(1));
  EXPECT_EQ(Stage(b, WriteOf(kDisk, 0, 100)), kOk);
}

// Spec 04 section 9.3.
TEST_F(Transactions, OnlyAnExclusiveOneStopsPlainChanges) {
  const TxnId shared = Begin();
  ASSERT_EQ(Stage(shared, WriteOf(kDisk, 0, 100)), kOk);
  EXPECT_EQ(table_.CheckPlainChange(kDisk, 0, 100), absl::OkStatus());
  const TxnId exclusive = table_.Begin({.exclusive = true})->id;
  ASSERT_EQ(Stage(exclusive, WriteOf(kDisk, 1000, 100)), kOk);
  EXPECT_EQ(table_.CheckPlainChange(kDisk, 0, 1000), absl::OkStatus());
  EXPECT_EQ(table_.CheckPlainChange(kDisk, 1100, 1), absl::OkStatus());
  EXPECT_EQ(table_.CheckPlainChange(kOtherDisk, 1000, 100), absl::OkStatus());
  const absl::Status met = table_.CheckPlainChange(kDisk, 1099, 50);
  EXPECT_EQ(met.code(), kAborted);
  EXPECT_THAT(met.message(), HasSubstr("exclusive transaction"));
  EXPECT_EQ(table_.Abort(exclusive).status(), absl::OkStatus());
  EXPECT_EQ(table_.CheckPlainChange(kDisk, 1099, 50), absl::OkStatus());
}

TEST_F(Transactions, AnExclusiveOneThatIsForgottenStopsNobodyForLong) {
  const TxnId exclusive = table_.Begin({.exclusive = true})->id;
  ASSERT_EQ(Stage(exclusive, WriteOf(kDisk, 0, 100)), kOk);
  EXPECT_EQ(table_.CheckPlainChange(kDisk, 0, 1).code(), kAborted);
  clock_.Advance(absl::Seconds(31));
  EXPECT_EQ(table_.CheckPlainChange(kDisk, 0, 1), absl::OkStatus());
}

TEST_F(Transactions, StagedOnFindsWhatMeetsTheRange) {
  const TxnId id = Begin();
  EXPECT_EQ(Stage(id, WriteOf(kDisk, 0, 100, 'a')), kOk);
  EXPECT_EQ(Stage(id, WriteOf(kDisk, 200, 100, 'b')), kOk);
  EXPECT_EQ(Stage(id, WriteOf(kOtherDisk, 0, 100, 'c')), kOk);
  EXPECT_EQ(Stage(id, WriteOf(kDisk, 50, 200, 'd')), kOk);
  const auto fills = [&](uint64_t offset, uint64_t length) {
    const auto writes = table_.StagedOn(id, kDisk, offset, length);
    EXPECT_EQ(writes.status(), absl::OkStatus());
    std::string text;
    for (const StagedWrite& w : *writes) {
      text += static_cast<char>(w.bytes->span()[0]);
    }
    return text;
  };
  EXPECT_EQ(fills(0, 1000), "abd");
  EXPECT_EQ(fills(100, 100), "d");
  EXPECT_EQ(fills(299, 1), "b");
  EXPECT_EQ(fills(300, UINT64_MAX), "");
  EXPECT_EQ(fills(0, 0), "");
}

TEST_F(Transactions, IllegalRangesAreRefused) {
  const TxnId id = Begin();
  const auto invalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(Stage(id, ZeroesOf(kDisk, UINT64_MAX - 9, 11)), invalid);
  StagedWrite odd = WriteOf(kDisk, 0, 100);
  odd.length = 99;
  EXPECT_EQ(Stage(id, odd), invalid);
  EXPECT_EQ(Stage(id, ZeroesOf(kDisk, 5, 0)), kOk);
  EXPECT_EQ(table_.Get(id, OpSeq())->writes, 0u);
  EXPECT_FALSE(table_.HasStaging(kDisk));
}

// --- limits
// ------------------------------------------------------------------------------------------

class TransactionLimit : public Transactions {
 protected:
  static TransactionLimits Small() {
    TransactionLimits limits;
    limits.staged_bytes_per_transaction = 1000;
    limits.staged_bytes_total = 1500;
    limits.writes_per_transaction = 4;
    limits.disks_per_transaction = 2;
    limits.open_transactions = 3;
    return limits;
  }
  TransactionLimit() : Transactions(Small()) {}
};

TEST_F(TransactionLimit, EachIsKeptAndReleased) {
  const TxnId a = Begin();
  EXPECT_EQ(Stage(a, WriteOf(kDisk, 0, 1001)), kFull);
  EXPECT_EQ(Stage(a, WriteOf(kDisk, 0, 900)), kOk);
  EXPECT_EQ(Stage(a, WriteOf(kDisk, 0, 101)), kFull);
  EXPECT_EQ(Stage(a, WriteOf(kDisk, 0, 100)), kOk);
  EXPECT_EQ(Stage(a, ZeroesOf(kDisk, 0, UINT64_MAX)), kOk);
  const TxnId b = Begin();
  EXPECT_EQ(Stage(b, WriteOf(kOtherDisk, 0, 501)), kFull);
  EXPECT_EQ(Stage(b, WriteOf(kOtherDisk, 0, 500)), kOk);
  EXPECT_EQ(Stage(b, ZeroesOf({Key(2), Inum(1)}, 0, 1)), kOk);
  EXPECT_EQ(Stage(b, ZeroesOf({Key(2), Inum(2)}, 0, 1)), kFull) << "a third disk";
  EXPECT_EQ(table_.StageSize(b, {Key(2), Inum(2)}, 0, 1).code(), kFull) << "a third disk";
  EXPECT_EQ(table_.StageSize(a, kDisk, 7, 8).code(), kOk);
  EXPECT_EQ(Stage(a, ZeroesOf(kDisk, 0, 1)), kFull) << "a fifth write";
  EXPECT_EQ(table_.StageSize(a, kDisk, 7, 9).code(), kFull) << "a size is a write";
  EXPECT_EQ(*table_.StagedSize(a, kDisk), 8u);
  Begin();
  EXPECT_EQ(table_.Begin({}).status().code(), kFull);
  ASSERT_TRUE(table_.Abort(a).ok());
  EXPECT_EQ(Stage(Begin(), WriteOf(kDisk, 0, 1000)), kOk);
}

// Spec 04 section 9.4: open ones per session.
TEST_F(Transactions, ASessionHasALimitOfItsOwn) {
  const auto begin = [&](const std::string& session) { return table_.Begin({.session = session}); };
  std::vector<TxnId> ids;
  for (int i = 0; i < 16; ++i) ids.push_back(begin("a")->id);
  const absl::Status full = begin("a").status();
  EXPECT_EQ(full.code(), kFull);
  EXPECT_THAT(full.message(), HasSubstr("16 open transactions per session"));
  EXPECT_EQ(begin("b").status(), absl::OkStatus());
  for (int i = 0; i < 40; ++i) EXPECT_EQ(begin("").status(), absl::OkStatus()) << "not known";

  ASSERT_TRUE(table_.Abort(ids[0]).ok());
  EXPECT_EQ(begin("a").status(), absl::OkStatus());
  EXPECT_EQ(begin("a").status().code(), kFull);
  ASSERT_TRUE(table_.Prepare(ids[1]).ok());
  EXPECT_EQ(begin("a").status().code(), kFull) << "open until the outcome";
  table_.Applied(ids[1], OpSeq(1));
  EXPECT_EQ(begin("a").status(), absl::OkStatus());
  clock_.Advance(absl::Seconds(31));
  for (int i = 0; i < 16; ++i) EXPECT_EQ(begin("a").status(), absl::OkStatus()) << "all expired";
  EXPECT_EQ(begin("a").status().code(), kFull);
}

// Spec 04 section 9.1.
TEST_F(Transactions, DurableByDefaultIsRememberedToTheEnd) {
  const TxnInfo plain = *table_.Begin({});
  EXPECT_FALSE(plain.durable_by_default);
  const TxnInfo begun = *table_.Begin({.durable = true});
  EXPECT_TRUE(begun.durable_by_default);
  EXPECT_TRUE(table_.Get(begun.id, OpSeq())->durable_by_default);
  ASSERT_TRUE(table_.Prepare(begun.id).ok());
  EXPECT_TRUE(table_.Applied(begun.id, OpSeq(1)).durable_by_default);
}

TEST_F(TransactionLimit, OptionsAreChecked) {
  const auto begin = [&](absl::Duration timeout, size_t label) {
    return table_.Begin({timeout, std::string(label, 'l')}).status().code();
  };
  EXPECT_EQ(begin(absl::Seconds(301), 0), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(begin(-absl::Seconds(1), 0), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(begin(absl::Seconds(1), 129), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(begin(absl::Seconds(300), 128), kOk);
}

// --- time
// --------------------------------------------------------------------------------------------

TEST_F(Transactions, IdleOnesExpireAndTouchedOnesDoNot) {
  const TxnId idle = Begin();
  const TxnId busy = Begin();
  EXPECT_EQ(Stage(idle, WriteOf(kDisk, 0, 100)), kOk);
  for (int i = 0; i < 4; ++i) {
    clock_.Advance(absl::Seconds(20));
    EXPECT_EQ(Stage(busy, WriteOf(kOtherDisk, 0, 1)), kOk);
  }
  EXPECT_EQ(StateOf(idle), TxnState::kExpired);
  EXPECT_EQ(Stage(idle, WriteOf(kDisk, 0, 1)), kWrongState);
  EXPECT_EQ(table_.Abort(idle)->state, TxnState::kExpired);
  EXPECT_FALSE(table_.HasStaging(kDisk));
  EXPECT_EQ(StateOf(busy), TxnState::kOpen);
  EXPECT_EQ(table_.Get(busy, OpSeq())->expires_in, absl::Seconds(30));
}

TEST_F(Transactions, TheTotalTimeIsKeptHoweverBusy) {
  const auto info = table_.Begin({absl::Seconds(50), ""});
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->expires_in, absl::Seconds(30));
  clock_.Advance(absl::Seconds(25));
  EXPECT_EQ(Stage(info->id, WriteOf(kDisk, 0, 1)), kOk);
  EXPECT_EQ(table_.Get(info->id, OpSeq())->expires_in, absl::Seconds(25));
  clock_.Advance(absl::Seconds(24));
  EXPECT_EQ(StateOf(info->id), TxnState::kOpen);
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(StateOf(info->id), TxnState::kExpired);
}

TEST_F(Transactions, ACommitInProgressDoesNotExpire) {
  const TxnId id = Begin();
  ASSERT_TRUE(table_.Prepare(id).ok());
  clock_.Advance(absl::Hours(1));
  table_.ExpireOld();
  EXPECT_EQ(StateOf(id), TxnState::kPreparing);
  EXPECT_EQ(table_.Applied(id, OpSeq(3)).seq, OpSeq(3));
}

// --- figures
// -----------------------------------------------------------------------------------------

TEST_F(Transactions, CountsByResult) {
  class Collect final : public MetricVisitor {
   public:
    void OnCounter(absl::string_view name, absl::string_view, const MetricLabels& labels,
                   double value) override {
      values[absl::StrCat(name, labels.empty() ? "" : absl::StrCat("/", labels[0].second))] = value;
    }
    void OnGauge(absl::string_view name, absl::string_view, const MetricLabels&,
                 double value) override {
      values[std::string(name)] = value;
    }
    void OnHistogram(absl::string_view, absl::string_view, const MetricLabels&,
                     const Histogram&) override {}
    std::map<std::string, double> values;
  } seen;
  const TxnId applied = Begin(), aborted = Begin(), expired = Begin();
  ASSERT_TRUE(table_.Prepare(applied).ok());
  table_.Applied(applied, OpSeq(1));
  ASSERT_TRUE(table_.Abort(aborted).ok());
  clock_.Advance(absl::Hours(1));
  EXPECT_EQ(StateOf(expired), TxnState::kExpired);
  const TxnId open = Begin(), rival = Begin();
  EXPECT_EQ(Stage(open, WriteOf(kDisk, 0, 10)), kOk);
  EXPECT_EQ(Stage(rival, WriteOf(kDisk, 0, 10)), kAborted);
  table_.Describe(seen);
  EXPECT_EQ(seen.values["h2bd_txn_open"], 2);
  EXPECT_EQ(seen.values["h2bd_txn_staged_bytes"], 10);
  EXPECT_EQ(seen.values["h2bd_txn_begun_total"], 5);
  EXPECT_EQ(seen.values["h2bd_txn_total/applied"], 1);
  EXPECT_EQ(seen.values["h2bd_txn_total/aborted"], 1);
  EXPECT_EQ(seen.values["h2bd_txn_total/expired"], 1);
  EXPECT_EQ(seen.values["h2bd_txn_conflicts_total"], 1);
}

// --- against a model
// ---------------------------------------------------------------------------------

// The model: for each byte of two small disks, which open transaction has staged it.
TEST_F(Transactions, ConflictsAreExactlyTheOverlaps) {
  std::mt19937_64 rng(20261123);
  std::map<DiskId, std::array<uint64_t, 256>> owner;
  std::vector<TxnId> open;
  int conflicts = 0;
  for (int step = 0; step < 20'000; ++step) {
    if (open.size() < 2 || rng() % 10 == 0) {
      if (open.size() < 8) open.push_back(Begin());
    }
    const size_t who = rng() % open.size();
    const TxnId id = open[who];
    if (rng() % 12 == 0) {
      if (rng() % 2 == 0) {
        ASSERT_TRUE(table_.Abort(id).ok());
      } else {
        ASSERT_TRUE(table_.Prepare(id).ok());
        table_.Applied(id, OpSeq(static_cast<uint64_t>(step)));
      }
      for (auto& [disk, bytes] : owner) {
        for (uint64_t& byte : bytes) byte = byte == id.v ? 0 : byte;
      }
      open.erase(open.begin() + static_cast<std::ptrdiff_t>(who));
      continue;
    }
    const DiskId disk = rng() % 2 == 0 ? kDisk : kOtherDisk;
    const uint64_t offset = rng() % 250, length = 1 + rng() % (256 - offset) % 40;
    auto& bytes = owner[disk];
    bool clash = false;
    for (uint64_t i = offset; i < offset + length; ++i) clash |= bytes[i] != 0 && bytes[i] != id.v;
    const auto got = Stage(id, ZeroesOf(disk, offset, length));
    ASSERT_EQ(got, clash ? kAborted : kOk) << "step " << step;
    conflicts += clash;
    if (!clash) std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), length, id.v);
  }
  EXPECT_GT(conflicts, 1000);
}

}  // namespace
}  // namespace h2bd
