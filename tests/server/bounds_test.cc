// CallGate and RequestTable: what keeps a server's memory bounded.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "core/base/status.h"
#include "server/call_gate.h"
#include "server/request_table.h"

namespace h2bd {
namespace {

class FakeClock final : public Clock {
 public:
  absl::Time WallNow() const override { return absl::UnixEpoch() + now; }
  absl::Duration MonotonicNow() const override { return now; }
  absl::Duration now;
};

TEST(CallGate, RefusesAboveItsLimits) {
  LimitsConfig limits;
  limits.max_calls = 2;
  limits.max_channels = 1;
  limits.max_call_bytes = 100;
  CallGate gate(limits);
  EXPECT_EQ(gate.EnterCall(1000), absl::OkStatus()) << "one large call may be alone";
  const absl::Status bytes = gate.EnterCall(1);
  EXPECT_EQ(bytes.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(bytes), "SERVER_BUSY");
  EXPECT_EQ(gate.EnterCall(0), absl::OkStatus()) << "a call without payload";
  EXPECT_EQ(ReasonOf(gate.EnterCall(0)), "SERVER_BUSY") << "number of calls";
  gate.LeaveCall(1000);
  EXPECT_EQ(gate.EnterCall(100), absl::OkStatus());
  EXPECT_EQ(gate.EnterChannel(), absl::OkStatus());
  EXPECT_EQ(ReasonOf(gate.EnterChannel()), "SERVER_BUSY");
  gate.LeaveChannel();
  EXPECT_EQ(gate.EnterChannel(), absl::OkStatus());
}

TEST(CallGate, DrainsToIdle) {
  CallGate gate{LimitsConfig()};
  EXPECT_EQ(gate.EnterCall(5), absl::OkStatus());
  EXPECT_EQ(gate.EnterChannel(), absl::OkStatus());
  gate.Drain();
  EXPECT_EQ(ReasonOf(gate.EnterCall(0)), "SHUTTING_DOWN");
  EXPECT_EQ(ReasonOf(gate.EnterChannel()), "SHUTTING_DOWN");
  EXPECT_FALSE(gate.WaitIdle(absl::ZeroDuration()));
  std::thread leaver([&gate] {
    gate.LeaveCall(5);
    gate.LeaveChannel();
  });
  EXPECT_TRUE(gate.WaitIdle(absl::InfiniteDuration()));
  leaver.join();
}

// Counts how often the work was really done.
struct Worker {
  int runs = 0;
  absl::StatusOr<std::string> answer = "done";
  absl::StatusOr<std::string> operator()() {
    ++runs;
    return answer;
  }
};

absl::StatusOr<std::string> Ask(RequestTable& table, const std::string& id,
                                const std::string& request, Worker& worker) {
  return table.Run(id, request, absl::InfiniteFuture(), [&worker] { return worker(); });
}

TEST(RequestTable, ARepetitionGetsTheFirstAnswer) {
  const FakeClock clock;
  RequestTable table(clock, 10, absl::Minutes(10));
  Worker worker;
  EXPECT_EQ(*Ask(table, "id", "request", worker), "done");
  worker.answer = "again";
  EXPECT_EQ(*Ask(table, "id", "request", worker), "done");
  EXPECT_EQ(worker.runs, 1);
  EXPECT_EQ(Ask(table, "id", "another", worker).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(worker.runs, 1);
}

TEST(RequestTable, WithoutAnIdNothingIsRemembered) {
  const FakeClock clock;
  RequestTable table(clock, 10, absl::Minutes(10));
  Worker worker;
  EXPECT_TRUE(Ask(table, "", "r", worker).ok());
  EXPECT_TRUE(Ask(table, "", "r", worker).ok());
  EXPECT_EQ(worker.runs, 2);
  EXPECT_EQ(table.size(), 0u);
  EXPECT_EQ(Ask(table, std::string(129, 'x'), "r", worker).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(RequestTable, FailuresAreNotRemembered) {
  const FakeClock clock;
  RequestTable table(clock, 10, absl::Minutes(10));
  Worker worker;
  worker.answer = absl::ResourceExhaustedError("full");
  EXPECT_FALSE(Ask(table, "id", "request", worker).ok());
  worker.answer = "room again";
  EXPECT_EQ(*Ask(table, "id", "request", worker), "room again");
  EXPECT_EQ(worker.runs, 2);
}

TEST(RequestTable, ForgetsByAgeAndByNumber) {
  FakeClock clock;
  RequestTable table(clock, 3, absl::Minutes(10));
  Worker worker;
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(Ask(table, absl::StrCat(i), "r", worker).ok());
  EXPECT_EQ(table.size(), 3u);
  EXPECT_TRUE(Ask(table, "4", "r", worker).ok());
  EXPECT_EQ(worker.runs, 5) << "the newest is remembered";
  EXPECT_TRUE(Ask(table, "0", "r", worker).ok());
  EXPECT_EQ(worker.runs, 6) << "the oldest is forgotten";
  clock.now += absl::Minutes(11);
  EXPECT_TRUE(Ask(table, "0", "r", worker).ok());
  EXPECT_EQ(worker.runs, 7);
  EXPECT_EQ(table.size(), 1u);
}

TEST(RequestTable, ARepetitionWaitsForTheFirst) {
  const FakeClock clock;
  RequestTable table(clock, 10, absl::Minutes(10));
  absl::Notification started, go_on;
  std::thread first([&] {
    const auto answer =
        table.Run("id", "r", absl::InfiniteFuture(), [&]() -> absl::StatusOr<std::string> {
          started.Notify();
          go_on.WaitForNotification();
          return "slow";
        });
    EXPECT_EQ(*answer, "slow");
  });
  started.WaitForNotification();
  Worker worker;
  EXPECT_EQ(
      table.Run("id", "r", absl::InfinitePast(), [&worker] { return worker(); }).status().code(),
      absl::StatusCode::kDeadlineExceeded);
  std::thread second([&] { EXPECT_EQ(*Ask(table, "id", "r", worker), "slow"); });
  go_on.Notify();
  first.join();
  second.join();
  EXPECT_EQ(worker.runs, 0);
}

}  // namespace
}  // namespace h2bd
