// Something of one disk cannot be read: that disk is held, with what shares a transaction with it;
// all others go on (spec 04 F-145 and section 8.5, fault rows 13 and 19).
#include <gtest/gtest.h>

#include "core/fsck/check.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fixtures.h"
#include "tests/support/metric_values.h"
#include "tests/volume/fault_world.h"

namespace h2bd {
namespace {

constexpr uint64_t kBytes = 40 * kMiB;  // more than the inode's four entries reach
constexpr uint64_t kDamagedBlock = 2;

// A volume with disks "a", "b" and "c", full of noise, of which one block of "a" is damaged, or the
// table above it.
class HeldDisk : public ::testing::Test {
 protected:
  void Prepare(bool damage_table) {
    SeededRandom rng(TestSeed());
    MemoryDevice fresh(*FormattedImage(8 * kGiB));
    {
      const auto volume = OpenOn(fresh, ManualOptions());
      for (const char* name : {"a", "b", "c"}) {
        ASSERT_TRUE((*volume)->CreateDisk({"", name}, {kBytes}).ok());
        const DiskRef disk = *(*volume)->OpenDisk({"", name});
        std::string& content = contents_[name];
        content.resize(kBytes);
        rng.Fill(std::as_writable_bytes(std::span(content)));
        for (uint64_t at = 0; at < kBytes; at += 8 * kMiB) {
          ASSERT_EQ(WriteText(**volume, disk, at, content.substr(at, 8 * kMiB)), absl::OkStatus());
        }
      }
      ASSERT_TRUE((*volume)->Sync(nullptr, {}).ok());
      const DiskRef a = *(*volume)->OpenDisk({"", "a"});
      damaged_ = damage_table ? TableAbove(*a) : DataBlock(*a);
    }
    SparseImage image = fresh.Snapshot();
    std::byte byte;
    image.Read(damaged_ + 1000, {&byte, 1});
    byte ^= std::byte{4};
    image.Write(damaged_ + 1000, {&byte, 1});
    device_ = std::make_unique<MemoryDevice>(image);
    Reopen();
  }

  static uint64_t DataBlock(Disk& disk) {
    return (*disk.inode().tree().Find(Key(kDamagedBlock << kLogicalRadix)))->data_off.offset().v;
  }
  static uint64_t TableAbove(Disk& disk) {
    const InodeData inode = disk.inode().flushed_data();
    for (int i = 0; i < kBlocksetCount; ++i) {
      const Blockref bref = inode.blockset(i);
      if (bref.type == BrefType::kIndirect && bref.Contains(Key(kDamagedBlock << kLogicalRadix))) {
        return bref.data_off.offset().v;
      }
    }
    ADD_FAILURE() << "the disk has no table above the block";
    return 0;
  }

  void Reopen() {
    for (DiskRef* disk : {&a_, &b_, &c_}) disk->reset();
    volume_.reset();
    volume_ = *OpenOn(*device_, ManualOptions());
    a_ = *volume_->OpenDisk({"", "a"});
    b_ = *volume_->OpenDisk({"", "b"});
    c_ = *volume_->OpenDisk({"", "c"});
  }

  void Write(const DiskRef& disk, const std::string& name, uint64_t offset, std::string text) {
    ASSERT_EQ(WriteText(*volume_, disk, offset, text), absl::OkStatus());
    contents_[name].replace(offset, text.size(), text);
  }
  std::string Text(const DiskRef& disk, uint64_t offset, size_t length) {
    std::string text(length, '\0');
    EXPECT_EQ(volume_->Read(disk, offset, std::as_writable_bytes(std::span(text)), {}),
              absl::OkStatus());
    return text;
  }
  absl::StatusCode SyncCode(const DiskRef& disk) { return volume_->Sync(disk, {}).status().code(); }
  // A partial write of the damaged block, and the cycle that meets it.
  void HoldA() {
    Write(a_, "a", kDamagedBlock * kLogicalBytes + 5, "part");
    EXPECT_EQ(SyncCode(a_), absl::StatusCode::kDataLoss);
  }
  TxnInfo WriteBoth(const DiskRef& one, uint64_t offset, const DiskRef& two) {
    const TxnInfo txn = *volume_->Begin({});
    for (const DiskRef& disk : {one, two}) {
      const ConstByteSpan bytes = AsBytes("both");
      EXPECT_EQ(volume_->TxnWrite(txn.id, disk, disk == one ? offset : 7,
                                  std::span<const ConstByteSpan>(&bytes, 1), {}),
                absl::OkStatus());
    }
    return *volume_->Commit(txn.id, {});
  }

  std::map<std::string, std::string> contents_;
  uint64_t damaged_ = 0;
  std::unique_ptr<MemoryDevice> device_;
  std::unique_ptr<Volume> volume_;
  DiskRef a_, b_, c_;
};

TEST_F(HeldDisk, OthersCommitWhileOneIsHeld) {
  for (const bool damage_table : {false, true}) {
    SCOPED_TRACE(damage_table ? "a damaged table" : "a damaged block");
    Prepare(damage_table);
    Write(a_, "a", kDamagedBlock * kLogicalBytes + 5, "part");
    Write(b_, "b", 100, "of b");
    EXPECT_EQ(volume_->Sync(b_, {}).status(), absl::OkStatus());
    const auto held = volume_->Sync(a_, {});
    EXPECT_EQ(held.status().code(), absl::StatusCode::kDataLoss);
    EXPECT_NE(held.status().message().find("check code"), absl::string_view::npos) << held.status();
    EXPECT_EQ(SyncCode(nullptr), absl::StatusCode::kDataLoss) << "not everything is durable";
    EXPECT_TRUE(volume_->GetDisk({"", "a"})->damaged);
    EXPECT_FALSE(volume_->GetDisk({"", "b"})->damaged);
    // Many cycles later.
    for (int i = 0; i < 5; ++i) {
      Write(b_, "b", static_cast<uint64_t>(i) * kLogicalBytes, "more of b");
      EXPECT_EQ(SyncCode(b_), absl::StatusCode::kOk);
    }
    // Counted when it was held, not by each cycle that leaves it out.
    const MetricValues metrics(*volume_);
    EXPECT_EQ(metrics["h2bd_flush_errors_total{phase=inodes,error=check}"], 1);
    EXPECT_EQ(metrics.Sum("h2bd_flush_errors_total"), 1);
    EXPECT_EQ(metrics["h2bd_dirty_inodes"], 1) << "the held one";
    EXPECT_EQ(volume_->GetStatus().space.free_bytes + volume_->GetStatus().space.allocated_bytes,
              volume_->GetStatus().space.total_bytes);
    if (!damage_table) {
      // What the held disk has taken can be read: it is in memory.
      EXPECT_EQ(Text(a_, kDamagedBlock * kLogicalBytes + 5, 4), "part");
    }
    Reopen();
    EXPECT_EQ(Text(b_, 100, 4), contents_["b"].substr(100, 4));
    EXPECT_EQ(Text(b_, 4 * kLogicalBytes, 9), "more of b");
    if (!damage_table) {
      EXPECT_EQ(Text(a_, 30 * kMiB, 9), contents_["a"].substr(30 * kMiB, 9));
    }
  }
}

TEST_F(HeldDisk, OverwritingTheDamagedBlockRepairsIt) {
  Prepare(/*damage_table=*/false);
  HoldA();
  Write(a_, "a", kDamagedBlock * kLogicalBytes + 50, "a little more fits");
  EXPECT_EQ(SyncCode(a_), absl::StatusCode::kDataLoss);
  Write(a_, "a", kDamagedBlock * kLogicalBytes, std::string(kLogicalBytes, 'r'));
  EXPECT_EQ(volume_->Sync(a_, {}).status(), absl::OkStatus());
  EXPECT_EQ(volume_->Sync(nullptr, {}).status(), absl::OkStatus());
  EXPECT_FALSE(volume_->GetDisk({"", "a"})->damaged);
  EXPECT_EQ(volume_->GetStatus().dirty_bytes, 0u);
  Write(a_, "a", 9, "as before");
  EXPECT_EQ(SyncCode(a_), absl::StatusCode::kOk);
  Reopen();
  EXPECT_TRUE(*ReadAll(*volume_, a_) == contents_["a"]);
  volume_->Close().IgnoreError();
  MemoryDevice later(device_->Snapshot());
  BlockDevice* devices[] = {&later};
  EXPECT_EQ(CheckDevices(devices, {}).errors, 0u) << "the newest header is clean again";
}

// P7: nothing that a held disk takes can leave memory, so it must not take what others need.
TEST_F(HeldDisk, ItDoesNotFillTheMemoryOfAllOthers) {
  Prepare(/*damage_table=*/false);
  HoldA();
  absl::Status refused;
  uint64_t at = 4 * kMiB + 1;
  for (; refused.ok() && at < kBytes - kMiB; at += kMiB) {
    refused = WriteText(*volume_, a_, at, std::string(kMiB, 'w'));
  }
  EXPECT_EQ(refused.code(), absl::StatusCode::kDataLoss) << refused;
  const VolumeStatus status = volume_->GetStatus();
  EXPECT_LT(status.dirty_bytes, status.dirty_limit_bytes / 8);
  Write(b_, "b", 0, std::string(20 * kMiB, 'b'));
  EXPECT_EQ(SyncCode(b_), absl::StatusCode::kOk);
}

// Also when the disk had all the memory before anybody knew of the damage.
TEST_F(HeldDisk, WhatItHadTakenBeforeIsSetAside) {
  Prepare(/*damage_table=*/true);
  VolumeOptions options = ManualOptions();
  options.dirty_limit_bytes = 4 * kMiB;
  for (DiskRef* disk : {&a_, &b_, &c_}) disk->reset();
  volume_.reset();
  volume_ = *OpenOn(*device_, options);
  a_ = *volume_->OpenDisk({"", "a"});
  b_ = *volume_->OpenDisk({"", "b"});
  IoOptions soon;
  const auto write = [&](const DiskRef& disk, uint64_t at, uint64_t bytes) {
    soon.deadline = absl::Now() + absl::Milliseconds(20);
    const std::string text(bytes, 'x');
    return volume_->Write(disk, at, AsBytes(text), soon).status();
  };
  uint64_t at = 0;
  while (write(a_, at, 64 * kKiB).ok()) at += 64 * kKiB;
  EXPECT_EQ(SyncCode(a_), absl::StatusCode::kDataLoss);
  for (uint64_t i = 0; i < 40; ++i) {
    EXPECT_EQ(write(b_, i * kMiB, 512 * kKiB), absl::OkStatus());
    EXPECT_EQ(SyncCode(b_), absl::StatusCode::kOk);
  }
  absl::Status refused;
  while (refused.ok()) refused = write(a_, at += 64 * kKiB, 64 * kKiB);
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted) << refused;
  EXPECT_LE(volume_->GetStatus().dirty_bytes, options.dirty_limit_bytes);
  const uint64_t reserved = volume_->GetStatus().space.reserved_bytes;
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(volume_->Discard(a_, 0, kBytes, {}).ok());
  EXPECT_LT(volume_->GetStatus().space.reserved_bytes, reserved + kMiB);
  EXPECT_EQ(SyncCode(nullptr), absl::StatusCode::kOk) << "the discard has healed it";
  EXPECT_EQ(volume_->GetStatus().dirty_bytes, 0u);
  EXPECT_EQ(volume_->GetStatus().space.reserved_bytes, 0u);
}

TEST_F(HeldDisk, DiscardingTheRangeOfADamagedTableRepairsIt) {
  Prepare(/*damage_table=*/true);
  HoldA();
  ASSERT_TRUE(volume_->Discard(a_, 0, kBytes, {}).ok());
  EXPECT_EQ(volume_->Sync(a_, {}).status(), absl::OkStatus());
  EXPECT_TRUE(*ReadAll(*volume_, a_) == std::string(kBytes, '\0'));
}

TEST_F(HeldDisk, DeletingItEndsIt) {
  Prepare(/*damage_table=*/true);
  HoldA();
  EXPECT_GT(volume_->GetStatus().dirty_bytes, 0u);
  ASSERT_EQ(volume_->DeleteDisk({"", "a"}), absl::OkStatus());
  EXPECT_EQ(volume_->Sync(nullptr, {}).status(), absl::OkStatus());
  EXPECT_EQ(volume_->GetStatus().dirty_bytes, 0u);
  EXPECT_EQ(volume_->GetStatus().space.reserved_bytes, 0u);
  EXPECT_EQ(volume_->GetDisk({"", "a"}).status().code(), absl::StatusCode::kNotFound);
}

// I-09, P3: a transaction with a part that cannot be stored is stored on no disk.
TEST_F(HeldDisk, ATransactionIsHeldAsAWhole) {
  Prepare(/*damage_table=*/false);
  const TxnInfo txn = WriteBoth(a_, kDamagedBlock * kLogicalBytes + 5, b_);
  Write(c_, "c", 3, "of c");
  EXPECT_EQ(SyncCode(c_), absl::StatusCode::kOk);
  EXPECT_EQ(SyncCode(a_), absl::StatusCode::kDataLoss);
  const absl::Status of_b = volume_->Sync(b_, {}).status();
  EXPECT_EQ(of_b.code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(of_b.message().find("transaction"), absl::string_view::npos) << of_b;
  EXPECT_EQ(volume_->GetTransaction(txn.id)->state, TxnState::kApplied) << "not durable";
  EXPECT_EQ(Text(b_, 7, 4), "both");
  {
    MemoryDevice crashed(device_->Snapshot());
    const auto later = OpenOn(crashed, ManualOptions());
    const DiskRef b = *(*later)->OpenDisk({"", "b"});
    EXPECT_TRUE(*ReadAll(**later, b) == contents_["b"]) << "nothing of it";
  }
  Write(a_, "a", kDamagedBlock * kLogicalBytes, std::string(kLogicalBytes, 'r'));
  EXPECT_EQ(SyncCode(b_), absl::StatusCode::kOk);
  EXPECT_EQ(volume_->GetTransaction(txn.id)->state, TxnState::kDurable);
  Reopen();
  EXPECT_EQ(Text(b_, 7, 4), "both");
}

TEST_F(HeldDisk, ANewDiskInAHeldTransactionExistsAndIsEmpty) {
  Prepare(/*damage_table=*/false);
  ASSERT_TRUE(volume_->CreateDisk({"", "new"}, {kMiB}).ok());
  {
    const DiskRef fresh = *volume_->OpenDisk({"", "new"});
    WriteBoth(a_, kDamagedBlock * kLogicalBytes + 5, fresh);
    EXPECT_EQ(SyncCode(fresh), absl::StatusCode::kDataLoss);
  }
  MemoryDevice crashed(device_->Snapshot());
  {
    const auto later = OpenOn(crashed, ManualOptions());
    const auto fresh = (*later)->OpenDisk({"", "new"});
    ASSERT_TRUE(fresh.ok()) << fresh.status();
    EXPECT_TRUE(*ReadAll(**later, *fresh) == std::string(kMiB, '\0'));
  }
  BlockDevice* devices[] = {&crashed};
  const CheckReport report = CheckDevices(devices, {});
  EXPECT_EQ(report.errors, 1u) << "the damaged block and nothing else\n"
                               << report.ToString(Severity::kError);
}

// What was durable before the disk was held stays so for whoever asks (I-09, spec 04 section 9.1).
TEST_F(HeldDisk, WhatWasDurableBeforeItWasHeldStaysDurable) {
  Prepare(/*damage_table=*/false);
  const TxnInfo before = WriteBoth(a_, 20 * kLogicalBytes, b_);
  ASSERT_TRUE(volume_->Sync(nullptr, {}).ok());
  HoldA();
  EXPECT_EQ(volume_->GetTransaction(before.id)->state, TxnState::kDurable);
  EXPECT_EQ(volume_->SyncTo(before.seq, {}).status(), absl::OkStatus());
  const TxnInfo after = WriteBoth(a_, 21 * kLogicalBytes, b_);
  EXPECT_EQ(SyncCode(nullptr), absl::StatusCode::kDataLoss);
  EXPECT_EQ(volume_->GetTransaction(after.id)->state, TxnState::kApplied);
  EXPECT_EQ(volume_->GetTransaction(before.id)->state, TxnState::kDurable);
  EXPECT_EQ(volume_->SyncTo(after.seq, {}).status().code(), absl::StatusCode::kDataLoss);
  Write(a_, "a", kDamagedBlock * kLogicalBytes, std::string(kLogicalBytes, 'n'));
  EXPECT_EQ(SyncCode(nullptr), absl::StatusCode::kOk);
  EXPECT_EQ(volume_->GetTransaction(after.id)->state, TxnState::kDurable);
}

// A sector that cannot be read may cost seconds for each attempt. The Syncs of other disks do not
// pay for it: a held disk is tried again in its own time, or because somebody asks for it.
TEST_F(HeldDisk, AnUnreadableBlockIsNotReadAgainByTheSyncsOfOthers) {
  Prepare(/*damage_table=*/false);
  FakeClock clock;
  FaultPoint point({.sticky = true,
                    .reads = true,
                    .writes = false,
                    .syncs = false,
                    .begin = damaged_,
                    .end = damaged_ + kAllocMin});
  FaultDevice faulty(*device_, point);
  for (DiskRef* disk : {&a_, &b_, &c_}) disk->reset();
  volume_ = *OpenOn(faulty, ManualOptions(), {.clock = &clock});
  a_ = *volume_->OpenDisk({"", "a"});
  b_ = *volume_->OpenDisk({"", "b"});
  Write(a_, "a", kDamagedBlock * kLogicalBytes + 5, "part");
  EXPECT_EQ(SyncCode(a_), absl::StatusCode::kUnavailable);
  const auto attempts_of_a_sync_of_b = [&] {
    const uint64_t before = point.calls();
    Write(b_, "b", 0, "of b");
    EXPECT_EQ(SyncCode(b_), absl::StatusCode::kOk);
    return point.calls() - before;
  };
  for (int i = 0; i < 3; ++i) EXPECT_EQ(attempts_of_a_sync_of_b(), 0u);
  clock.Advance(absl::Seconds(2));
  EXPECT_GT(attempts_of_a_sync_of_b(), 0u) << "its time has come";
  EXPECT_EQ(attempts_of_a_sync_of_b(), 0u);
  const uint64_t before = point.calls();
  EXPECT_EQ(SyncCode(a_), absl::StatusCode::kUnavailable);
  EXPECT_GT(point.calls(), before) << "who asks for the disk itself gets an attempt";
  a_.reset();
  b_.reset();
  volume_.reset();
}

TEST_F(HeldDisk, TheLastCycleOfAVolumeSaysThatADiskIsHeld) {
  Prepare(/*damage_table=*/false);
  HoldA();
  Write(b_, "b", 1, "last words");
  EXPECT_EQ(volume_->Close().code(), absl::StatusCode::kDataLoss);
  Reopen();
  EXPECT_EQ(Text(b_, 1, 10), "last words");
}

}  // namespace
}  // namespace h2bd
