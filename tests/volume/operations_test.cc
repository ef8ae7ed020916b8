// Long operations (core/volume/operations.h): turns, pace, cancel, progress, ends.
#include "core/volume/operations.h"

#include <functional>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/metric_values.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

using Next = OperationProgress::Next;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// An operation whose steps a test writes.
class Scripted final : public LongOperation {
 public:
  using StepBody = std::function<absl::StatusOr<OperationProgress>(StepBudget&)>;
  Scripted(
      OperationKind kind, StepBody step, std::function<void()> cancelled = [] {})
      : kind_(kind), step_(std::move(step)), cancelled_(std::move(cancelled)) {}
  OperationKind kind() const override { return kind_; }
  std::string what() const override { return "a test"; }
  std::string unit() const override { return "steps"; }
  absl::StatusOr<OperationProgress> Step(StepBudget& budget) override { return step_(budget); }
  void Cancelled() override { cancelled_(); }

 private:
  const OperationKind kind_;
  StepBody step_;
  std::function<void()> cancelled_;
};

// Ends after `steps`, and notes each of them as `name` in `log`.
std::unique_ptr<LongOperation> Counting(OperationKind kind, uint64_t steps, std::string* log,
                                        char name) {
  return std::make_unique<Scripted>(kind, [=, done = uint64_t{0}](StepBudget&) mutable {
    log->push_back(name);
    ++done;
    return OperationProgress{.next = done == steps ? Next::kFinished : Next::kMore,
                             .done = done,
                             .total = steps,
                             .result = done == steps ? "all of it" : ""};
  });
}

class OperationsTest : public ::testing::Test {
 protected:
  FakeClock clock_;
  Operations operations_{clock_, NullLogger(), {.manual = true}};
};

TEST_F(OperationsTest, OperationsTakeTurnsOfOneStep) {
  std::string log;
  ASSERT_TRUE(operations_.Start(Counting(OperationKind::kScrub, 3, &log, 's')).ok());
  ASSERT_TRUE(operations_.Start(Counting(OperationKind::kReap, 2, &log, 'r')).ok());
  while (operations_.RunStep()) {
  }
  EXPECT_EQ(log, "srsrs");
}

TEST_F(OperationsTest, ProgressAndEndAreShown) {
  std::string log;
  const absl::StatusOr<uint64_t> id =
      operations_.Start(Counting(OperationKind::kAttest, 4, &log, 'a'));
  ASSERT_TRUE(id.ok());
  ASSERT_TRUE(operations_.RunStep());
  clock_.Advance(absl::Seconds(10));
  OperationInfo info = *operations_.Get(*id);
  EXPECT_EQ(info.state, OperationState::kRunning);
  EXPECT_EQ(info.done, 1u);
  EXPECT_EQ(info.total, 4u);
  EXPECT_EQ(info.left, absl::Seconds(30));
  EXPECT_EQ(info.ended, absl::InfiniteFuture());
  info = *operations_.Wait(*id, absl::InfiniteFuture());
  EXPECT_EQ(info.state, OperationState::kDone);
  EXPECT_EQ(info.done, 4u);
  EXPECT_EQ(info.result, "all of it");
  EXPECT_EQ(info.ended - info.began, absl::Seconds(10));
  EXPECT_EQ(info.left, absl::ZeroDuration());
}

TEST_F(OperationsTest, OneOfAKindAtATime) {
  std::string log;
  ASSERT_TRUE(operations_.Start(Counting(OperationKind::kScrub, 1, &log, 's')).ok());
  const absl::Status second =
      operations_.Start(Counting(OperationKind::kScrub, 1, &log, 't')).status();
  EXPECT_EQ(second.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(second.message()), HasSubstr("operation 1"));
  while (operations_.RunStep()) {
  }
  EXPECT_TRUE(operations_.Start(Counting(OperationKind::kScrub, 1, &log, 't')).ok());
}

TEST_F(OperationsTest, ACancelledOperationMakesNoFurtherStep) {
  std::string log;
  bool told = false;
  const absl::StatusOr<uint64_t> id = operations_.Start(std::make_unique<Scripted>(
      OperationKind::kReclaim,
      [&log](StepBudget&) {
        log.push_back('x');
        return OperationProgress{};
      },
      [&told] { told = true; }));
  ASSERT_TRUE(operations_.RunStep());
  ASSERT_TRUE(operations_.Cancel(*id).ok());
  while (operations_.RunStep()) {
  }
  EXPECT_EQ(log, "x");
  EXPECT_TRUE(told);
  EXPECT_EQ(operations_.Get(*id)->state, OperationState::kCancelled);
  EXPECT_TRUE(operations_.Cancel(*id).ok()) << "it has ended already";
}

TEST_F(OperationsTest, AnErrorEndsTheOperationAndIsTold) {
  const absl::StatusOr<uint64_t> id = operations_.Start(std::make_unique<Scripted>(
      OperationKind::kScrub, [](StepBudget&) -> absl::StatusOr<OperationProgress> {
        return absl::DataLossError("a block is damaged");
      }));
  EXPECT_TRUE(operations_.RunStep());
  EXPECT_FALSE(operations_.RunStep());
  const OperationInfo info = *operations_.Get(*id);
  EXPECT_EQ(info.state, OperationState::kFailed);
  EXPECT_EQ(info.status, absl::DataLossError("a block is damaged"));
  const MetricValues values(operations_);
  EXPECT_EQ(values["h2bd_operation_errors_total{kind=scrub}"], 1);
  EXPECT_EQ(values["h2bd_operations_total{kind=scrub,result=failed}"], 1);
  EXPECT_EQ(values["h2bd_operations_total{kind=scrub,result=done}"], 0);
}

TEST_F(OperationsTest, OneThatHasNothingToDoLeavesTheTurnToOthers) {
  std::string log;
  bool work = false;
  ASSERT_TRUE(operations_
                  .Start(std::make_unique<Scripted>(
                      OperationKind::kReap,
                      [&](StepBudget&) {
                        if (work) log.push_back('r');
                        return OperationProgress{.next = work ? Next::kMore : Next::kNothing};
                      }))
                  .ok());
  EXPECT_FALSE(operations_.RunStep());
  ASSERT_TRUE(operations_.Start(Counting(OperationKind::kScrub, 2, &log, 's')).ok());
  EXPECT_TRUE(operations_.RunStep());
  EXPECT_TRUE(operations_.RunStep());
  EXPECT_FALSE(operations_.RunStep());
  EXPECT_EQ(log, "ss");
  work = true;
  EXPECT_TRUE(operations_.RunStep());
  EXPECT_EQ(log, "ssr");
}

TEST_F(OperationsTest, StopEndsAllWithAReasonAndNothingStartsAfterwards) {
  bool told = false;
  const absl::StatusOr<uint64_t> id = operations_.Start(std::make_unique<Scripted>(
      OperationKind::kScrub, [](StepBudget&) { return OperationProgress{}; },
      [&told] { told = true; }));
  operations_.Stop();
  EXPECT_EQ(ReasonOf(operations_.Get(*id)->status), kReasonClosed);
  EXPECT_FALSE(told) << "it was not cancelled: it may go on after a restart";
  std::string log;
  EXPECT_EQ(ReasonOf(operations_.Start(Counting(OperationKind::kReap, 1, &log, 'r')).status()),
            kReasonClosed);
}

TEST_F(OperationsTest, OnlyTheLastThatEndedAreRemembered) {
  std::string log;
  for (size_t i = 0; i < Operations::kRemembered + 2; ++i) {
    ASSERT_TRUE(operations_.Start(Counting(OperationKind::kScrub, 1, &log, 's')).ok());
    while (operations_.RunStep()) {
    }
  }
  EXPECT_EQ(operations_.List().size(), Operations::kRemembered);
  EXPECT_EQ(operations_.List().front().id, 3u);
  for (const uint64_t id : {uint64_t{0}, uint64_t{1}, uint64_t{1000}}) {
    EXPECT_EQ(operations_.Get(id).status().code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(operations_.Cancel(id).code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(operations_.SetPace(id, {}).code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(operations_.Wait(id, absl::InfiniteFuture()).status().code(),
              absl::StatusCode::kNotFound);
  }
  EXPECT_EQ(operations_.SetPace(3, {}).code(), absl::StatusCode::kFailedPrecondition);
}

TEST(StepBudgetTest, EndsByTablesBytesOrTime) {
  FakeClock clock;
  StepBudget tables(&clock);
  for (uint64_t i = 0; i < StepBudget::kTables; ++i) {
    EXPECT_FALSE(tables.Spent());
    tables.Table(1024);
  }
  EXPECT_TRUE(tables.Spent());
  StepBudget bytes(&clock);
  bytes.Data(StepBudget::kBytes - 1);
  EXPECT_FALSE(bytes.Spent());
  bytes.Data(1);
  EXPECT_TRUE(bytes.Spent());
  StepBudget time(&clock), timeless(nullptr);
  clock.Advance(StepBudget::kTime);
  EXPECT_TRUE(time.Spent());
  EXPECT_FALSE(timeless.Spent());
}

// The pace is kept over many steps, whatever their size, and a pause earns no more than a tenth of
// a second of burst.
TEST(OperationPacerTest, KeepsTheRateThatWasSet) {
  OperationPacer pacer({.bytes_per_second = 10 * kMiB});
  absl::Duration now = absl::Seconds(1000);
  const absl::Duration began = now;
  uint64_t moved = 0;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t bytes = (i % 7 + 1) * 64 * kKiB;
    moved += bytes;
    now += pacer.After(bytes, /*clients_wait=*/false, now);
  }
  const double seconds = absl::ToDoubleSeconds(now - began) + 0.1;
  EXPECT_NEAR(static_cast<double>(moved) / seconds, 10.0 * kMiB, 0.01 * kMiB);
  now += absl::Hours(1);
  absl::Duration paused;
  for (int i = 0; i < 2; ++i) paused += pacer.After(1 * kMiB, /*clients_wait=*/false, now);
  EXPECT_NEAR(absl::ToDoubleSeconds(paused), 0.1, 0.001);
}

TEST(OperationPacerTest, StepsBackToAFloorWhileClientsWaitAndReturns) {
  OperationPacer pacer({});
  absl::Duration now = absl::Seconds(1000);
  const auto rate_now = [&](bool clients_wait) {
    now += absl::Hours(100);
    pacer.After(0, clients_wait, now);  // takes the burst into account
    now += absl::Hours(100);
    const absl::Duration pause = pacer.After(10 * kGiB, clients_wait, now);
    return static_cast<double>(10 * kGiB) / (absl::ToDoubleSeconds(pause) + 0.1);
  };
  EXPECT_NEAR(rate_now(false), static_cast<double>(OperationPacer::kFull), 1.0 * kMiB);
  const double busy = rate_now(true);
  EXPECT_LT(busy, static_cast<double>(OperationPacer::kFull) / 2);
  for (int i = 0; i < 20; ++i) rate_now(true);
  EXPECT_NEAR(rate_now(true), static_cast<double>(OperationPacer::kFloor), 0.01 * kMiB);
  for (int i = 0; i < 20; ++i) rate_now(false);
  EXPECT_NEAR(rate_now(false), static_cast<double>(OperationPacer::kFull), 1.0 * kMiB);
}

// A limit below the floor is the caller's wish.
TEST(OperationPacerTest, ALimitBelowTheFloorHolds) {
  OperationPacer pacer({.bytes_per_second = 64 * kKiB});
  for (const bool clients_wait : {true, false}) {
    EXPECT_GE(pacer.After(640 * kKiB, clients_wait, absl::Seconds(1000)), absl::Seconds(9.8));
  }
}

// With a thread: what was started ends without anybody's help, is woken, and is cancelled.
TEST(OperationsThreadTest, RunsWakesAndCancels) {
  Operations operations(SystemClock(), NullLogger(), {});
  std::string log;
  const absl::StatusOr<uint64_t> counted =
      operations.Start(Counting(OperationKind::kScrub, 100, &log, 's'));
  ASSERT_TRUE(counted.ok());
  const absl::StatusOr<OperationInfo> info = operations.Wait(*counted, absl::InfiniteFuture());
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->state, OperationState::kDone);
  EXPECT_EQ(log.size(), 100u);

  std::atomic<bool> work{false};
  const absl::StatusOr<uint64_t> woken =
      operations.Start(std::make_unique<Scripted>(OperationKind::kReap, [&](StepBudget&) {
        return OperationProgress{.next = work ? Next::kFinished : Next::kNothing};
      }));
  work = true;
  operations.Wake(OperationKind::kReap);
  EXPECT_EQ(operations.Wait(*woken, absl::InfiniteFuture())->state, OperationState::kDone);

  const absl::StatusOr<uint64_t> endless = operations.Start(std::make_unique<Scripted>(
      OperationKind::kReclaim, [](StepBudget&) { return OperationProgress{}; }));
  EXPECT_EQ(operations.Wait(*endless, absl::Now()).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(operations.Cancel(*endless).ok());
  EXPECT_EQ(operations.Wait(*endless, absl::InfiniteFuture())->state, OperationState::kCancelled);
  ASSERT_TRUE(operations
                  .Start(std::make_unique<Scripted>(
                      OperationKind::kReclaim, [](StepBudget&) { return OperationProgress{}; }))
                  .ok());
}

// A volume shows its operations, has none at first, and takes no step where nothing is to be done.
TEST(VolumeOperationsTest, AVolumeHasNoneAtFirst) {
  absl::StatusOr<SparseImage> image = FormattedImage(64 * kMiB);
  ASSERT_TRUE(image.ok());
  MemoryDevice device(*std::move(image));
  VolumeOptions options = ManualOptions();
  options.allow_one_header_slot = true;
  absl::StatusOr<std::unique_ptr<Volume>> volume = OpenOn(device, options);
  ASSERT_TRUE(volume.ok()) << volume.status();
  EXPECT_THAT((*volume)->ListOperations(), ElementsAre());
  EXPECT_FALSE((*volume)->RunBackgroundStep());
  EXPECT_EQ((*volume)->CancelOperation(1).code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE((*volume)->Close().ok());
}

}  // namespace
}  // namespace h2bd
