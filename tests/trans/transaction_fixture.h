// A table of transactions whose time stands still unless a test moves it.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <utility>

#include "core/trans/transactions.h"

namespace h2bd {

class FakeClock final : public Clock {
 public:
  absl::Time WallNow() const override { return absl::FromUnixSeconds(1'700'000'000); }
  absl::Duration MonotonicNow() const override {
    return absl::Nanoseconds(now_ns_.load(std::memory_order_relaxed));
  }
  void Advance(absl::Duration by) {
    now_ns_.fetch_add(absl::ToInt64Nanoseconds(by), std::memory_order_relaxed);
  }

 private:
  std::atomic<int64_t> now_ns_{1'000'000'000'000};
};

inline constexpr DiskId kDisk{Key(1), Inum(1024)};
inline constexpr DiskId kOtherDisk{Key(1), Inum(1025)};

StagedWrite WriteOf(const DiskId& disk, uint64_t offset, uint64_t length, char fill = 'x');
StagedWrite ZeroesOf(const DiskId& disk, uint64_t offset, uint64_t length);

class Transactions : public ::testing::Test {
 protected:
  explicit Transactions(TransactionLimits limits = {}) : table_(limits, clock_) {}

  TxnId Begin() {
    const auto info = table_.Begin({});
    EXPECT_EQ(info.status(), absl::OkStatus());
    return info.ok() ? info->id : TxnId();
  }
  absl::StatusCode Stage(TxnId id, StagedWrite write) {
    return table_.Stage(id, std::move(write)).code();
  }
  TxnState StateOf(TxnId id) { return table_.Get(id, OpSeq(0)).value().state; }

  static constexpr auto kOk = absl::StatusCode::kOk;
  static constexpr auto kAborted = absl::StatusCode::kAborted;
  static constexpr auto kFull = absl::StatusCode::kResourceExhausted;
  static constexpr auto kWrongState = absl::StatusCode::kFailedPrecondition;
  FakeClock clock_;
  TransactionTable table_;
};

}  // namespace h2bd
