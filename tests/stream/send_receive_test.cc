// A stream from one volume to another: the target is as the source was, or as it was before.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/stream/receiver.h"
#include "client/stream/sender.h"
#include "core/base/status.h"
#include "core/digest/attest_hash.h"
#include "tests/stream/fake_volume.h"
#include "tests/stream/stream_bytes.h"
#include "tests/support/fixtures.h"

namespace h2bd::stream {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

const Uuid kStream = TestUuid(0x77);
constexpr EncoderOptions kManyCheckpoints{.checkpoint_bytes = 1};

std::string StreamOf(FakeSource source, const SendOptions& options = {.stream = kStream}) {
  MemorySink sink;
  const absl::StatusOr<SendProgress> sent = Send(source, sink, options);
  EXPECT_TRUE(sent.ok()) << sent.status();
  return sink.bytes;
}

struct Received {
  absl::Status status;
  std::optional<std::string> token;
};

Received Receive(FakeTarget& target, absl::string_view bytes,
                 const ReceiveOptions& options = {.snapshot_name = "received"}) {
  MemorySource source(bytes);
  Receiver receiver(target, options);
  Received received{.status = receiver.Run(source).status()};
  received.token = receiver.resume_token();
  return received;
}

void ExpectIsAt(const FakeTarget& target, const FakeSnapshot& snapshot) {
  EXPECT_TRUE(target.live == snapshot.pfs);
  ASSERT_TRUE(target.snapshots.contains(snapshot.fsid));
  EXPECT_TRUE(target.snapshots.at(snapshot.fsid).second == snapshot.pfs);
  EXPECT_EQ(target.snapshots.at(snapshot.fsid).first, "received");
  EXPECT_TRUE(target.states.empty());
}

// A target that has the snapshot, and nothing else.
FakeTarget TargetAt(const FakeSnapshot& snapshot) {
  FakeTarget target;
  target.live = snapshot.pfs;
  target.snapshots[snapshot.fsid] = {"base", snapshot.pfs};
  EXPECT_TRUE(target.Sync().ok());
  target.changes = 0;
  return target;
}

class SendReceive : public testing::Test {
 protected:
  SendReceive() : random_(TestSeed()) {}

  void Make(bool tiny) {
    base_ = {TestUuid(1), RandomPfs(random_, tiny)};
    now_ = {TestUuid(2), base_.pfs};
    ChangeAtRandom(now_.pfs, random_, tiny);
    // At least one difference, and one disk that is renamed.
    now_.pfs["renamed"] = base_.pfs.at("d1");
    now_.pfs.erase("d1");
  }
  FakeSource Full() { return {now_, nullptr}; }
  FakeSource Changes() { return {now_, &base_}; }

  // Goes on after a crash: with what the sender sends for the token, or with the whole again.
  void ExpectGoesOn(FakeTarget target, const FakeSource& source, const std::string& whole,
                    const Received& cut, const SendOptions& options) {
    target.Crash(random_);
    FakeTarget again = target;
    if (cut.token.has_value()) {
      SendOptions resume = options;
      const absl::StatusOr<Prelude> token = ParseToken(*cut.token);
      ASSERT_TRUE(token.ok()) << token.status();
      resume.resume = *token;
      const Received rest = Receive(target, StreamOf(source, resume));
      EXPECT_TRUE(rest.status.ok()) << rest.status;
      ExpectIsAt(target, now_);
    }
    const Received repeated = Receive(again, whole);
    EXPECT_TRUE(repeated.status.ok()) << repeated.status;
    ExpectIsAt(again, now_);
  }

  SeededRandom random_;
  FakeSnapshot base_, now_;
};

TEST_F(SendReceive, AFullAndAnIncrementalStreamReproduceTheSnapshot) {
  for (int round = 0; round < 40; ++round) {
    Make(/*tiny=*/false);
    FakeTarget target;
    EXPECT_TRUE(Receive(target, StreamOf(FakeSource(base_, nullptr))).status.ok());
    ExpectIsAt(target, base_);
    FakeSource changes = Changes();
    changes.random = &random_;
    const Received received = Receive(target, StreamOf(changes));
    ASSERT_TRUE(received.status.ok()) << received.status;
    ExpectIsAt(target, now_);
    EXPECT_EQ(AttestOf(target.live), AttestOf(now_.pfs));
  }
}

// Exhaustive: the stream is cut at every byte, the target crashes, and both ends go on.
TEST_F(SendReceive, AStreamThatIsCutAtAnyByteGoesOn) {
  Make(/*tiny=*/true);
  for (const bool incremental : {false, true}) {
    const FakeSource source = incremental ? Changes() : Full();
    const FakeTarget before = incremental ? TargetAt(base_) : FakeTarget();
    const SendOptions options{.encoding = kManyCheckpoints, .stream = kStream};
    const std::string whole = StreamOf(source, options);
    for (size_t length = 0; length < whole.size(); ++length) {
      SCOPED_TRACE(length);
      FakeTarget target = before;
      const Received cut = Receive(target, whole.substr(0, length));
      ASSERT_EQ(ReasonOf(cut.status), kReasonStreamCut) << cut.status;
      ASSERT_EQ(cut.token.has_value(), length >= kPreludeBytes);
      ASSERT_TRUE(target.Visible() == before.live) << "nothing is visible before the end";
      ExpectGoesOn(target, source, whole, cut, options);
    }
  }
}

// The receiver dies at every change that it makes on the target, those at the end included.
TEST_F(SendReceive, AReceiverThatDiesAtAnyStepGoesOn) {
  Make(/*tiny=*/true);
  for (const bool incremental : {false, true}) {
    const FakeSource source = incremental ? Changes() : Full();
    const FakeTarget before = incremental ? TargetAt(base_) : FakeTarget();
    const SendOptions options{.encoding = kManyCheckpoints, .stream = kStream};
    const std::string whole = StreamOf(source, options);
    FakeTarget whole_run = before;
    ASSERT_TRUE(Receive(whole_run, whole).status.ok());
    for (uint64_t step = 0; step + 1 < whole_run.changes; ++step) {
      SCOPED_TRACE(step);
      for (int crash = 0; crash < 4; ++crash) {
        FakeTarget target = before;
        target.changes_left = step;
        const Received died = Receive(target, whole);
        ASSERT_TRUE(absl::IsUnavailable(died.status)) << died.status;
        ExpectGoesOn(target, source, whole, died, options);
      }
    }
  }
}

TEST_F(SendReceive, LargeStreamsThatAreCutSeveralTimesGoOn) {
  for (int round = 0; round < 20; ++round) {
    Make(/*tiny=*/false);
    FakeSource source = Changes();
    source.random = &random_;  // each part has other ranges
    FakeTarget target = TargetAt(base_);
    SendOptions options{.encoding = {.checkpoint_bytes = 100 * kKiB}, .stream = kStream};
    Received received;
    for (int cut = 0; cut < 4; ++cut) {
      const std::string part = StreamOf(source, options);
      received = Receive(target, part.substr(0, kPreludeBytes + random_.Next64() % part.size()));
      if (received.status.ok()) break;
      ASSERT_EQ(ReasonOf(received.status), kReasonStreamCut) << received.status;
      options.resume = *ParseToken(*received.token);
      target.Crash(random_);
    }
    if (!received.status.ok()) received = Receive(target, StreamOf(source, options));
    ASSERT_TRUE(received.status.ok()) << received.status;
    ExpectIsAt(target, now_);
  }
}

TEST_F(SendReceive, AFlippedBitChangesNothingThatIsVisible) {
  Make(/*tiny=*/true);
  const std::string whole = StreamOf(Changes(), {.encoding = kManyCheckpoints, .stream = kStream});
  for (size_t bit = 0; bit < whole.size() * 8; bit += 3) {
    std::string flipped = whole;
    flipped[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    FakeTarget target = TargetAt(base_);
    ASSERT_FALSE(Receive(target, flipped).status.ok()) << bit;
    ASSERT_TRUE(target.Visible() == base_.pfs) << bit;
    ASSERT_FALSE(target.snapshots.contains(now_.fsid)) << bit;
  }
}

TEST_F(SendReceive, AnotherBaseIsRefused) {
  Make(/*tiny=*/true);
  FakeTarget target = TargetAt({TestUuid(5), base_.pfs});
  const Received received = Receive(target, StreamOf(Changes()));
  EXPECT_TRUE(absl::IsFailedPrecondition(received.status)) << received.status;
  EXPECT_EQ(ReasonOf(received.status), kReasonWrongBase);
  EXPECT_EQ(target.changes, 0u);
}

TEST_F(SendReceive, ASnapshotThatIsThereIsNotReceivedAgain) {
  Make(/*tiny=*/true);
  FakeTarget target = TargetAt(now_);
  EXPECT_TRUE(absl::IsAlreadyExists(Receive(target, StreamOf(Full())).status));
  EXPECT_EQ(target.changes, 0u);
}

TEST_F(SendReceive, ATargetThatChangedSinceTheBaseIsRefusedUnlessForced) {
  Make(/*tiny=*/true);
  const std::string stream = StreamOf(Changes());
  FakeTarget changed = TargetAt(base_);
  changed.live["mine"] = FakeDisk(7);
  changed.live.erase("d0");
  FakeTarget target = changed;
  const Received refused = Receive(target, stream);
  EXPECT_EQ(ReasonOf(refused.status), kReasonTargetChanged) << refused.status;
  EXPECT_THAT(refused.status.message(), HasSubstr("d0, mine"));
  EXPECT_EQ(target.changes, 0u);

  const Received forced = Receive(target, stream, {.snapshot_name = "received", .force = true});
  EXPECT_TRUE(forced.status.ok()) << forced.status;
  ExpectIsAt(target, now_);
}

TEST_F(SendReceive, AForcedReceivingThatDiesAtAnyStepGoesOn) {
  Make(/*tiny=*/true);
  const std::string stream = StreamOf(Changes());
  FakeTarget before = TargetAt(base_);
  before.live["mine"] = FakeDisk(7);
  for (auto& [path, disk] : before.live) disk.Resize(disk.size() + 1);
  ASSERT_TRUE(before.Sync().ok());
  before.changes = 0;
  const ReceiveOptions options{.snapshot_name = "received", .force = true};
  FakeTarget whole_run = before;
  ASSERT_TRUE(Receive(whole_run, stream, options).status.ok());
  for (uint64_t step = 0; step + 1 < whole_run.changes; ++step) {
    SCOPED_TRACE(step);
    FakeTarget target = before;
    target.changes_left = step;
    ASSERT_FALSE(Receive(target, stream, options).status.ok());
    target.Crash(random_);
    const Received again = Receive(target, stream, options);
    EXPECT_TRUE(again.status.ok()) << again.status;
    ExpectIsAt(target, now_);
  }
}

TEST_F(SendReceive, AChangeThatComesWhileItIsReceivedIsNotLost) {
  Make(/*tiny=*/true);
  const std::string stream = StreamOf(Changes(), {.encoding = kManyCheckpoints, .stream = kStream});
  FakeTarget target = TargetAt(base_);
  const Received cut = Receive(target, stream.substr(0, stream.size() - 1));
  ASSERT_EQ(ReasonOf(cut.status), kReasonStreamCut);
  target.live["mine"] = FakeDisk(7);
  const FakePfs visible = target.Visible();
  EXPECT_EQ(ReasonOf(Receive(target, stream).status), kReasonTargetChanged);
  EXPECT_TRUE(target.Visible() == visible);
  target.live.erase("mine");
  EXPECT_TRUE(Receive(target, stream).status.ok());
  ExpectIsAt(target, now_);
}

TEST_F(SendReceive, AFullStreamIsRefusedWhereThereAreDisksUnlessForced) {
  Make(/*tiny=*/true);
  FakeTarget target = TargetAt(base_);
  const std::string stream = StreamOf(Full());
  EXPECT_EQ(ReasonOf(Receive(target, stream).status), kReasonTargetChanged);
  EXPECT_TRUE(target.live == base_.pfs);
  const Received forced = Receive(target, stream, {.snapshot_name = "received", .force = true});
  EXPECT_TRUE(forced.status.ok()) << forced.status;
  ExpectIsAt(target, now_);
}

// "Attest root compared at the end": before anything becomes visible.
TEST_F(SendReceive, AnotherAttestValueIsRefusedBeforeAnythingIsReplaced) {
  Make(/*tiny=*/true);
  for (const bool incremental : {false, true}) {
    FakeSource source = incremental ? Changes() : Full();
    source.attest = Sha256::Of(AsBytes("of something else"));
    FakeTarget target = incremental ? TargetAt(base_) : FakeTarget();
    const FakePfs before = target.live;
    const Received received = Receive(target, StreamOf(source));
    EXPECT_TRUE(absl::IsDataLoss(received.status)) << received.status;
    EXPECT_THAT(received.status.message(), HasSubstr("attest value"));
    EXPECT_TRUE(target.Visible() == before);
    EXPECT_FALSE(target.snapshots.contains(now_.fsid));
  }
}

TEST_F(SendReceive, WithoutAnAttestValueNothingIsCompared) {
  Make(/*tiny=*/true);
  FakeSource source = Changes();
  source.without_attest = true;
  FakeTarget target = TargetAt(base_);
  target.before_attest = [] { FAIL() << "nothing asks for it"; };
  EXPECT_TRUE(Receive(target, StreamOf(source)).status.ok());
  ExpectIsAt(target, now_);
}

TEST_F(SendReceive, AStreamThatStartsBehindTheTargetIsRefused) {
  Make(/*tiny=*/true);
  const SendOptions options{.encoding = kManyCheckpoints, .stream = kStream};
  const std::string whole = StreamOf(Full(), options);
  FakeTarget ahead;
  const Received late = Receive(ahead, whole.substr(0, whole.size() - 1));
  SendOptions resume = options;
  resume.resume = *ParseToken(*late.token);
  const std::string rest = StreamOf(Full(), resume);

  FakeTarget nothing;
  EXPECT_EQ(ReasonOf(Receive(nothing, rest).status), kReasonOutOfStep);
  EXPECT_EQ(nothing.changes, 0u);
  FakeTarget behind;
  const Received early = Receive(behind, whole.substr(0, kPreludeBytes + kHeaderBytes));
  const Received refused = Receive(behind, rest);
  EXPECT_EQ(ReasonOf(refused.status), kReasonOutOfStep) << refused.status;
  EXPECT_EQ(refused.token, early.token) << "says where it stands";
  EXPECT_TRUE(Receive(behind, whole).status.ok());
  ExpectIsAt(behind, now_);
}

// The same uuid, other records: what was applied and what would follow do not belong together.
TEST_F(SendReceive, AnotherStreamOfTheSameNameIsRefused) {
  Make(/*tiny=*/true);
  const SendOptions options{.encoding = kManyCheckpoints, .stream = kStream};
  const std::string whole = StreamOf(Full(), options);
  FakeTarget target;
  const Received cut = Receive(target, whole.substr(0, whole.size() - 1));
  FakeSnapshot other = now_;
  other.pfs["renamed"] = FakeDisk(99);
  other.pfs["renamed"].SetBlock(0, std::string(99, 'o'));
  EXPECT_EQ(ReasonOf(Receive(target, StreamOf({other, nullptr}, options)).status),
            kReasonOutOfStep);
  SendOptions elsewhere = options;
  elsewhere.resume = *ParseToken(*cut.token);
  elsewhere.resume->position.chain[0] ^= std::byte{1};
  EXPECT_EQ(ReasonOf(Receive(target, StreamOf(Full(), elsewhere)).status), kReasonOutOfStep);
  other.fsid = TestUuid(8);
  EXPECT_TRUE(absl::IsDataLoss(Receive(target, StreamOf({other, nullptr}, options)).status));
  EXPECT_TRUE(target.Visible().empty());
}

TEST_F(SendReceive, NamesOfReceivedDisksAndRepeatedPathsAreRefused) {
  const auto error_of = [](const std::vector<std::string>& paths) {
    MemorySink sink;
    Encoder encoder(sink, StartOf({.stream = kStream}));
    EXPECT_TRUE(encoder.Begin().ok());
    for (size_t i = 0; i < paths.size(); ++i) {
      EXPECT_TRUE(encoder.Disk({.number = i + 1, .path = paths[i]}).ok());
    }
    EXPECT_TRUE(encoder.End({}).ok());
    FakeTarget target;
    const absl::Status status = Receive(target, sink.bytes).status;
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(error_of({"a", "a"}), HasSubstr("two records for the disk a"));
  EXPECT_THAT(error_of({".recv-x"}), HasSubstr("disks being received"));
}

TEST_F(SendReceive, APfsNeedsTheNameOfASnapshot) {
  Make(/*tiny=*/true);
  FakeTarget target;
  EXPECT_TRUE(absl::IsInvalidArgument(Receive(target, StreamOf(Full()), {}).status));
}

TEST_F(SendReceive, DamageOfWhatTheTargetKeepsIsNotFollowed) {
  Make(/*tiny=*/true);
  const std::string whole = StreamOf(Full(), {.encoding = kManyCheckpoints, .stream = kStream});
  FakeTarget target;
  Receive(target, whole.substr(0, whole.size() - 1));
  target.states[kStream][20] ^= 1;
  EXPECT_TRUE(absl::IsDataLoss(Receive(target, whole).status));
  EXPECT_TRUE(Abandon(target, kStream).ok());
  EXPECT_TRUE(target.live.empty());
  EXPECT_TRUE(Receive(target, whole).status.ok());
  ExpectIsAt(target, now_);
}

TEST_F(SendReceive, WhatALostRunLeftDoesNotGetIntoTheSnapshot) {
  Make(/*tiny=*/true);
  FakeTarget target;
  target.live[".recv-7700000000000000000000000000005a-9"] = FakeDisk(5);
  EXPECT_TRUE(Receive(target, StreamOf(Full())).status.ok());
  ExpectIsAt(target, now_);
}

// It would get into the snapshot, too; it is somebody's, so nobody but --force removes it.
TEST_F(SendReceive, WhatAnotherReceivingHasIsAChangeOfTheTarget) {
  Make(/*tiny=*/true);
  FakeTarget target;
  target.live[".recv-6600000000000000000000000000005a-1"] = FakeDisk(5);
  EXPECT_EQ(ReasonOf(Receive(target, StreamOf(Full())).status), kReasonTargetChanged);
}

TEST_F(SendReceive, TheObserverMayEndIt) {
  class Observer final : public ReceiveObserver {
   public:
    absl::Status Received(const ReceiveProgress& progress) override {
      last = progress;
      return progress.data_bytes > 0 ? absl::CancelledError("enough") : absl::OkStatus();
    }
    ReceiveProgress last;
  };
  now_ = {TestUuid(2), {{"d", FakeDisk(3)}}};
  now_.pfs["d"].SetBlock(0, "abc");
  Observer observer;
  FakeTarget target;
  const Received ended =
      Receive(target, StreamOf(Full()), {.snapshot_name = "received", .observer = &observer});
  EXPECT_TRUE(absl::IsCancelled(ended.status));
  EXPECT_EQ(observer.last.data_bytes, 3u);
  EXPECT_TRUE(target.Visible().empty());
}

// --- a stream of one disk: `export --diff` and `apply`

class OneDisk : public SendReceive {
 protected:
  OneDisk() {
    base_ = {TestUuid(1), {{"d", FakeDisk(3 * kBlockBytes)}, {"other", FakeDisk(1)}}};
    base_.pfs["d"].SetBlock(1, RandomBytes(1, kBlockBytes));
    now_ = {TestUuid(2), base_.pfs};
    now_.pfs["d"].Resize(5 * kBlockBytes + 9);
    now_.pfs["d"].SetBlock(0, RandomBytes(2, kBlockBytes));
    now_.pfs["d"].SetBlock(1, std::string(kBlockBytes, '\0'));
    now_.pfs["d"].SetBlock(5, "ninebytes");
  }
  FakeSource FullDisk() { return {now_, nullptr, "d"}; }
  FakeSource DiskChanges() { return {now_, &base_, "d"}; }
};

TEST_F(OneDisk, AppliesToTheDiskThatIsAsTheBaseWasUnderAnyName) {
  FakeTarget target;
  target.live["copy"] = base_.pfs["d"];
  target.live["d"] = FakeDisk(5);
  const Received received = Receive(target, StreamOf(DiskChanges()), {.disk_path = "copy"});
  EXPECT_TRUE(received.status.ok()) << received.status;
  EXPECT_TRUE(target.live["copy"] == now_.pfs["d"]);
  EXPECT_TRUE(target.live["d"] == FakeDisk(5));
  EXPECT_EQ(target.live.size(), 2u);
  EXPECT_TRUE(target.snapshots.empty() && target.states.empty());
}

TEST_F(OneDisk, AnotherContentThanTheBasesIsRefusedUnlessForced) {
  FakeTarget target;
  target.live["d"] = base_.pfs["d"];
  target.live["d"].SetBlock(2, RandomBytes(3, kBlockBytes));
  const FakePfs before = target.live;
  const Received refused = Receive(target, StreamOf(DiskChanges()), {});
  EXPECT_EQ(ReasonOf(refused.status), kReasonTargetChanged) << refused.status;
  EXPECT_TRUE(target.Visible() == before);

  FakeSource unproven = DiskChanges();
  unproven.without_attest = true;
  target.live = base_.pfs;
  EXPECT_EQ(ReasonOf(Receive(target, StreamOf(unproven, {.stream = TestUuid(6)}), {}).status),
            kReasonWrongBase);
  EXPECT_TRUE(
      Receive(target, StreamOf(unproven, {.stream = TestUuid(6)}), {.force = true}).status.ok());
  EXPECT_TRUE(target.live["d"] == now_.pfs["d"]);
}

TEST_F(OneDisk, AWriteToItWhileItIsReceivedIsNotLost) {
  FakeTarget target;
  target.live["d"] = base_.pfs["d"];
  int asked = 0;
  target.before_attest = [&] {
    if (++asked == 2) target.live["d"].SetBlock(2, RandomBytes(4, kBlockBytes));
  };
  const Received refused = Receive(target, StreamOf(DiskChanges()), {});
  EXPECT_EQ(ReasonOf(refused.status), kReasonTargetChanged) << refused.status;
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(target.live["d"].Block(2), RandomBytes(4, kBlockBytes));
}

TEST_F(OneDisk, AFullOneDoesNotReplaceADiskUnlessForced) {
  FakeTarget target;
  target.live["d"] = FakeDisk(5);
  const std::string stream = StreamOf(FullDisk());
  EXPECT_EQ(ReasonOf(Receive(target, stream, {}).status), kReasonTargetChanged);
  EXPECT_TRUE(target.Visible() == (FakePfs{{"d", FakeDisk(5)}}));
  EXPECT_TRUE(Receive(target, stream, {.disk_path = "d", .force = true}).status.ok());
  EXPECT_TRUE(target.live["d"] == now_.pfs["d"]);
}

TEST_F(OneDisk, AReceiverThatDiesAtAnyStepGoesOn) {
  FakeTarget before;
  before.live["d"] = base_.pfs["d"];
  ASSERT_TRUE(before.Sync().ok());
  const std::string stream =
      StreamOf(DiskChanges(), {.encoding = kManyCheckpoints, .stream = kStream});
  FakeTarget whole_run = before;
  ASSERT_TRUE(Receive(whole_run, stream, {}).status.ok());
  for (uint64_t step = 0; step + 1 < whole_run.changes; ++step) {
    SCOPED_TRACE(step);
    FakeTarget target = before;
    target.changes_left = step;
    ASSERT_FALSE(Receive(target, stream, {}).status.ok());
    target.Crash(random_);
    const Received again = Receive(target, stream, {});
    EXPECT_TRUE(again.status.ok()) << again.status;
    EXPECT_TRUE(target.live == (FakePfs{{"d", now_.pfs["d"]}}));
  }
}

}  // namespace
}  // namespace h2bd::stream
