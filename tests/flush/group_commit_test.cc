// Who is answered by which cycle, and when cycles run (spec 04 F-310 to F-314). Nothing here
// depends on how fast threads are: a cycle is held at its first block, after its cut, until the
// test lets go.
#include "core/flush/group_commit.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/flush/engine_world.h"
#include "tests/support/fake_clock.h"
#include "tests/support/gated_device.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

constexpr uint64_t kDiskBytes = 1 * kMiB;

// One call of SyncTo: its answer, and how often it came.
class Waiter {
 public:
  Waiter(GroupCommit& commit, OpSeq target) {
    commit.SyncTo(target, [state = state_](absl::StatusOr<SyncResult> result) {
      absl::MutexLock lock(&state->mu);
      ++state->answers;
      state->result = std::move(result);
    });
  }
  absl::StatusOr<SyncResult> Await() const {
    absl::MutexLock lock(&state_->mu);
    state_->mu.Await(absl::Condition(
        +[](State* s) ABSL_EXCLUSIVE_LOCKS_REQUIRED(s->mu) { return s->answers > 0; },
        state_.get()));
    return state_->result;
  }
  int answers() const {
    absl::MutexLock lock(&state_->mu);
    return state_->answers;
  }

 private:
  struct State {
    absl::Mutex mu;
    int answers ABSL_GUARDED_BY(mu) = 0;
    absl::StatusOr<SyncResult> result ABSL_GUARDED_BY(mu) = absl::UnknownError("no answer");
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

class GroupCommitTest : public testing::Test {
 protected:
  GroupCommitTest()
      : device_(*FormattedImage(1 * kGiB)),
        world_(std::make_unique<EngineWorld>(device_, clock_,
                                             GroupCommitOptions{.age = absl::Seconds(5)})) {
    disk_ = world_->Create("d", kDiskBytes);
    EXPECT_TRUE(world_->Sync().ok());
    first_ = Cycles().size();
  }
  ~GroupCommitTest() override {
    world_->allocator().FailAt(0);
    world_->allocator().LetGo();
    disk_.reset();
    world_.reset();
    ExpectClean(device_);
  }
  OpSeq Write() { return world_->Write(disk_, 0, absl::StrCat("write ", ++writes_)); }
  // Of this test, without those that prepared it.
  std::vector<CycleRecord> Cycles() const {
    std::vector<CycleRecord> cycles = world_->flusher().RecentCycles();
    cycles.erase(cycles.begin(), cycles.begin() + static_cast<std::ptrdiff_t>(first_));
    return cycles;
  }
  // Lets the fake time go by, in steps, until so many cycles have run. The thread looks at the
  // clock when something becomes dirty.
  void PassTimeUntil(size_t cycles) {
    while (Cycles().size() < cycles) {
      clock_.Advance(absl::Milliseconds(100));
      world_->commit().NoteDirty();
      std::this_thread::yield();
    }
  }

  FakeClock clock_;
  MemoryDevice device_;
  std::unique_ptr<EngineWorld> world_;
  DiskRef disk_;
  size_t first_ = 0;
  int writes_ = 0;
};

// F-311: the cut of the running cycle decides, not when the Sync came.
TEST_F(GroupCommitTest, ARunningCycleAnswersUpToItsCutAndNothingAbove) {
  GroupCommit& commit = world_->commit();
  FailingAllocator& allocator = world_->allocator();
  allocator.Hold();
  const OpSeq covered = Write();
  const Waiter first(commit, covered);
  allocator.AwaitHeld();  // S_k is `covered`
  const OpSeq above = Write();
  ASSERT_EQ(above, OpSeq(covered.v + 1));
  const Waiter late_but_covered(commit, covered);
  const Waiter just_above(commit, above);
  allocator.LetGo();
  const auto answer = first.Await(), late = late_but_covered.Await();
  ASSERT_TRUE(answer.ok() && late.ok());
  EXPECT_EQ(answer->mirror_tid, late->mirror_tid);
  EXPECT_EQ(answer->durable_opseq, covered);
  const auto next = just_above.Await();
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_EQ(next->mirror_tid, Tid(answer->mirror_tid.v + 1));
  EXPECT_GE(next->durable_opseq, above);
  EXPECT_EQ(Cycles().size(), 2u);
}

// F-312: however many come while one cycle runs, they share one more.
TEST_F(GroupCommitTest, ManySyncsShareTheOneCycleThatIsAskedFor) {
  GroupCommit& commit = world_->commit();
  world_->allocator().Hold();
  const Waiter first(commit, Write());
  world_->allocator().AwaitHeld();
  std::vector<Waiter> waiters;
  for (int i = 0; i < 50; ++i) {
    waiters.emplace_back(commit, Write());
    commit.Request();
  }
  EXPECT_EQ(first.answers(), 0);
  world_->allocator().LetGo();
  const Tid second(first.Await()->mirror_tid.v + 1);
  for (const Waiter& waiter : waiters) {
    const auto answer = waiter.Await();
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(answer->mirror_tid, second);
  }
  EXPECT_EQ(Cycles().size(), 2u);
  // F-310: what is durable needs no cycle.
  const Waiter again(commit, world_->gate().opseq());
  EXPECT_EQ(again.answers(), 1);
  EXPECT_FALSE(again.Await()->ran_cycle);
  commit.Stop();
  EXPECT_EQ(Cycles().size(), 2u);
}

// F-313: those whose change was in the failed cycle, once each; the others get the outcome of
// theirs; the data stays dirty.
TEST_F(GroupCommitTest, AFailedCycleAnswersItsOwnOnceAndTheNextTheOthers) {
  GroupCommit& commit = world_->commit();
  FailingAllocator& allocator = world_->allocator();
  allocator.Hold();
  allocator.FailAt(1);  // the cycle that is held now
  std::vector<Waiter> own, others;
  const OpSeq covered = Write();
  for (int i = 0; i < 10; ++i) own.emplace_back(commit, covered);
  allocator.AwaitHeld();
  const OpSeq above = Write();
  for (int i = 0; i < 10; ++i) {
    own.emplace_back(commit, covered);
    others.emplace_back(commit, above);
  }
  allocator.LetGo();
  for (const Waiter& waiter : others) {
    const auto answer = waiter.Await();
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_GE(answer->durable_opseq, above);
  }
  for (const Waiter& waiter : own) {
    EXPECT_EQ(waiter.Await().status().code(), absl::StatusCode::kResourceExhausted);
  }
  EXPECT_EQ(Cycles().size(), 2u);
  EXPECT_EQ(world_->Sync()->mirror_tid, others.front().Await()->mirror_tid) << "durable by now";
  commit.Stop();
  for (const std::vector<Waiter>* group : {&own, &others}) {
    for (const Waiter& waiter : *group) EXPECT_EQ(waiter.answers(), 1);
  }
}

// Whoever waits when the volume is closed hears of it once, also for the cycle that is running.
TEST_F(GroupCommitTest, StopAnswersEverybodyWhoStillWaits) {
  GroupCommit& commit = world_->commit();
  FailingAllocator& allocator = world_->allocator();
  allocator.Hold();
  std::vector<Waiter> waiters;
  waiters.emplace_back(commit, Write());
  allocator.AwaitHeld();
  for (int i = 0; i < 5; ++i) waiters.emplace_back(commit, Write());
  std::thread stopper([&] { commit.Stop(); });
  // Stop has begun when a Sync is refused at once; it cannot end while the cycle is held.
  for (;;) {
    waiters.emplace_back(commit, Write());
    if (waiters.back().answers() > 0) break;
    std::this_thread::yield();
  }
  EXPECT_EQ(waiters.front().answers(), 0);
  allocator.LetGo();
  stopper.join();
  for (const Waiter& waiter : waiters) {
    EXPECT_EQ(ReasonOf(waiter.Await().status()), kReasonClosed);
    EXPECT_EQ(waiter.answers(), 1);
  }
  EXPECT_EQ(Cycles().size(), 1u) << "the running cycle came to its end";
}

// Retries of cycles that nobody waits for come later and later; a Sync does not wait for them.
TEST_F(GroupCommitTest, RetriesBackOffAndASyncDoesNotWaitForThem) {
  world_->allocator().FailAt(1, /*sticky=*/true);
  Write();
  world_->commit().Request();
  constexpr int kFailures = 8;
  PassTimeUntil(kFailures);
  std::vector<CycleRecord> cycles = Cycles();
  EXPECT_EQ(cycles[0].reason, CycleReason::kPressure);
  absl::Duration pause = absl::Seconds(1);
  for (int i = 1; i < kFailures; ++i) {
    SCOPED_TRACE(i);
    EXPECT_FALSE(cycles[i].status.ok());
    EXPECT_EQ(cycles[i].reason, CycleReason::kRetry);
    EXPECT_GE(cycles[i].began - cycles[i - 1].began, pause);
    pause = std::min(2 * pause, absl::Seconds(32));
  }
  // Requests do not shorten it, a Sync does not care, and its success ends it.
  world_->commit().Request();
  world_->allocator().FailAt(0);
  const absl::Time now = clock_.WallNow();
  EXPECT_TRUE(world_->Sync().ok());
  EXPECT_EQ(Cycles().back().began, now);
  EXPECT_EQ(Cycles().back().reason, CycleReason::kSync);
  const size_t done = Cycles().size();
  Write();
  world_->commit().Request();
  while (Cycles().size() == done) std::this_thread::yield();
  EXPECT_EQ(Cycles().back().reason, CycleReason::kPressure);
  EXPECT_EQ(Cycles().back().began, now) << "without any pause";
}

// Fault row 24: the age of a change is time that has passed, not the difference of two wall clocks.
TEST_F(GroupCommitTest, AgeIsCountedInTimeThatPasses) {
  for (const int years : {30, -30}) {
    SCOPED_TRACE(years);
    const size_t done = Cycles().size();
    const absl::Duration written = clock_.MonotonicNow();
    Write();
    clock_.JumpWall(absl::Hours(24 * 365) * years);
    PassTimeUntil(done + 1);
    EXPECT_EQ(Cycles().back().reason, CycleReason::kAge);
    EXPECT_GE(clock_.MonotonicNow() - written, absl::Seconds(5));
  }
}

// F-314: whoever gives up waiting leaves the cycle running; its outcome is there for the next.
TEST(SyncDeadline, PassesWithoutEndingTheCycle) {
  MemoryDevice memory(*FormattedImage(8 * kGiB));
  GatedDevice device(memory);
  VolumeOptions options;
  options.flush_age = absl::ZeroDuration();
  const auto volume = OpenOn(device, options);
  ASSERT_TRUE(volume.ok()) << volume.status();
  ASSERT_TRUE((*volume)->CreateDisk({"", "d"}, {kDiskBytes}).ok());
  const DiskRef disk = *(*volume)->OpenDisk({"", "d"});
  ASSERT_EQ(WriteText(**volume, disk, 0, "text"), absl::OkStatus());
  device.syncs().Hold();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ((*volume)->Sync(disk, {.deadline = absl::InfinitePast()}).status().code(),
              absl::StatusCode::kDeadlineExceeded);
  }
  device.syncs().LetGo();
  // Nobody else asks for a cycle.
  while ((*volume)->GetStatus().durable_opseq < disk->last_opseq()) std::this_thread::yield();
  EXPECT_TRUE((*volume)->Sync(disk, {}).ok());
  EXPECT_EQ((*volume)->GetStatus().failure, absl::OkStatus());
}

}  // namespace
}  // namespace h2bd
