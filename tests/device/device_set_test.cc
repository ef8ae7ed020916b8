#include "core/device/device_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/fault_device.h"
#include "tests/support/memory_device.h"

namespace h2bd {
namespace {

AlignedBuffer Filled(size_t bytes, int value) {
  AlignedBuffer buffer(bytes);
  std::memset(buffer.data(), value, bytes);
  return buffer;
}

// Three devices that serve [0, 64 KiB), [64 KiB, 192 KiB) and [192 KiB, 256 KiB); each is larger
// than what it serves.
class DeviceSetTest : public testing::Test {
 protected:
  static constexpr uint64_t kServed[3] = {64 * kKiB, 128 * kKiB, 64 * kKiB};

  DeviceSetTest() {
    std::vector<DeviceSet::Member> members;
    uint64_t start = 0;
    for (int i = 0; i < 3; ++i) {
      memory_.push_back(std::make_unique<MemoryDevice>(kServed[i] + kMiB, i == 1 ? 4096 : 512,
                                                       "disk" + std::to_string(i)));
      points_.push_back(std::make_unique<FaultPoint>(FaultPlan{.fail_at = 0}));
      members.push_back(
          {std::make_unique<FaultDevice>(*memory_.back(), *points_.back()), start, kServed[i]});
      start += kServed[i];
    }
    set_ = std::make_unique<DeviceSet>(std::move(members));
  }

  std::vector<std::unique_ptr<MemoryDevice>> memory_;
  std::vector<std::unique_ptr<FaultPoint>> points_;
  std::unique_ptr<DeviceSet> set_;
};

TEST_F(DeviceSetTest, MeasuresAllMembers) {
  EXPECT_EQ(set_->total_bytes(), 256 * kKiB);
  EXPECT_EQ(set_->sector_bytes(), 4096u);
  EXPECT_EQ(set_->size(), 3u);
  EXPECT_EQ(set_->root().name(), "disk0");
  EXPECT_FALSE(set_->read_only());
  memory_[2]->set_read_only(true);
  EXPECT_TRUE(set_->read_only());
}

TEST_F(DeviceSetTest, LogicalOffsetsBecomeOffsetsOfTheMember) {
  struct Case {
    uint64_t logical;
    int device;
    uint64_t local;
  };
  for (const Case& c : {Case{0, 0, 0}, Case{60 * kKiB, 0, 60 * kKiB}, Case{64 * kKiB, 1, 0},
                        Case{188 * kKiB, 1, 124 * kKiB}, Case{192 * kKiB, 2, 0}}) {
    const AlignedBuffer out = Filled(4096, 1 + static_cast<int>(c.logical / 4096));
    ASSERT_TRUE(set_->Write(ByteOff(c.logical), out.span()).ok());
    AlignedBuffer in(4096);
    memory_[static_cast<size_t>(c.device)]->Snapshot().Read(c.local, in.span());
    EXPECT_EQ(std::memcmp(in.data(), out.data(), 4096), 0) << c.logical;
    AlignedBuffer again(4096);
    ASSERT_TRUE(set_->Read(ByteOff(c.logical), again.span()).ok());
    EXPECT_EQ(std::memcmp(again.data(), out.data(), 4096), 0) << c.logical;
  }
}

TEST_F(DeviceSetTest, ATransferStaysWithinOneMember) {
  AlignedBuffer buffer(8192);
  struct Case {
    uint64_t off;
    size_t bytes;
    const char* why;
  };
  for (const Case& c : {Case{60 * kKiB, 8192, "crosses into the second device"},
                        Case{188 * kKiB, 8192, "crosses into the third"},
                        Case{252 * kKiB, 8192, "crosses the end, though the device goes on"},
                        Case{256 * kKiB, 4096, "begins at the end"},
                        Case{UINT64_MAX - 4095, 4096, "wraps around"}}) {
    EXPECT_EQ(set_->Read(ByteOff(c.off), buffer.span().first(c.bytes)).code(),
              absl::StatusCode::kOutOfRange)
        << c.why;
    EXPECT_EQ(set_->Write(ByteOff(c.off), buffer.span().first(c.bytes)).code(),
              absl::StatusCode::kOutOfRange)
        << c.why;
  }
}

TEST_F(DeviceSetTest, ABatchReachesAllMembersAndReportsItsFirstErrorInOrder) {
  points_[1]->Reset({.fail_at = 1});
  points_[2]->Reset({.fail_at = 1});
  const AlignedBuffer out = Filled(4096, 7);
  const WriteOp ops[] = {{ByteOff(0), out.span()},
                         {ByteOff(64 * kKiB), out.span()},
                         {ByteOff(300 * kKiB), out.span()},
                         {ByteOff(192 * kKiB), out.span()},
                         {ByteOff(8192), out.span()}};
  const absl::Status status = set_->WriteBatch(ops);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("disk1"));
  AlignedBuffer in(4096);
  ASSERT_TRUE(set_->Read(ByteOff(8192), in.span()).ok());
  EXPECT_EQ(std::memcmp(in.data(), out.data(), 4096), 0) << "the others were still tried";

  AlignedBuffer a(4096), b(4096);
  const ReadOp reads[] = {{ByteOff(8192), a.span()}, {ByteOff(196 * kKiB), b.span()}};
  ASSERT_TRUE(set_->ReadBatch(reads).ok());
  EXPECT_EQ(std::memcmp(a.data(), out.data(), 4096), 0);
  EXPECT_TRUE(IsAllZero(b.span()));
}

// Spec 04 section 11, row 4: the reference kept only the last device's result.
TEST_F(DeviceSetTest, SyncAllFailsWhicheverDeviceFailsAndTriesAll) {
  for (size_t bad = 0; bad < 3; ++bad) {
    for (size_t i = 0; i < 3; ++i) points_[i]->Reset({.fail_at = i == bad ? 1u : 0u});
    const absl::Status status = set_->SyncAll();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(memory_[bad]->name()));
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(points_[i]->calls(), 1u) << "device " << i;
  }
  for (size_t i = 0; i < 3; ++i) points_[i]->Reset({.fail_at = 0});
  EXPECT_TRUE(set_->SyncAll().ok());
}

TEST_F(DeviceSetTest, SyncAllReportsEachDeviceOnceAlsoOneThatFails) {
  points_[1]->Reset({.fail_at = 1});
  std::vector<size_t> reported;
  const absl::Status status = set_->SyncAll([&](size_t device, absl::Duration took) {
    reported.push_back(device);
    EXPECT_GE(took, absl::ZeroDuration());
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(reported, testing::ElementsAre(0, 1, 2));
}

TEST_F(DeviceSetTest, TellsWhichDeviceServesAByte) {
  for (const auto& [off, device] : {std::pair<uint64_t, size_t>{0, 0},
                                    {64 * kKiB - 1, 0},
                                    {64 * kKiB, 1},
                                    {192 * kKiB - 1, 1},
                                    {192 * kKiB, 2},
                                    {256 * kKiB - 1, 2}}) {
    EXPECT_EQ(set_->DeviceAt(ByteOff(off)), device) << off;
  }
}

}  // namespace
}  // namespace h2bd
