#include "core/dio/frame.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/random.h"
#include "core/dio/frame_table.h"
#include "tests/support/fixtures.h"

namespace h2bd {
namespace {

AlignedBuffer Filled(size_t bytes, int value) {
  AlignedBuffer buffer(bytes);
  std::memset(buffer.data(), value, bytes);
  return buffer;
}

int ByteAt(ConstByteSpan bytes, uint64_t off) { return static_cast<int>(bytes[off]); }

TEST(FrameContent, ReadsMediaOnlyForUnitsThatAreNotCovered) {
  struct Case {
    uint64_t off, bytes;
    UnitMask for_read, for_write;
    const char* why;
  };
  for (const Case& c :
       {Case{0, 1024, 0x0001, 0x0001, "part of a unit"},
        Case{3072, 1024, 0x0001, 0x0001, "the end of a unit"},
        Case{4096, 4096, 0x0002, 0x0000, "exactly one unit"},
        Case{0x1c00, 8192, 0x000e, 0x000a, "8 KiB at 1c00: head and tail"},
        Case{16384, 16384, 0x00f0, 0x0000, "16 KiB aligned"}, Case{0, 65536, 0xffff, 0x0000, "all"},
        Case{61440, 4096, 0x8000, 0x0000, "the last unit"},
        Case{64512, 1024, 0x8000, 0x8000, "the last KiB"}}) {
    FrameContent content;
    EXPECT_EQ(content.MissingForRead(c.off, c.bytes), c.for_read) << c.why;
    EXPECT_EQ(content.MissingForWrite(c.off, c.bytes), c.for_write) << c.why;
    content.Learn(Filled(65536, 1).span(), kAllUnits);
    EXPECT_EQ(content.MissingForRead(c.off, c.bytes), 0) << c.why;
    EXPECT_EQ(content.MissingForWrite(c.off, c.bytes), 0) << c.why;
  }
}

TEST(FrameContent, MediaNeverReplacesWhatIsKnown) {
  FrameContent content;
  content.Put(4096, Filled(4096, 7).span());
  content.Learn(Filled(65536, 1).span(), kAllUnits);
  AlignedBuffer all(65536);
  content.CopyOut(0, all.span());
  EXPECT_EQ(ByteAt(all.span(), 4095), 1);
  EXPECT_EQ(ByteAt(all.span(), 4096), 7);
  EXPECT_EQ(ByteAt(all.span(), 8191), 7);
  EXPECT_EQ(ByteAt(all.span(), 8192), 1);
}

TEST(FrameContent, AFreshFrameIsZeroWhereNoBlockIs) {
  FrameContent content;
  content.Put(8192, Filled(4096, 7).span());
  content.LearnEmpty(kAllUnits);
  AlignedBuffer all = Filled(65536, 9);
  content.CopyOut(0, all.span());
  EXPECT_TRUE(IsAllZero(all.span().first(8192)));
  EXPECT_EQ(ByteAt(all.span(), 8192), 7) << "a block that came first is not wiped";
  EXPECT_TRUE(IsAllZero(all.span().subspan(12288)));
}

TEST(FrameContent, WhatIsInFlightDoesNotChange) {
  FrameContent content;
  content.LearnEmpty(kAllUnits);
  content.Put(0, Filled(1024, 1).span());
  const FrameContent::Flight flight = content.TakeOff();
  EXPECT_EQ(flight.units, 0x0001);
  EXPECT_FALSE(content.dirty());
  content.Put(1024, Filled(1024, 2).span());
  EXPECT_TRUE(content.dirty());
  EXPECT_EQ(ByteAt(flight.bytes->span(), 0), 1);
  EXPECT_EQ(ByteAt(flight.bytes->span(), 1024), 0) << "the copy in flight is stable";
  content.Landed(flight.units);
  const FrameContent::Flight second = content.TakeOff();
  EXPECT_EQ(ByteAt(second.bytes->span(), 0), 1);
  EXPECT_EQ(ByteAt(second.bytes->span(), 1024), 2);
}

// F-224: what was handed to the device is suspect until a barrier has covered it.
TEST(FrameContent, WhatLandedIsDirtyAgainUntilItIsConfirmed) {
  FrameContent content;
  content.LearnEmpty(kAllUnits);
  content.Put(4096, Filled(1024, 1).span());
  content.Landed(content.TakeOff().units);
  content.Put(8192, Filled(1024, 2).span());
  content.Landed(content.TakeOff().units);
  EXPECT_TRUE(content.suspect());
  EXPECT_FALSE(content.dirty());
  content.Redo();
  EXPECT_FALSE(content.suspect());
  EXPECT_EQ(content.TakeOff().units, 0x0006);
  content.Landed(0x0006);
  content.Confirmed();
  content.Redo();
  EXPECT_FALSE(content.dirty()) << "a barrier has covered it";
}

TEST(FrameContent, AWholeBlockIsTakenOverAndNeverChanged) {
  const auto block = std::make_shared<const AlignedBuffer>(Filled(65536, 3));
  FrameContent content;
  content.PutWhole(block);
  EXPECT_TRUE(content.whole());
  EXPECT_TRUE(content.all_dirty());
  EXPECT_EQ(content.TakeOff().bytes.get(), block.get()) << "without a copy";
  content.Landed(kAllUnits);
  content.Put(1024, Filled(1024, 4).span());
  EXPECT_FALSE(content.whole());
  EXPECT_EQ(ByteAt(block->span(), 1024), 3) << "it is still the caller's";
  AlignedBuffer out(2048);
  content.CopyOut(0, out.span());
  EXPECT_EQ(ByteAt(out.span(), 1023), 3);
  EXPECT_EQ(ByteAt(out.span(), 1024), 4);
}

TEST(FrameContent, AgreesWithPlainBytes) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(absl::StrCat("H2BD_SEED=", seed));
  SeededRandom rng(seed);
  for (int run = 0; run < 50; ++run) {
    AlignedBuffer media(65536);  // what the device holds
    rng.Fill(media.span());
    AlignedBuffer model = AlignedBuffer::CopyOf(media.span());  // what must be read
    FrameContent content;
    std::optional<FrameContent::Flight> flight;
    std::optional<AlignedBuffer> flight_bytes;
    const auto land = [&] {
      EXPECT_EQ(std::memcmp(flight->bytes->data(), flight_bytes->data(), 65536), 0)
          << "changed in flight";
      std::vector<WriteOp> ops;
      AppendWrites(0, *flight, &ops);
      for (const WriteOp& op : ops)
        std::memcpy(media.data() + op.off.v, op.from.data(), op.from.size());
      content.Landed(flight->units);
      flight.reset();
    };
    for (int step = 0; step < 60; ++step) {
      const uint64_t bytes = kKiB << rng.Next64() % 7;
      const uint64_t off = rng.Next64() % ((65536 - bytes) / kKiB + 1) * kKiB;
      const uint64_t what = rng.Next64() % 8;
      if (what < 4) {
        AlignedBuffer block(bytes);
        rng.Fill(block.span());
        std::memcpy(model.data() + off, block.data(), bytes);
        if (bytes == 65536) {
          content.PutWhole(std::make_shared<const AlignedBuffer>(std::move(block)));
        } else {
          content.Learn(media.span(), content.MissingForWrite(off, bytes));
          content.Put(off, block.span());
        }
      } else if (what < 6) {
        content.Learn(media.span(), content.MissingForRead(off, bytes));
        AlignedBuffer out(bytes);
        content.CopyOut(off, out.span());
        ASSERT_EQ(std::memcmp(out.data(), model.data() + off, bytes), 0) << "step " << step;
      } else if (!flight.has_value() && content.dirty()) {
        flight = content.TakeOff();
        flight_bytes = AlignedBuffer::CopyOf(flight->bytes->span());
      } else if (flight.has_value()) {
        land();
      }
    }
    if (flight.has_value()) land();
    if (content.dirty()) {
      flight = content.TakeOff();
      flight_bytes = AlignedBuffer::CopyOf(flight->bytes->span());
      land();
    }
    ASSERT_EQ(std::memcmp(media.data(), model.data(), 65536), 0) << "run " << run;
  }
}

TEST(AppendWrites, MakesOneWriteOfEachRun) {
  FrameContent::Flight flight{
      .bytes = std::make_shared<const AlignedBuffer>(AlignedBuffer::Zeroed(65536)),
      .units = 0b1100'0000'0110'1001};
  std::vector<WriteOp> ops;
  AppendWrites(0x100000, flight, &ops);
  ASSERT_EQ(ops.size(), 4u);
  const std::pair<uint64_t, size_t> expected[] = {
      {0x100000, 4096}, {0x103000, 4096}, {0x105000, 8192}, {0x10e000, 8192}};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(ops[i].off.v, expected[i].first);
    EXPECT_EQ(ops[i].from.size(), expected[i].second);
    EXPECT_EQ(ops[i].from.data(), flight.bytes->data() + (ops[i].off.v - 0x100000));
  }
}

TEST(FrameTable, KeepsThePinnedAndTheRecentlyUsed) {
  FrameTable table(2);
  Frame& pinned = table.FindOrMake(0);
  for (uint64_t base = 1; base <= 4; ++base) table.Unpin(table.FindOrMake(base * kPbufBytes));
  EXPECT_EQ(table.size(), 3u);
  EXPECT_EQ(table.Find(1 * kPbufBytes), nullptr);
  Frame* third = table.Find(3 * kPbufBytes);
  ASSERT_NE(third, nullptr);
  table.Unpin(*third);  // now more recently used than the fourth
  table.Unpin(table.FindOrMake(5 * kPbufBytes));
  EXPECT_EQ(table.Find(4 * kPbufBytes), nullptr);
  ASSERT_EQ(table.Find(3 * kPbufBytes), third);
  table.UnpinAndForget(*third);
  EXPECT_EQ(table.Find(3 * kPbufBytes), nullptr);
  ASSERT_EQ(table.Find(0), &pinned);
  table.UnpinAndForget(pinned);  // still pinned once
  EXPECT_EQ(table.size(), 2u);
  table.Unpin(pinned);
  EXPECT_EQ(table.Find(0), nullptr) << "whoever unpins last";
}

TEST(WriteQueue, SweepsUpwardsAndAround) {
  Gauge bytes;
  WriteQueue queue(bytes);
  std::vector<std::unique_ptr<Frame>> frames;
  for (uint64_t i = 0; i < 8; ++i) frames.push_back(std::make_unique<Frame>(i * kPbufBytes));
  const auto bases = [](const std::vector<Frame*>& taken) {
    std::vector<uint64_t> result;
    for (const Frame* frame : taken) result.push_back(frame->base / kPbufBytes);
    return result;
  };
  using Bases = std::vector<uint64_t>;
  for (const int i : {5, 1, 3}) queue.Add(*frames[static_cast<size_t>(i)], /*complete=*/true);
  for (const int i : {4, 2}) queue.Add(*frames[static_cast<size_t>(i)], /*complete=*/false);
  EXPECT_EQ(bases(queue.Take(2, /*with_partial=*/true)), (Bases{1, 2}));
  queue.Add(*frames[0], /*complete=*/true);
  EXPECT_EQ(bases(queue.Take(8, /*with_partial=*/false)), (Bases{3, 5}));
  EXPECT_EQ(bases(queue.Take(8, /*with_partial=*/false)), (Bases{0}));
  EXPECT_FALSE(queue.has_complete());
  EXPECT_TRUE(queue.Take(8, /*with_partial=*/false).empty());
  queue.Promote(*frames[4]);
  queue.Promote(*frames[7]);  // was never queued
  EXPECT_EQ(bases(queue.Take(8, /*with_partial=*/false)), (Bases{4}));
  EXPECT_TRUE(queue.empty());
}

TEST(WriteQueue, TicketsTellWhatADrainWaitsFor) {
  Gauge bytes;
  WriteQueue queue(bytes);
  const uint64_t a = queue.NewTicket(), b = queue.NewTicket(), c = queue.NewTicket();
  EXPECT_EQ(bytes.value(), 3 * static_cast<int64_t>(kPbufBytes));
  EXPECT_EQ(queue.last_ticket(), c);
  queue.Close(b);
  EXPECT_FALSE(queue.ClosedUpTo(b));
  queue.Close(a);
  EXPECT_TRUE(queue.ClosedUpTo(b));
  EXPECT_FALSE(queue.ClosedUpTo(c));
  queue.Close(c);
  EXPECT_TRUE(queue.ClosedUpTo(c));
  EXPECT_EQ(bytes.value(), 0);
}

}  // namespace
}  // namespace h2bd
