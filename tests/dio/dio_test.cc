#include "core/dio/dio.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/media/constants.h"
#include "tests/support/crash_image.h"
#include "tests/support/fault_device.h"
#include "tests/support/memory_device.h"
#include "tests/support/metric_values.h"

namespace h2bd {
namespace {

using testing::ElementsAre;
using testing::Pair;

constexpr uint64_t kBase = 8 * kMiB;  // of the frame that most tests write

DataOff At(uint64_t off, unsigned radix) { return DataOff::Make(ByteOff(off), radix); }

SharedBytes Filled(unsigned radix, int value) {
  auto block = std::make_shared<AlignedBuffer>(size_t{1} << radix);
  std::memset(block->data(), value, block->size());
  return block;
}

bool Holds(const absl::StatusOr<AlignedBuffer>& block, unsigned radix, int value) {
  return block.ok() && block->size() == size_t{1} << radix &&
         std::memcmp(block->data(), Filled(radix, value)->data(), block->size()) == 0;
}

// Calls out in the middle of each transfer.
class HookedDevice final : public ForwardingDevice {
 public:
  explicit HookedDevice(BlockDevice& inner) : ForwardingDevice(inner) {}
  absl::Status Read(ByteOff off, ByteSpan into) override {
    const absl::Status status = inner_.Read(off, into);
    if (on_read) on_read();
    return status;
  }
  absl::Status Write(ByteOff off, ConstByteSpan from) override {
    const absl::Status status = inner_.Write(off, from);
    if (on_write) on_write(off, from);
    return status;
  }
  std::function<void(ByteOff, ConstByteSpan)> on_write;  // set while nothing is queued
  std::function<void()> on_read;
};

// Memory, recorded, under a device that can fail, under one that can call out.
class DioTest : public testing::TestWithParam<size_t> {
 protected:
  DioTest() : memory_(64 * kMiB), recording_(memory_, log_, 0), fault_(recording_, point_) {
    auto hooked = std::make_unique<HookedDevice>(fault_);
    hook_ = hooked.get();
    std::vector<DeviceSet::Member> members;
    members.push_back({std::move(hooked), 0, 64 * kMiB});
    devices_ = std::make_unique<DeviceSet>(std::move(members));
    Restart();
  }
  void Restart() {
    DioOptions options = options_;
    options.writer_threads = GetParam();
    dio_.reset();
    dio_ = std::make_unique<Dio>(*devices_, options, NullLogger());
  }
  void Put(DataOff at, int value, bool fresh = false) {
    ASSERT_TRUE(dio_->WriteBlock(at, Filled(at.radix(), value), fresh).ok());
  }
  // Offset within the frame at kBase, and length, of every write so far.
  std::vector<std::pair<uint64_t, uint64_t>> Writes() {
    std::vector<std::pair<uint64_t, uint64_t>> writes;
    for (const IoEvent& event : log_.events()) {
      if (event.kind == IoEvent::kWrite)
        writes.emplace_back(event.off - kBase, event.bytes->size());
    }
    return writes;
  }
  void FillMedia(int value) {
    const SharedBytes block = Filled(16, value);
    ASSERT_TRUE(memory_.Write(ByteOff(kBase), block->span()).ok());
  }
  int MediaByte(uint64_t off) {
    std::byte byte;
    memory_.Snapshot().Read(off, {&byte, 1});
    return static_cast<int>(byte);
  }

  DioOptions options_;
  MemoryDevice memory_;
  IoLog log_;
  RecordingDevice recording_;
  FaultPoint point_{FaultPlan{.fail_at = 0}};
  FaultDevice fault_;
  HookedDevice* hook_ = nullptr;
  std::unique_ptr<DeviceSet> devices_;
  std::unique_ptr<Dio> dio_;
};

INSTANTIATE_TEST_SUITE_P(Writers, DioTest, testing::Values(0u, 1u, 3u));

TEST_P(DioTest, BlocksOfEverySizeAreReadBeforeAndAfterTheyAreWritten) {
  const auto place = [](unsigned radix) { return At(kBase + (radix - 10) * kPbufBytes, radix); };
  for (unsigned radix = 10; radix <= 16; ++radix) Put(place(radix), static_cast<int>(radix));
  for (unsigned radix = 10; radix <= 16; ++radix) {
    EXPECT_TRUE(Holds(dio_->ReadBlock(place(radix)), radix, static_cast<int>(radix)));
  }
  ASSERT_TRUE(dio_->Drain().ok());
  for (unsigned radix = 10; radix <= 16; ++radix) {
    EXPECT_TRUE(Holds(dio_->ReadBlock(place(radix)), radix, static_cast<int>(radix)));
  }
  Restart();
  for (unsigned radix = 10; radix <= 16; ++radix) {
    EXPECT_TRUE(Holds(dio_->ReadBlock(place(radix)), radix, static_cast<int>(radix)));
  }
}

TEST_P(DioTest, OnlyDirtyPhysicalSectorsAreWritten) {
  FillMedia(9);
  Put(At(kBase + 5 * kKiB, 10), 1);
  Put(At(kBase + 16 * kKiB, 14), 2);
  ASSERT_TRUE(dio_->Drain().ok());
  // One write for each, unless a writer found only the first one to be there.
  EXPECT_THAT(Writes(), ElementsAre(Pair(4 * kKiB, 4 * kKiB), Pair(16 * kKiB, 16 * kKiB)));
  EXPECT_EQ(dio_->metrics().written.front().meta.value(), 20 * kKiB);
  EXPECT_EQ(dio_->metrics().written.front().data.value(), 0u);
  EXPECT_EQ(MediaByte(kBase + 4 * kKiB), 9) << "the neighbour in the sector was merged";
  EXPECT_EQ(MediaByte(kBase + 5 * kKiB), 1);
  EXPECT_EQ(MediaByte(kBase + 6 * kKiB), 9);
}

TEST_P(DioTest, TheMediaAreReadOnlyToMergeWithNeighbours) {
  struct Case {
    DataOff at;
    bool fresh;
    uint64_t reads;
    const char* why;
  };
  uint64_t frame = kBase;
  for (const Case& c : {Case{At(1 * kKiB, 10), false, 1, "part of a sector"},
                        Case{At(1 * kKiB, 10), true, 0, "part of a sector of a fresh unit"},
                        Case{At(4 * kKiB, 12), false, 0, "one whole sector"},
                        Case{At(0x1c00, 13), false, 1, "head and tail of sectors"},
                        Case{At(32 * kKiB, 15), false, 0, "half a buffer"},
                        Case{At(0, 16), false, 0, "a whole buffer"}}) {
    const uint64_t before = dio_->metrics().reads.value();
    Put(DataOff{c.at.raw + frame}, 1, c.fresh);
    EXPECT_EQ(dio_->metrics().reads.value() - before, c.reads) << c.why;
    frame += kPbufBytes;
  }
}

TEST_P(DioTest, AFreshUnitKeepsBlocksThatEnteredFirst) {
  FillMedia(9);
  Put(At(kBase + 1 * kKiB, 10), 1, /*fresh=*/true);  // allocated second, written first
  Put(At(kBase + 0 * kKiB, 10), 2, /*fresh=*/true);  // allocated first
  ASSERT_TRUE(dio_->Drain().ok());
  EXPECT_EQ(MediaByte(kBase), 2);
  EXPECT_EQ(MediaByte(kBase + 1 * kKiB), 1);
  EXPECT_EQ(MediaByte(kBase + 4 * kKiB), 9) << "another unit is none of its business";
  EXPECT_TRUE(Holds(dio_->ReadBlock(At(kBase + 1 * kKiB, 10)), 10, 1));
}

TEST_P(DioTest, AFreshUnitKeepsBlocksThatWereWrittenSinceTheLastBarrier) {
  options_.cached_buffers = 0;
  Restart();
  Put(At(kBase + 1 * kKiB, 10), 1, /*fresh=*/true);
  ASSERT_TRUE(dio_->Drain().ok());
  Put(At(kBase, 10), 2, /*fresh=*/true);
  EXPECT_TRUE(Holds(dio_->ReadBlock(At(kBase + 1 * kKiB, 10)), 10, 1));
  ASSERT_TRUE(dio_->Drain().ok());
  EXPECT_EQ(MediaByte(kBase), 2);
  EXPECT_EQ(MediaByte(kBase + 1 * kKiB), 1);
}

// A unit that holds nothing may be anything on the media, a bad sector included.
TEST_P(DioTest, AFreshUnitIsNeverRead) {
  point_.Reset({.fail_at = 1, .sticky = true, .reads = true, .writes = false, .syncs = false});
  Put(At(kBase + 2 * kKiB, 10), 3, /*fresh=*/true);
  Put(At(kBase + 6 * kKiB, 11), 4, /*fresh=*/true);
  ASSERT_TRUE(dio_->Drain().ok());
  EXPECT_EQ(MediaByte(kBase + 2 * kKiB), 3);
  EXPECT_EQ(MediaByte(kBase + 6 * kKiB), 4);
}

// F-301: whoever writes a block never waits for somebody who reads its neighbour.
TEST_P(DioTest, AWriteDoesNotWaitForAReadOfItsBuffer) {
  bool wrote = false;
  hook_->on_read = [&] {
    if (std::exchange(wrote, true)) return;
    std::thread writer([&] { Put(At(kBase + 8 * kKiB, 12), 7, /*fresh=*/true); });
    writer.join();
  };
  FillMedia(9);
  EXPECT_TRUE(Holds(dio_->ReadBlock(At(kBase, 10)), 10, 9));
  EXPECT_TRUE(wrote);
  EXPECT_TRUE(Holds(dio_->ReadBlock(At(kBase + 8 * kKiB, 12)), 12, 7));
  EXPECT_TRUE(Holds(dio_->ReadBlock(At(kBase + 4 * kKiB, 12)), 12, 9));
}

// F-224, fault rows 1 and 5: all that no barrier has covered can be written a second time.
TEST_P(DioTest, WhatIsNotConfirmedIsWrittenAgain) {
  Put(At(kBase, 16), 1);
  Put(At(kBase + kPbufBytes + kKiB, 10), 2, /*fresh=*/true);
  ASSERT_TRUE(dio_->Drain().ok());
  dio_->Confirm();
  EXPECT_EQ(dio_->metrics().unconfirmed_bytes.value(), 0);
  Put(At(kBase + 2 * kPbufBytes, 16), 3);
  Put(At(kBase + kPbufBytes + 8 * kKiB, 10), 4, /*fresh=*/true);
  ASSERT_TRUE(dio_->Drain().ok());
  EXPECT_EQ(dio_->metrics().unconfirmed_bytes.value(), 2 * kPbufBytes);
  FillMedia(9);  // the device has lost its cache
  dio_->WriteAgain();
  ASSERT_TRUE(dio_->Drain().ok());
  EXPECT_EQ(MediaByte(kBase + 2 * kPbufBytes), 3);
  EXPECT_EQ(MediaByte(kBase + kPbufBytes + 8 * kKiB), 4);
  EXPECT_EQ(MediaByte(kBase), 9) << "confirmed before";
  dio_->Confirm();
  EXPECT_EQ(dio_->metrics().unconfirmed_bytes.value(), 0);
}

TEST_P(DioTest, AFailedWriteIsMadeUpForByWritingAgain) {
  for (uint64_t n = 1;; ++n) {
    Restart();
    FillMedia(9);
    point_.Reset({.fail_at = n});
    std::vector<DataOff> accepted;
    for (uint64_t i = 0; i < 6; ++i) {
      const DataOff at = At(kBase + i * kPbufBytes + (i % 2) * 8 * kKiB, i % 2 == 0 ? 16 : 11);
      if (dio_->WriteBlock(at, Filled(at.radix(), 5), true).ok()) accepted.push_back(at);
    }
    const absl::Status first = dio_->Drain();
    EXPECT_EQ(first.ok(), !point_.reached());
    if (first.ok()) break;
    dio_->WriteAgain();
    EXPECT_EQ(dio_->failure(), absl::OkStatus());
    ASSERT_EQ(dio_->Drain(), absl::OkStatus());
    for (const DataOff at : accepted) EXPECT_EQ(MediaByte(at.offset().v), 5) << at.raw;
  }
}

TEST_P(DioTest, AWholeBlockIsKeptUntilABarrierAndNotLonger) {
  const SharedBytes block = Filled(16, 4);
  ASSERT_TRUE(dio_->WriteBlock(At(kBase, 16), block, true).ok());
  ASSERT_TRUE(dio_->Drain().ok());
  dio_->Confirm();
  EXPECT_EQ(dio_->metrics().written.front().data.value(), kPbufBytes);
  EXPECT_EQ(MediaByte(kBase + 65535), 4);
  EXPECT_EQ(dio_->metrics().queued_bytes.value(), 0);
  const uint64_t reads = dio_->metrics().reads.value();
  EXPECT_TRUE(Holds(dio_->ReadBlock(At(kBase, 16)), 16, 4));
  EXPECT_EQ(dio_->metrics().reads.value(), reads + 1);
}

TEST_P(DioTest, ReusedSpaceMixesWholeAndSharedBuffers) {
  Put(At(kBase, 16), 1);
  Put(At(kBase + 1 * kKiB, 10), 2);  // the whole block was undone, its space given out in parts
  EXPECT_TRUE(Holds(dio_->ReadBlock(At(kBase + 1 * kKiB, 10)), 10, 2));
  ASSERT_TRUE(dio_->Drain().ok());
  EXPECT_EQ(MediaByte(kBase + 1 * kKiB), 2);
  Put(At(kBase, 16), 3);
  EXPECT_TRUE(Holds(dio_->ReadBlock(At(kBase, 16)), 16, 3));
  ASSERT_TRUE(dio_->Drain().ok());
  EXPECT_EQ(MediaByte(kBase + 1 * kKiB), 3);
  EXPECT_TRUE(Holds(dio_->ReadBlock(At(kBase + 1 * kKiB, 10)), 10, 3));
}

// F-228: the bytes of a write in flight do not change, and what arrives meanwhile is not lost.
TEST_P(DioTest, ABlockThatArrivesDuringAWriteOfItsBufferIsWrittenAfterwards) {
  int arrived = 0;
  hook_->on_write = [&](ByteOff off, ConstByteSpan from) {
    if (arrived++ > 0) return;
    const AlignedBuffer before = AlignedBuffer::CopyOf(from);
    Put(At(off.v + 1 * kKiB, 10), 2);
    EXPECT_EQ(std::memcmp(before.data(), from.data(), from.size()), 0);
  };
  Put(At(kBase, 10), 1, /*fresh=*/true);
  ASSERT_TRUE(dio_->Drain().ok());
  ASSERT_TRUE(dio_->Drain().ok());
  EXPECT_EQ(arrived, 2);
  EXPECT_EQ(MediaByte(kBase), 1);
  EXPECT_EQ(MediaByte(kBase + 1 * kKiB), 2);
}

TEST_P(DioTest, AFailedWriteIsStickyAndItsBlocksAreStillRead) {
  int value = 5;
  for (const FaultPlan::Effect effect : {FaultPlan::Effect::kNothing, FaultPlan::Effect::kShort}) {
    ++value;
    point_.Reset({.fail_at = 2, .effect = effect});
    std::vector<DataOff> accepted;
    for (uint64_t i = 0; i < 4; ++i) {
      const DataOff at = At(kBase + i * kPbufBytes, i % 2 == 0 ? 16 : 12);
      // A writer that has met the fault already refuses the rest.
      if (!dio_->WriteBlock(at, Filled(at.radix(), value), true).ok()) break;
      accepted.push_back(at);
    }
    ASSERT_GE(accepted.size(), 2u);
    EXPECT_EQ(dio_->Drain().code(), absl::StatusCode::kUnavailable);
    point_.Reset({.fail_at = 0});
    EXPECT_EQ(dio_->Drain().code(), absl::StatusCode::kUnavailable)
        << "success later proves nothing";
    EXPECT_EQ(dio_->WriteBlock(At(kBase, 16), Filled(16, 99), true).code(),
              absl::StatusCode::kUnavailable);
    for (const DataOff at : accepted) {
      EXPECT_TRUE(Holds(dio_->ReadBlock(at), at.radix(), value)) << at.raw;
    }
    Restart();
  }
}

TEST_P(DioTest, EachWriteThatFailsIsReported) {
  for (uint64_t n = 1;; ++n) {
    Restart();
    point_.Reset({.fail_at = n});
    for (uint64_t i = 0; i < 6; ++i) {
      const DataOff at = At(kBase + i * kPbufBytes + i * 8 * kKiB, i == 0 ? 16 : 11);
      dio_->WriteBlock(at, Filled(at.radix(), 5), true).IgnoreError();  // the Drain tells
    }
    const absl::Status status = dio_->Drain();
    EXPECT_EQ(status.ok(), !point_.reached()) << n << ": " << status;
    if (!point_.reached()) {
      EXPECT_GT(n, 6u);
      break;
    }
  }
}

TEST_P(DioTest, ABlockThatCannotBeMergedIsRefusedAndNothingIsQueued) {
  point_.Reset({.fail_at = 1, .sticky = true, .reads = true, .writes = false, .syncs = false});
  EXPECT_EQ(dio_->WriteBlock(At(kBase, 10), Filled(10, 1), false).code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(dio_->metrics().queued_bytes.value(), 0);
  EXPECT_TRUE(dio_->Drain().ok());
  point_.Reset({.fail_at = 0});
  Put(At(kBase, 10), 1);
  EXPECT_TRUE(dio_->Drain().ok());
}

TEST_P(DioTest, ABadSectorDoesNotTakeItsNeighboursWithIt) {
  FillMedia(9);
  point_.Reset({.fail_at = 1,
                .sticky = true,
                .reads = true,
                .writes = false,
                .syncs = false,
                .begin = kBase + 40 * kKiB,
                .end = kBase + 41 * kKiB});
  EXPECT_TRUE(Holds(dio_->ReadBlock(At(kBase + 5 * kKiB, 10)), 10, 9));
  EXPECT_TRUE(Holds(dio_->ReadBlock(At(kBase + 32 * kKiB, 13)), 13, 9));
  EXPECT_EQ(dio_->ReadBlock(At(kBase + 42 * kKiB, 10)).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(dio_->ReadBlock(At(kBase, 16)).status().code(), absl::StatusCode::kUnavailable);
  Put(At(kBase + 1 * kKiB, 10), 1);
  ASSERT_TRUE(dio_->Drain().ok());
  EXPECT_EQ(MediaByte(kBase + 1 * kKiB), 1);
  EXPECT_EQ(MediaByte(kBase + 2 * kKiB), 9);
}

TEST_P(DioTest, CleanBuffersAreKeptUpToTheLimit) {
  options_.cached_buffers = 2;
  Restart();
  const auto read = [&](uint64_t frame) {
    const uint64_t before = dio_->metrics().reads.value();
    EXPECT_TRUE(dio_->ReadBlock(At(kBase + frame * kPbufBytes + kKiB, 10)).ok());
    return dio_->metrics().reads.value() - before;
  };
  EXPECT_EQ(read(0), 1u);
  EXPECT_EQ(read(0), 0u);
  EXPECT_EQ(read(1), 1u);
  EXPECT_EQ(read(2), 1u);
  EXPECT_EQ(read(1), 0u);
  EXPECT_EQ(read(0), 1u) << "the least recently used one was given up";
  EXPECT_EQ(dio_->metrics().buffer_hits.value(), 2u);
}

TEST_P(DioTest, RefusesToReadWhatNoDataOffCanMean) {
  for (const DataOff at : {DataOff{kBase}, DataOff{kBase | 9}, DataOff{kBase | 17},
                           DataOff{(kBase + 63 * kKiB) | 11}}) {
    EXPECT_EQ(dio_->ReadBlock(at).status().code(), absl::StatusCode::kInvalidArgument) << at.raw;
  }
  EXPECT_EQ(dio_->ReadBlock(At(64 * kMiB, 16)).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(dio_->ReadBlock(At(64 * kMiB, 10)).status().code(), absl::StatusCode::kOutOfRange);
}

TEST_P(DioTest, WritersAreHeldBackByTheQueueLimit) {
  if (GetParam() == 0) GTEST_SKIP() << "without writers there is no limit";
  options_.queue_limit_bytes = 4 * kPbufBytes;
  Restart();
  std::atomic<int64_t> highest{0};
  hook_->on_write = [&](ByteOff, ConstByteSpan) {
    const int64_t now = dio_->metrics().queued_bytes.value();
    absl::SleepFor(absl::Milliseconds(1));  // slower than those who fill the queue
    for (int64_t seen = highest; now > seen && !highest.compare_exchange_weak(seen, now);) {
    }
  };
  constexpr int kThreads = 2;
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < 100; ++i) {
        Put(At(kBase + (t * 100 + i) * kPbufBytes, i % 3 == 0 ? 12 : 16), 1, true);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(dio_->Drain().ok());
  // Each thread may be let in by the same room.
  EXPECT_LE(highest, static_cast<int64_t>((4 - 1 + kThreads) * kPbufBytes));
  EXPECT_GT(highest, 0);
  EXPECT_GT(MetricValues(*dio_)["h2bd_backpressure_wait_seconds_count{resource=device_queue}"], 0);
}

TEST_P(DioTest, DescribesWhatItCounts) {
  constexpr char kWritten[] = "h2bd_flush_device_write_bytes_total{device=memory,kind=";
  Put(At(kBase, 16), 1);
  Put(At(kBase + kPbufBytes, 12), 1);
  Put(At(kZoneSegBytes - kPbufBytes, 15), 1, true);  // the last place where freemap blocks lie
  Put(At(kZoneSegBytes, 11), 1, true);
  ASSERT_TRUE(dio_->Drain().ok());
  const MetricValues metrics(*dio_);
  EXPECT_EQ(metrics[absl::StrCat(kWritten, "data}")], 65536);
  EXPECT_EQ(metrics[absl::StrCat(kWritten, "meta}")], 4096 + 4096);
  EXPECT_EQ(metrics[absl::StrCat(kWritten, "freemap}")], 32768);
  EXPECT_EQ(metrics["h2bd_dio_writes_total"], 4);
  EXPECT_EQ(metrics["h2bd_dio_queued_bytes"], 0);
  EXPECT_EQ(metrics["h2bd_backpressure_wait_seconds_count{resource=device_queue}"], 0)
      << "nobody had to wait";
  EXPECT_EQ(metrics.twice(), "");
}

class DeterministicDioTest : public DioTest {};
INSTANTIATE_TEST_SUITE_P(NoWriters, DeterministicDioTest, testing::Values(0u));

TEST_P(DeterministicDioTest, WritesOnlyInsideDrainAndInTheOrderOfAddresses) {
  for (const uint64_t frame : {7, 3, 300, 5, 1}) Put(At(kBase + frame * kPbufBytes, 16), 1);
  Put(At(kBase + 4 * kPbufBytes, 12), 1);
  EXPECT_TRUE(Writes().empty());
  ASSERT_TRUE(dio_->Drain().ok());
  const auto writes = Writes();
  EXPECT_EQ(writes.size(), 6u);
  EXPECT_TRUE(std::is_sorted(writes.begin(), writes.end()));
  Put(At(kBase, 16), 1);
  ASSERT_TRUE(dio_->Drain().ok());
  EXPECT_EQ(Writes().size(), 7u);
}

TEST_P(DeterministicDioTest, TakesAnyAmountWithoutWriters) {
  options_.queue_limit_bytes = kPbufBytes;
  Restart();
  for (uint64_t frame = 0; frame < 300; ++frame) Put(At(kBase + frame * kPbufBytes, 16), 1);
  ASSERT_TRUE(dio_->Drain().ok());
  const auto writes = Writes();
  EXPECT_EQ(writes.size(), 300u);
  EXPECT_TRUE(std::is_sorted(writes.begin(), writes.end())) << "over several batches, too";
}

}  // namespace
}  // namespace h2bd
