// The engine through its face: what a client sees, across cycles and restarts.
#include "core/volume/volume.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

using ::testing::HasSubstr;

class VolumeTest : public ::testing::Test {
 protected:
  explicit VolumeTest(uint64_t bytes = 1 * kGiB) {
    absl::StatusOr<SparseImage> image = FormattedImage(bytes);
    EXPECT_TRUE(image.ok()) << image.status();
    device_ = std::make_unique<MemoryDevice>(*std::move(image));
    Open(ManualOptions());
  }
  void TearDown() override {
    volume_.reset();
    ExpectClean(*device_);
  }
  void Open(const VolumeOptions& options) {
    volume_.reset();
    absl::StatusOr<std::unique_ptr<Volume>> volume = OpenOn(*device_, options);
    ASSERT_TRUE(volume.ok()) << volume.status();
    volume_ = *std::move(volume);
  }
  // As kill -9: what no cycle has published is gone.
  void Crash() {
    auto survivor = std::make_unique<MemoryDevice>(device_->Snapshot());
    volume_.reset();
    device_ = std::move(survivor);
    Open(ManualOptions());
  }
  DiskRef Create(const std::string& name, uint64_t size) {
    const auto info = volume_->CreateDisk({"", name}, {size});
    EXPECT_TRUE(info.ok()) << info.status();
    return Disk(name);
  }
  DiskRef Disk(const std::string& name) {
    absl::StatusOr<DiskRef> disk = volume_->OpenDisk({"", name});
    EXPECT_TRUE(disk.ok()) << disk.status();
    return disk.ok() ? *disk : nullptr;
  }
  std::string Read(const DiskRef& disk, uint64_t offset, size_t length) {
    std::string text(length, '?');
    const absl::Status status = volume_->Read(
        disk, offset, ByteSpan(reinterpret_cast<std::byte*>(text.data()), length), {});
    EXPECT_TRUE(status.ok()) << status;
    return text;
  }
  void Write(const DiskRef& disk, uint64_t offset, absl::string_view text) {
    EXPECT_EQ(WriteText(*volume_, disk, offset, text), absl::OkStatus());
  }
  void Sync() {
    const auto result = volume_->Sync(nullptr, {});
    ASSERT_TRUE(result.ok()) << result.status();
  }

  std::unique_ptr<MemoryDevice> device_;
  std::unique_ptr<Volume> volume_;
};

TEST_F(VolumeTest, AWriteIsReadBackBeforeAndAfterACycleAndARestart) {
  DiskRef disk = Create("vm1", 10 * kMiB);
  Write(disk, 4000, "across a page boundary: ");
  EXPECT_EQ(Read(disk, 4000, 24), "across a page boundary: ");
  EXPECT_EQ(Read(disk, 3998, 4), std::string("\0\0ac", 4));
  Sync();
  EXPECT_EQ(Read(disk, 4000, 24), "across a page boundary: ");
  disk.reset();
  Crash();
  EXPECT_EQ(Read(Disk("vm1"), 4000, 24), "across a page boundary: ");
}

TEST_F(VolumeTest, WithoutSyncACrashForgetsAndCloseDoesNot) {
  DiskRef disk = Create("vm1", kMiB);
  Write(disk, 0, "first");
  Sync();
  Write(disk, 0, "SECOND");
  disk.reset();
  Crash();
  EXPECT_EQ(Read(Disk("vm1"), 0, 6), std::string("first\0", 6));
  Write(Disk("vm1"), 0, "third");
  EXPECT_EQ(volume_->Close(), absl::OkStatus());
  disk.reset();
  Open(ManualOptions());
  EXPECT_EQ(Read(Disk("vm1"), 0, 5), "third");
}

TEST_F(VolumeTest, AnIdleSyncDoesNoCycle) {
  DiskRef disk = Create("vm1", kMiB);
  Write(disk, 0, "x");
  const auto first = volume_->Sync(nullptr, {});
  ASSERT_TRUE(first.ok());
  EXPECT_TRUE(first->ran_cycle);
  const auto second = volume_->Sync(nullptr, {});
  ASSERT_TRUE(second.ok());
  EXPECT_FALSE(second->ran_cycle);
  EXPECT_EQ(first->mirror_tid, second->mirror_tid);
}

TEST_F(VolumeTest, HeadersGoAroundTheRingWithRisingIds) {
  absl::StatusOr<SparseImage> image = FormattedImage(8 * kGiB);
  ASSERT_TRUE(image.ok());
  device_ = std::make_unique<MemoryDevice>(*std::move(image));
  Open(ManualOptions());
  DiskRef disk = Create("vm1", kMiB);
  for (const int slot : {1, 2, 3, 0, 1}) {
    Write(disk, 0, absl::StrCat(slot));
    const auto result = volume_->Sync(disk, {});
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(result->header_slot, slot);
  }
  EXPECT_EQ(volume_->GetStatus().mirror_tid, Tid(16 + 5));
  EXPECT_EQ(volume_->GetStatus().freemap_tid, Tid(16 + 5));
}

TEST_F(VolumeTest, ZeroesAndDiscardsReadAsZerosAndBecomeHoles) {
  DiskRef disk = Create("vm1", 4 * kMiB);
  Write(disk, 0, std::string(kMiB, 'a'));
  Sync();
  ASSERT_TRUE(volume_->WriteZeroes(disk, 100, 3 * kLogicalBytes, {}).ok());
  const std::string expected =
      std::string(100, 'a') + std::string(3 * kLogicalBytes, '\0') + std::string(100, 'a');
  EXPECT_EQ(Read(disk, 0, expected.size()), expected);
  Write(disk, kLogicalBytes + 7, "over the hole");
  Sync();
  EXPECT_EQ(Read(disk, kLogicalBytes, 22),
            std::string(7, '\0') + "over the hole" + std::string(2, '\0'));
  disk.reset();
  Crash();
  disk = Disk("vm1");
  EXPECT_EQ(Read(disk, 0, 102), std::string(100, 'a') + std::string(2, '\0'));
  EXPECT_EQ(Read(disk, kLogicalBytes, 22),
            std::string(7, '\0') + "over the hole" + std::string(2, '\0'));
  const uint64_t before = volume_->GetDisk({"", "vm1"})->stored_bytes;
  ASSERT_TRUE(volume_->Discard(disk, 0, 4 * kMiB, {}).ok());
  Sync();
  EXPECT_EQ(*ReadAll(*volume_, disk), std::string(4 * kMiB, '\0'));
  EXPECT_GT(before, 0u);
  EXPECT_EQ(volume_->GetDisk({"", "vm1"})->stored_bytes, 0u);
}

TEST_F(VolumeTest, ShrinkingForgetsWhatWasBehindTheEnd) {
  DiskRef disk = Create("vm1", 300000);
  Write(disk, 0, std::string(300000, 'z'));
  Sync();
  ASSERT_TRUE(volume_->ResizeDisk({"", "vm1"}, 100000).ok());
  EXPECT_EQ(volume_->Read(disk, 99999, ByteSpan(std::vector<std::byte>(2).data(), 2), {}).code(),
            absl::StatusCode::kOutOfRange);
  ASSERT_TRUE(volume_->ResizeDisk({"", "vm1"}, 300000).ok());
  const std::string expected = std::string(100000, 'z') + std::string(200000, '\0');
  EXPECT_EQ(*ReadAll(*volume_, disk), expected);
  Sync();
  disk.reset();
  Crash();
  EXPECT_EQ(*ReadAll(*volume_, Disk("vm1")), expected);
}

TEST_F(VolumeTest, NamesChangeAtOnceAndForGood) {
  Create("a", kMiB);
  Create("b", kMiB);
  Write(Disk("a"), 0, "I am a");
  EXPECT_EQ(volume_->CreateDisk({"", "a"}, {1}).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(volume_->RenameDisk({"", "a"}, {"", "b"}).status().code(),
            absl::StatusCode::kAlreadyExists);
  ASSERT_TRUE(volume_->RenameDisk({"", "a"}, {"", "c"}).ok());
  EXPECT_EQ(volume_->OpenDisk({"", "a"}).status().code(), absl::StatusCode::kNotFound);
  Sync();
  DiskRef b = Disk("b");
  ASSERT_EQ(volume_->DeleteDisk({"", "b"}), absl::OkStatus());
  EXPECT_EQ(WriteText(*volume_, b, 0, "x").code(), absl::StatusCode::kNotFound);
  Create("b", 5);  // the name is free again
  const auto list = volume_->ListDisks("", 100, "");
  ASSERT_TRUE(list.ok());
  ASSERT_EQ(list->disks.size(), 2u);
  Sync();
  b.reset();
  Crash();
  EXPECT_EQ(Read(Disk("c"), 0, 6), "I am a");
  EXPECT_EQ(volume_->GetDisk({"", "b"})->size_bytes, 5u);
}

TEST_F(VolumeTest, ListingPagesCoverPendingAndStoredNamesOnce) {
  std::set<std::string> expected;
  for (int i = 0; i < 30; ++i) {
    Create(absl::StrCat("stored", i), 1);
    expected.insert(absl::StrCat("stored", i));
  }
  Sync();
  for (int i = 0; i < 30; ++i) {
    Create(absl::StrCat("pending", i), 1);
    expected.insert(absl::StrCat("pending", i));
  }
  ASSERT_EQ(volume_->DeleteDisk({"", "stored7"}), absl::OkStatus());
  expected.erase("stored7");
  for (const bool synced : {false, true}) {
    if (synced) Sync();
    std::multiset<std::string> seen;
    std::string token;
    do {
      const auto page = volume_->ListDisks("DATA", 7, token);
      ASSERT_TRUE(page.ok()) << page.status();
      for (const DiskInfo& disk : page->disks) seen.insert(disk.name.path);
      token = page->next_page_token;
    } while (!token.empty());
    EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()), expected);
    EXPECT_EQ(seen.size(), expected.size());
  }
}

TEST_F(VolumeTest, ATransactionIsSeenWholeOrNotAtAll) {
  DiskRef a = Create("a", kMiB);
  DiskRef b = Create("b", kMiB);
  const auto txn = volume_->Begin({});
  ASSERT_TRUE(txn.ok());
  const auto stage = [&](TxnId id, const DiskRef& disk, uint64_t at, absl::string_view text) {
    const ConstByteSpan bytes = AsBytes(text);
    return volume_->TxnWrite(id, disk, at, std::span<const ConstByteSpan>(&bytes, 1), {});
  };
  ASSERT_EQ(stage(txn->id, a, 10, "debit"), absl::OkStatus());
  ASSERT_EQ(stage(txn->id, b, 10, "credit"), absl::OkStatus());
  EXPECT_EQ(Read(a, 10, 5), std::string(5, '\0'));
  std::string own(6, '?');
  ASSERT_EQ(
      volume_->TxnRead(txn->id, b, 10, ByteSpan(reinterpret_cast<std::byte*>(own.data()), 6), {}),
      absl::OkStatus());
  EXPECT_EQ(own, "credit");

  const auto other = volume_->Begin({});
  ASSERT_TRUE(other.ok());
  EXPECT_EQ(stage(other->id, a, 12, "x").code(), absl::StatusCode::kAborted);
  ASSERT_EQ(stage(other->id, a, 500, "dropped"), absl::OkStatus());
  ASSERT_TRUE(volume_->Abort(other->id).ok());

  const auto applied = volume_->Commit(txn->id, {});
  ASSERT_TRUE(applied.ok()) << applied.status();
  EXPECT_EQ(applied->state, TxnState::kApplied);
  EXPECT_EQ(Read(a, 10, 5), "debit");
  EXPECT_EQ(Read(b, 10, 6), "credit");
  EXPECT_EQ(Read(a, 500, 7), std::string(7, '\0'));
  ASSERT_TRUE(volume_->SyncTo(applied->seq, {}).ok());
  EXPECT_EQ(volume_->GetTransaction(txn->id)->state, TxnState::kDurable);
  a.reset();
  b.reset();
  Crash();
  EXPECT_EQ(Read(Disk("a"), 10, 5), "debit");
  EXPECT_EQ(Read(Disk("b"), 10, 6), "credit");
}

TEST_F(VolumeTest, ACommitThatCannotBeAppliedLeavesNothing) {
  DiskRef a = Create("a", kMiB);
  DiskRef b = Create("b", kMiB);
  const auto txn = volume_->Begin({});
  ASSERT_TRUE(txn.ok());
  const ConstByteSpan bytes = AsBytes("text");
  const std::span<const ConstByteSpan> pieces(&bytes, 1);
  ASSERT_EQ(volume_->TxnWrite(txn->id, a, 0, pieces, {}), absl::OkStatus());
  ASSERT_EQ(volume_->TxnWrite(txn->id, b, kMiB - 4, pieces, {}), absl::OkStatus());
  EXPECT_EQ(volume_->ResizeDisk({"", "b"}, 10).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(volume_->DeleteDisk({"", "b"}).code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(volume_->Abort(txn->id).ok());
  ASSERT_TRUE(volume_->ResizeDisk({"", "b"}, 10).ok());
  EXPECT_EQ(volume_->Commit(txn->id, {}).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Read(a, 0, 4), std::string(4, '\0'));
}

TEST_F(VolumeTest, BadRequestsNameWhatIsWrongAndWhatIsLegal) {
  DiskRef disk = Create("vm1", kMiB);
  EXPECT_EQ(WriteText(*volume_, disk, kMiB, "x").code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(WriteText(*volume_, disk, UINT64_MAX, "x").code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(volume_->WriteZeroes(disk, 1, UINT64_MAX, {}).status().code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ(volume_->CreateDisk({"", "big"}, {kMaxDiskBytes + 1}).status().code(),
            absl::StatusCode::kInvalidArgument);
  for (const std::string& name :
       {std::string(""), std::string("."), std::string(".."), std::string("a/b"),
        std::string("a\0b", 3), std::string(256, 'n')}) {
    EXPECT_EQ(volume_->CreateDisk({"", name}, {1}).status().code(),
              absl::StatusCode::kInvalidArgument)
        << name;
  }
  EXPECT_TRUE(volume_->CreateDisk({"", std::string(255, 'n')}, {1}).ok());
  EXPECT_EQ(volume_->CreateDisk({"NOPE", "x"}, {1}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(volume_->ListDisks("", 0, "").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(volume_->ListDisks("", 5, "zzz").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(WriteText(*volume_, disk, kMiB, "x").message()), HasSubstr("1048576"));
}

TEST_F(VolumeTest, ADiskOf2To62BytesIsThinAndReachesItsEnd) {
  DiskRef disk = Create("huge", kMaxDiskBytes);
  Write(disk, kMaxDiskBytes - 3, "end");
  Write(disk, kMaxDiskBytes / 2 - 1, "mid");
  Sync();
  disk.reset();
  Crash();
  disk = Disk("huge");
  EXPECT_EQ(Read(disk, kMaxDiskBytes - 5, 5), std::string("\0\0end", 5));
  EXPECT_EQ(Read(disk, kMaxDiskBytes / 2 - 1, 3), "mid");
  ASSERT_TRUE(volume_->Discard(disk, 0, kMaxDiskBytes, {}).ok());
  Sync();
  EXPECT_EQ(Read(disk, kMaxDiskBytes - 5, 5), std::string(5, '\0'));
}

TEST_F(VolumeTest, AReadOnlyVolumeServesReadsAndRefusesChanges) {
  Write(Create("vm1", kMiB), 0, "data");
  Sync();
  VolumeOptions options = ManualOptions();
  options.read_only = true;
  Open(options);
  const SparseImage before = device_->Snapshot();
  DiskRef disk = Disk("vm1");
  EXPECT_EQ(Read(disk, 0, 4), "data");
  const absl::Status refused = WriteText(*volume_, disk, 0, "x");
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(refused), kReasonReadOnly);
  EXPECT_EQ(ReasonOf(volume_->Sync(nullptr, {}).status()), kReasonReadOnly);
  disk.reset();
  volume_.reset();
  EXPECT_TRUE(device_->Snapshot() == before);
}

TEST_F(VolumeTest, OneHeaderSlotNeedsToBeAllowed) {
  VolumeOptions options = ManualOptions();
  options.allow_one_header_slot = false;
  volume_.reset();
  const auto volume = OpenOn(*device_, options);
  EXPECT_EQ(ReasonOf(volume.status()), kReasonOneHeaderSlot);
}

TEST_F(VolumeTest, EverythingIsRefusedAfterClose) {
  DiskRef disk = Create("vm1", kMiB);
  ASSERT_EQ(volume_->Close(), absl::OkStatus());
  EXPECT_EQ(ReasonOf(WriteText(*volume_, disk, 0, "x")), kReasonClosed);
  EXPECT_EQ(ReasonOf(volume_->OpenDisk({"", "vm1"}).status()), kReasonClosed);
  EXPECT_EQ(volume_->Close(), absl::OkStatus());
}

TEST_F(VolumeTest, TheFlusherThreadFlushesByAgeAndAnswersManySyncsWithOneCycle) {
  VolumeOptions options;
  options.allow_one_header_slot = true;
  options.flush_age = absl::Milliseconds(50);
  options.flusher_threads = 2;
  Open(options);
  DiskRef disk = Create("vm1", 64 * kMiB);
  Write(disk, 0, "by age");
  for (int i = 0; i < 1000 && volume_->GetStatus().durable_opseq < volume_->GetStatus().opseq;
       ++i) {
    absl::SleepFor(absl::Milliseconds(10));
  }
  EXPECT_EQ(volume_->GetStatus().durable_opseq, volume_->GetStatus().opseq);
  EXPECT_EQ(volume_->RecentCycles().back().reason, CycleReason::kAge);

  std::vector<std::thread> clients;
  for (int c = 0; c < 8; ++c) {
    clients.emplace_back([&, c] {
      for (int i = 0; i < 20; ++i) {
        const uint64_t at = static_cast<uint64_t>(c) * kMiB + static_cast<uint64_t>(i) * 4096;
        Write(disk, at, absl::StrCat("client ", c, " write ", i));
        EXPECT_TRUE(volume_->Sync(disk, {}).ok());
        EXPECT_EQ(Read(disk, at, 8), absl::StrCat("client ", c));
      }
    });
  }
  for (std::thread& client : clients) client.join();
  disk.reset();
  Crash();
  disk = Disk("vm1");
  for (int c = 0; c < 8; ++c) {
    EXPECT_EQ(Read(disk, static_cast<uint64_t>(c) * kMiB + 19 * 4096, 17),
              absl::StrCat("client ", c, " write 19").substr(0, 17));
  }
}

TEST_F(VolumeTest, AnExclusiveTransactionKeepsPlainWritesOffItsRanges) {
  Open(ManualOptions());
  const DiskRef disk = Create("vm1", kMiB);
  const TxnInfo txn = *volume_->Begin({.exclusive = true});
  const ConstByteSpan staged = AsBytes("staged");
  ASSERT_EQ(volume_->TxnWrite(txn.id, disk, 100, std::span<const ConstByteSpan>(&staged, 1), {}),
            absl::OkStatus());
  EXPECT_EQ(WriteText(*volume_, disk, 90, "plain write").code(), absl::StatusCode::kAborted);
  EXPECT_EQ(volume_->Discard(disk, 0, kMiB, {}).status().code(), absl::StatusCode::kAborted);
  EXPECT_EQ(WriteText(*volume_, disk, 200, "elsewhere"), absl::OkStatus());
  ASSERT_TRUE(volume_->Commit(txn.id, {}).ok());
  EXPECT_EQ(WriteText(*volume_, disk, 90, "plain write"), absl::OkStatus());
}

// A transaction is charged for the blocks and pages that it touches, not for each of its writes.
TEST_F(VolumeTest, ATransactionOfManySmallWritesFitsWhereItsBlocksFit) {
  VolumeOptions options = ManualOptions();
  options.dirty_limit_bytes = 2 * kMiB;
  Open(options);
  const DiskRef disk = Create("vm1", 16 * kMiB);
  Sync();
  const TxnInfo txn = *volume_->Begin({});
  const std::string text(256, 't');
  const ConstByteSpan bytes = AsBytes(text);
  for (uint64_t i = 0; i < 4096; ++i) {
    ASSERT_EQ(volume_->TxnWrite(txn.id, disk, i * text.size(),
                                std::span<const ConstByteSpan>(&bytes, 1), {}),
              absl::OkStatus());
  }
  // Something is dirty already, so a charge above the limit would wait.
  ASSERT_EQ(WriteText(*volume_, disk, 8 * kMiB, "x"), absl::OkStatus());
  IoOptions at_once;
  at_once.deadline = absl::Now();
  EXPECT_TRUE(volume_->Commit(txn.id, at_once).ok());
  Sync();
  EXPECT_EQ(volume_->GetStatus().dirty_bytes, 0u);
  EXPECT_EQ(volume_->GetStatus().space.reserved_bytes, 0u);
}

TEST_F(VolumeTest, WritersWaitForMemoryAndTheirDeadlineIsHonoured) {
  VolumeOptions options = ManualOptions();
  options.dirty_limit_bytes = kMiB;
  Open(options);
  DiskRef disk = Create("vm1", 64 * kMiB);
  IoOptions soon;
  soon.deadline = absl::Now() + absl::Milliseconds(50);
  const std::string block(512 * kKiB, 'x');
  EXPECT_TRUE(volume_->Write(disk, 0, AsBytes(block), soon).ok());
  EXPECT_TRUE(volume_->WouldWait(disk, block.size()));
  EXPECT_EQ(volume_->Write(disk, kMiB, AsBytes(block), soon).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  Sync();
  EXPECT_EQ(volume_->GetStatus().dirty_bytes, 0u);
  soon.deadline = absl::Now() + absl::Seconds(10);
  EXPECT_TRUE(volume_->Write(disk, kMiB, AsBytes(block), soon).ok());
}

TEST_F(VolumeTest, ChangesOfNamesAndSizesHonourTheirDeadline) {
  VolumeOptions options = ManualOptions();
  options.dirty_limit_bytes = kMiB;
  Open(options);
  DiskRef disk = Create("vm1", 64 * kMiB);
  Sync();
  // As much as fits.
  for (uint64_t at = 0;; at += 4 * kKiB) {
    const IoOptions soon{.deadline = absl::Now() + absl::Milliseconds(20)};
    if (!volume_->Write(disk, at, AsBytes(std::string(512, 'x')), soon).ok()) break;
  }
  const IoOptions soon{.deadline = absl::Now() + absl::Milliseconds(50)};
  constexpr absl::StatusCode kLate = absl::StatusCode::kDeadlineExceeded;
  absl::Status created;
  for (int i = 0; i < 1000 && created.ok(); ++i) {
    created = volume_->CreateDisk({"", absl::StrCat("small", i)}, {kMiB}, soon).status();
  }
  EXPECT_EQ(created.code(), kLate);
  EXPECT_EQ(volume_->RenameDisk({"", "vm1"}, {"", "vm3"}, soon).status().code(), kLate);
  EXPECT_EQ(volume_->ResizeDisk({"", "vm1"}, kMiB, soon).status().code(), kLate);
  EXPECT_EQ(volume_->GetDisk({"", "vm1"})->size_bytes, 64 * kMiB);
  EXPECT_EQ(volume_->DeleteDisk({"", "vm1"}, soon), absl::OkStatus()) << "it needs no memory";
}

// Zeros for a part of a block are kept in memory until the next cycle as any other bytes are, and
// so are holes.
TEST_F(VolumeTest, WritersOfZeroesWaitForMemory) {
  VolumeOptions options = ManualOptions();
  options.dirty_limit_bytes = 256 * kKiB;
  Open(options);
  DiskRef disk = Create("vm1", uint64_t{1} << 40);
  const auto zero_until_it_waits = [&](uint64_t length) {
    for (uint64_t block = 0; block < 100'000; ++block) {
      IoOptions soon;
      soon.deadline = absl::Now() + absl::Milliseconds(50);
      const absl::Status status =
          volume_->WriteZeroes(disk, 2 * block * kLogicalBytes, length, soon).status();
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  };
  for (const uint64_t length : {kLogicalBytes / 2, kLogicalBytes}) {
    EXPECT_EQ(zero_until_it_waits(length).code(), absl::StatusCode::kDeadlineExceeded) << length;
    EXPECT_LE(volume_->GetStatus().dirty_bytes, 256 * kKiB);
    Sync();
  }
  EXPECT_TRUE(volume_->DeleteDisk({"", "vm1"}).ok());
}

TEST_F(VolumeTest, TheLastCyclesAreRemembered) {
  DiskRef disk = Create("vm1", kMiB);
  for (int i = 0; i < 300; ++i) {
    Write(disk, 0, absl::StrCat("round ", i));
    Sync();
  }
  const std::vector<CycleRecord> cycles = volume_->RecentCycles();
  ASSERT_EQ(cycles.size(), kRememberedCycles);
  EXPECT_EQ(cycles.back().number, 300u);
  EXPECT_EQ(cycles.front().number, 300 - kRememberedCycles + 1);
  EXPECT_EQ(cycles.back().mirror_tid, volume_->GetStatus().mirror_tid);
  EXPECT_EQ(cycles.back().header_slot, volume_->GetStatus().header_slot);
  EXPECT_EQ(cycles.back().reason, CycleReason::kSync);
  disk.reset();
  EXPECT_EQ(volume_->Close(), absl::OkStatus());
  EXPECT_EQ(volume_->RecentCycles().size(), kRememberedCycles) << "nothing was dirty";
}

TEST_F(VolumeTest, MetricsCanBeWalked) {
  class Names final : public MetricVisitor {
   public:
    void OnCounter(absl::string_view name, absl::string_view, const MetricLabels&,
                   double) override {
      EXPECT_TRUE(std::string(name).ends_with("_total")) << std::string(name);
      ++seen;
    }
    void OnGauge(absl::string_view, absl::string_view, const MetricLabels&, double) override {
      ++seen;
    }
    void OnHistogram(absl::string_view name, absl::string_view, const MetricLabels&,
                     const Histogram& histogram) override {
      if (name == "h2bd_flush_cycle_duration_seconds") cycles = histogram.Read().count;
    }
    int seen = 0;
    uint64_t cycles = 0;
  };
  DiskRef disk = Create("vm1", kMiB);
  Sync();
  Sync();
  Names names;
  volume_->Describe(names);
  EXPECT_GT(names.seen, 20);
  EXPECT_EQ(names.cycles, 1u);
}

}  // namespace
}  // namespace h2bd
