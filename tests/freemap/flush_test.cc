// What the flush of the freemap may and may not overwrite, and what it leaves behind when it fails.

#include <gtest/gtest.h>

#include "core/freemap/freemap_load.h"
#include "tests/freemap/test_volume.h"

namespace h2bd {
namespace {

// Fails the n-th write from Arm on, and every later one.
class FailingDevice final : public ForwardingDevice {
 public:
  explicit FailingDevice(BlockDevice& inner) : ForwardingDevice(inner) {}
  void Arm(int fail_at) { left_ = fail_at; }
  bool failed() const { return left_ <= 0; }

  absl::Status Write(ByteOff off, ConstByteSpan from) override {
    if (--left_ <= 0) return absl::UnavailableError("injected");
    return inner_.Write(off, from);
  }
  bool read_only() const override { return false; }

 private:
  int left_ = 1 << 30;
};

// Every freemap block that `header` leads to reads back and matches its check code.
void ExpectReadable(const std::array<Blockref, 4>& blockset, TestVolume& volume) {
  const auto root = LoadFreemapTables(blockset, volume.header().total_size, BadNode::kFail,
                                      volume.dio(), NullLogger());
  ASSERT_TRUE(root.ok()) << root.status();
  VisitFreemap(*root, [&](const FreemapEntry& entry) {
    if (entry.node != nullptr) return;
    EXPECT_EQ(LoadFreemapLeaf(entry.bref, volume.dio()).status(), absl::OkStatus());
  });
}

std::unique_ptr<VolumeData> EightGib() { return FreemapHeader(8 * kGiB, 0x14400C00, 0x1EA000000); }

void TouchZones(TestVolume& volume, uint64_t zones, uint64_t round) {
  for (uint64_t zone = 0; zone < zones; ++zone) {
    const auto at = BlockAt(BrefType::kData, zone * kGiB + 512 * kMiB + round * kPbufBytes, 16);
    ASSERT_TRUE(volume.freemap().MarkAllocated(at).value());
  }
}

TEST(FreemapFlush, EveryHeaderOfTheRingStaysReadable) {
  TestVolume volume(EightGib());
  for (uint64_t round = 0; round < 20; ++round) {
    // Zones change at different paces, so that a header names copies of different ages.
    TouchZones(volume, 1 + round % 6, round);
    volume.Commit();
    for (const RingEntry& entry : volume.ring()) ExpectReadable(entry.freemap_blockset, volume);
    EXPECT_GE(volume.freemap().rotations_left(volume.ring()), 4);
  }
}

// Defect D-10 of the reference: after eight flushes without a header the durable freemap was
// overwritten.
TEST(FreemapFlush, FlushesWithoutAHeaderNeverReachADurableCopy) {
  TestVolume volume(EightGib());
  TouchZones(volume, 6, 0);
  volume.Commit();
  for (uint64_t round = 1; round < 25; ++round) {
    TouchZones(volume, 6, round);
    ASSERT_EQ(volume.Flush().status(), absl::OkStatus());
    for (const RingEntry& entry : volume.ring()) ExpectReadable(entry.freemap_blockset, volume);
  }
}

TEST(FreemapFlush, CopiesOfOlderHeadersAreKnownAfterAReopen) {
  TestVolume volume(EightGib());
  for (uint64_t round = 0; round < 30; ++round) {
    TouchZones(volume, 1 + round % 6, round);
    volume.Commit();
    ASSERT_EQ(volume.Reopen(), absl::OkStatus());
    for (const RingEntry& entry : volume.ring()) ExpectReadable(entry.freemap_blockset, volume);
  }
}

// With the knowledge of the newest header alone, the next copies but three would be those of the
// oldest one.
TEST(FreemapFlush, FlushesAfterAReopenSpareTheOlderHeaders) {
  TestVolume volume(EightGib());
  for (uint64_t round = 0; round < 5; ++round) {
    TouchZones(volume, 6, round);
    volume.Commit();
  }
  ASSERT_EQ(volume.Reopen(), absl::OkStatus());
  for (uint64_t round = 5; round < 20; ++round) {
    TouchZones(volume, 6, round);
    ASSERT_EQ(volume.Flush().status(), absl::OkStatus());
    for (const RingEntry& entry : volume.ring()) ExpectReadable(entry.freemap_blockset, volume);
  }
}

TEST(FreemapFlush, RefusesWhenEveryCopyIsNamed) {
  TestVolume volume(EightGib(), /*header_slots=*/8);
  for (uint64_t round = 0; round < 8; ++round) {
    TouchZones(volume, 1, round);
    volume.Commit();
  }
  EXPECT_EQ(volume.freemap().rotations_left(volume.ring()), 0);
  TouchZones(volume, 1, 8);
  EXPECT_EQ(volume.Flush().status().code(), absl::StatusCode::kFailedPrecondition);
  volume.ring().erase(volume.ring().begin());
  EXPECT_EQ(volume.Flush().status(), absl::OkStatus());
}

// F-210a: each block at most once.
TEST(FreemapFlush, WritesWhatChangedAndTheWayUp) {
  TestVolume volume(EightGib());
  TouchZones(volume, 6, 0);
  EXPECT_EQ(volume.Commit().blocks, 7u);  // six leaves and a node
  TouchZones(volume, 2, 1);
  const auto flushed = volume.Commit();
  EXPECT_EQ(flushed.blocks, 3u);
  EXPECT_EQ(flushed.blockset[0].mirror_tid, volume.header().mirror_tid);
  EXPECT_LT(volume.LeafBref(3 * kGiB).mirror_tid, volume.header().mirror_tid);
  EXPECT_EQ(volume.Commit().blocks, 0u);
}

TEST(FreemapFlush, AnyFailedWriteLeavesTheLastHeaderWhole) {
  for (int fail_at = 1;; ++fail_at) {
    SCOPED_TRACE(fail_at);
    TestVolume volume(EightGib());
    TouchZones(volume, 6, 0);
    volume.Commit();
    FailingDevice device(volume.device());
    volume.UseDevice(device);
    ASSERT_EQ(volume.Reopen(), absl::OkStatus());
    const SpaceUsage before = volume.freemap().usage();

    TouchZones(volume, 6, 1);
    device.Arm(fail_at);
    const bool ok = volume.Flush().ok();
    EXPECT_EQ(ok, !device.failed());
    if (ok) {
      EXPECT_GT(fail_at, 1);
      break;
    }
    device.Arm(1 << 30);
    ASSERT_EQ(volume.Reopen(), absl::OkStatus());
    EXPECT_EQ(volume.freemap().usage().allocated_bytes, before.allocated_bytes);
    EXPECT_EQ(volume.freemap().usage().unreadable_bytes, 0u);
    TouchZones(volume, 6, 1);
    EXPECT_EQ(volume.Commit().blocks, 7u);
    for (const RingEntry& entry : volume.ring()) ExpectReadable(entry.freemap_blockset, volume);
  }
}

}  // namespace
}  // namespace h2bd
