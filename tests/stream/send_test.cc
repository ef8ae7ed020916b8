// The sender alone: what it asks for, what it refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/stream/sender.h"
#include "tests/stream/fake_volume.h"
#include "tests/stream/stream_bytes.h"

namespace h2bd::stream {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

FakeDisk DiskWith(uint64_t size, std::initializer_list<uint64_t> blocks) {
  FakeDisk disk(size);
  for (const uint64_t number : blocks) {
    disk.SetBlock(number, std::string(disk.Block(number).size(), static_cast<char>('a' + number)));
  }
  return disk;
}

FakeSnapshot Snapshot(uint8_t fsid, FakePfs pfs) { return {TestUuid(fsid), std::move(pfs)}; }

std::vector<std::string> RecordsOf(FakeSource& source) {
  MemorySink sink;
  const absl::StatusOr<SendProgress> sent = Send(source, sink, {.stream = TestUuid(9)});
  EXPECT_TRUE(sent.ok()) << sent.status();
  const ReadBack read = ReadAll(sink.bytes);
  EXPECT_TRUE(read.status.ok()) << read.status;
  std::vector<std::string> records;
  for (const std::string& record : read.records) {
    records.push_back(record.substr(0, record.find(':')));  // without hashes
  }
  records.pop_back();  // END
  return records;
}

TEST(Send, ANewDiskHasNoHolesAndAChangedOneHasJoinedOnes) {
  const FakeSnapshot base = Snapshot(1, {{"d", DiskWith(5 * kBlockBytes, {0, 1, 2, 4})}});
  const FakeSnapshot now = Snapshot(2, {{"d", DiskWith(5 * kBlockBytes, {0, 3})}});
  FakeSource full(now, nullptr);
  EXPECT_THAT(RecordsOf(full), ElementsAre("DISK 1 d=(new) size 327680 settings 255/0/255",
                                           "DATA 1 +0 65536", "DATA 1 +196608 65536"));
  FakeSource changes(now, &base);
  EXPECT_THAT(RecordsOf(changes),
              ElementsAre("DISK 1 d=d size 327680 settings 255/0/255", "HOLE 1 +65536 131072",
                          "DATA 1 +196608 65536", "HOLE 1 +262144 65536"));
}

// A server may call a block of zeros data.
TEST(Send, ZerosBecomeAHole) {
  const FakeSnapshot base = Snapshot(1, {{"d", DiskWith(3 * kBlockBytes, {0, 1})}});
  const FakeSnapshot now = Snapshot(2, {{"d", DiskWith(3 * kBlockBytes, {2})}});
  FakeSource source(now, &base);
  source.ranges = {{.offset = 0, .length = 3 * kBlockBytes, .is_hole = false}};
  EXPECT_THAT(RecordsOf(source), ElementsAre("DISK 1 d=d size 196608 settings 255/0/255",
                                             "HOLE 1 +0 131072", "DATA 1 +131072 65536"));
}

TEST(Send, SenselessRangesOfAServerAreRefused) {
  const FakeSnapshot now = Snapshot(2, {{"d", DiskWith(2 * kBlockBytes + 5, {0, 1, 2})}});
  const auto error_with = [&](std::vector<ChangedRange> ranges) {
    FakeSource source(now, nullptr);
    source.ranges = std::move(ranges);
    MemorySink sink;
    const absl::Status status = Send(source, sink, {}).status();
    EXPECT_TRUE(absl::IsInternal(status)) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(error_with({{.offset = 1, .length = 5}}), HasSubstr("5 bytes at 1 of d"));
  EXPECT_THAT(error_with({{.offset = 0, .length = 5}}), HasSubstr("changed range"));
  EXPECT_THAT(error_with({{.offset = 0, .length = 0}}), HasSubstr("changed range"));
  EXPECT_THAT(error_with({{.offset = 0, .length = 3 * kBlockBytes}}), HasSubstr("changed range"));
  EXPECT_THAT(error_with({{.offset = 3 * kBlockBytes, .length = UINT64_MAX}}),
              HasSubstr("changed range"));
  EXPECT_THAT(error_with({{.offset = kBlockBytes, .length = kBlockBytes},
                          {.offset = 0, .length = kBlockBytes}}),
              HasSubstr("behind 131072"));
}

TEST(Send, SenselessPiecesOfAServerAreRefused) {
  const FakeSnapshot now = Snapshot(2, {{"d", DiskWith(2 * kBlockBytes, {0, 1})}});
  FakeSource source(now, nullptr);
  source.piece_bytes = 100;
  MemorySink sink;
  EXPECT_THAT(Send(source, sink, {}).status().message(), HasSubstr("a piece of 100 bytes"));
}

TEST(Send, ATokenOfOtherSnapshotsIsRefused) {
  const FakeSnapshot base = Snapshot(1, {{"d", DiskWith(5, {})}});
  const FakeSnapshot now = Snapshot(2, {{"d", DiskWith(5, {0})}});
  const FakeSnapshot other = Snapshot(3, now.pfs);
  FakeSource source(now, &base);
  const Identity mine = *source.Identify();
  MemorySink sink;
  EXPECT_TRUE(Send(source, sink, {.resume = StartOf(mine)}).ok());
  const auto refused = [](FakeSource wrong, const Prelude& token) {
    MemorySink nothing;
    const absl::Status status = Send(wrong, nothing, {.resume = token}).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_EQ(nothing.bytes, "");
  };
  refused(FakeSource(other, &base), StartOf(mine));
  refused(FakeSource(now, &other), StartOf(mine));
  refused(FakeSource(now, nullptr), StartOf(mine));
  refused(FakeSource(now, &base, "d"), StartOf(mine));
  Prelude behind = StartOf(mine);
  behind.position = {.sequence = 5, .disk = 2, .disk_bytes = 5};
  refused(source, behind);
  behind.position = {.sequence = 5, .disk = 1, .disk_bytes = 6};
  refused(source, behind);
}

// Also how a rate is kept to and how a sending is cancelled.
TEST(Send, TheObserverSeesEachStepAndMayEndIt) {
  class Observer final : public SendObserver {
   public:
    absl::Status Sent(const SendProgress& progress) override {
      seen.push_back(progress);
      return seen.size() == 3 ? absl::CancelledError("enough") : absl::OkStatus();
    }
    std::vector<SendProgress> seen;
  };
  const FakeSnapshot now = Snapshot(2, {{"d", DiskWith(3 * kBlockBytes, {0, 1, 2})}});
  FakeSource source(now, nullptr);
  MemorySink sink;
  Observer observer;
  EXPECT_TRUE(absl::IsCancelled(
      Send(source, sink, {.encoding = {.compress = false}, .observer = &observer}).status()));
  ASSERT_EQ(observer.seen.size(), 3u);
  EXPECT_EQ(observer.seen[2].disks, 1u);
  EXPECT_EQ(observer.seen[2].disk, 1u);
  EXPECT_EQ(observer.seen[2].data_bytes, 2 * kBlockBytes);
  EXPECT_EQ(observer.seen[2].sent_bytes, sink.bytes.size());
}

}  // namespace
}  // namespace h2bd::stream
