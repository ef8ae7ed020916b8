// Transactions that change sizes (spec 04 section 9): what their own calls and others see, what
// they take from others, and what a crash leaves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "absl/strings/str_cat.h"
#include "core/fsck/check.h"
#include "tests/support/crash_image.h"
#include "tests/support/fixtures.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

using ::testing::HasSubstr;

constexpr auto kAborted = absl::StatusCode::kAborted;
constexpr auto kOutOfRange = absl::StatusCode::kOutOfRange;
constexpr auto kWrongState = absl::StatusCode::kFailedPrecondition;

class VolumeTransaction : public ::testing::Test {
 protected:
  static constexpr uint64_t kBytes = 300 * 1000;

  VolumeTransaction() : device_(*FormattedImage(1 * kGiB)) { Open(ManualOptions()); }

  void Open(const VolumeOptions& options) {
    a_.reset();
    b_.reset();
    volume_.reset();
    volume_ = *OpenOn(device_, options);
    a_ = Disk("a");
    b_ = Disk("b");
  }
  // The disk of this name, all of it filled when it is new.
  DiskRef Disk(const std::string& name) {
    if (volume_->CreateDisk({"", name}, {kBytes}).ok()) {
      EXPECT_EQ(WriteText(*volume_, *volume_->OpenDisk({"", name}), 0, Filled(name)),
                absl::OkStatus());
    }
    return *volume_->OpenDisk({"", name});
  }
  static std::string Filled(const std::string& name) { return std::string(kBytes, name[0]); }

  TxnId Begin(const TxnOptions& options = {}) { return volume_->Begin(options)->id; }
  absl::Status Stage(TxnId id, const DiskRef& disk, uint64_t offset, absl::string_view text) {
    const ConstByteSpan bytes = AsBytes(text);
    return volume_->TxnWrite(id, disk, offset, std::span(&bytes, 1), {});
  }
  absl::Status Zero(TxnId id, const DiskRef& disk, uint64_t offset, uint64_t length) {
    return volume_->TxnWriteZeroes(id, disk, offset, length, {});
  }
  absl::Status Resize(TxnId id, const DiskRef& disk, uint64_t size) {
    return volume_->TxnResize(id, disk, size, {});
  }
  absl::StatusOr<std::string> TxnRead(TxnId id, const DiskRef& disk, uint64_t offset,
                                      size_t length) {
    std::string text(length, '?');
    H2_RETURN_IF_ERROR(volume_->TxnRead(
        id, disk, offset, ByteSpan(reinterpret_cast<std::byte*>(text.data()), length), {}));
    return text;
  }
  std::string Content(const DiskRef& disk) { return *ReadAll(*volume_, disk); }
  void ExpectNothingIsPromised() {
    EXPECT_TRUE(volume_->Sync(nullptr, {}).ok());
    EXPECT_EQ(volume_->GetStatus().dirty_bytes, 0u);
    EXPECT_EQ(volume_->GetStatus().space.reserved_bytes, 0u);
  }

  MemoryDevice device_;
  std::unique_ptr<Volume> volume_;
  DiskRef a_, b_;
};

TEST_F(VolumeTransaction, AGrownDiskIsWrittenBeyondItsOldEndAndSeenOnlyAfterCommit) {
  const TxnId id = Begin();
  ASSERT_EQ(Resize(id, a_, kBytes + 1000), absl::OkStatus());
  ASSERT_EQ(Stage(id, a_, kBytes - 2, "over the end"), absl::OkStatus());
  ASSERT_EQ(Stage(id, b_, 0, "as one"), absl::OkStatus());
  EXPECT_EQ(Stage(id, a_, kBytes + 995, "beyond").code(), kOutOfRange);
  EXPECT_EQ(*TxnRead(id, a_, kBytes - 4, 16), absl::StrCat("aaover the end", std::string(2, '\0')));
  EXPECT_EQ(*TxnRead(id, a_, kBytes + 100, 900), std::string(900, '\0'));
  EXPECT_EQ(TxnRead(id, a_, kBytes + 100, 901).status().code(), kOutOfRange);

  EXPECT_EQ(a_->size_bytes(), kBytes);
  EXPECT_EQ(Content(a_), Filled("a"));
  EXPECT_EQ(WriteText(*volume_, a_, kBytes, "x").code(), kOutOfRange) << "others cannot yet";
  EXPECT_EQ(volume_->ResizeDisk({"", "a"}, 10).status().code(), kWrongState);

  const auto applied = volume_->Commit(id, {});
  ASSERT_TRUE(applied.ok()) << applied.status();
  EXPECT_EQ(applied->writes, 3u);
  std::string after = Filled("a") + std::string(1000, '\0');
  after.replace(kBytes - 2, 12, "over the end");
  EXPECT_EQ(Content(a_), after);
  EXPECT_EQ(Content(b_).substr(0, 6), "as one");
  ExpectNothingIsPromised();
  Open(ManualOptions());
  EXPECT_EQ(Content(a_), after);
}

TEST_F(VolumeTransaction, WhatAShrinkCutsOffIsGoneAndReadsAsZeroesWhenTheDiskGrowsAgain) {
  const TxnId id = Begin();
  ASSERT_EQ(Stage(id, a_, 100000, "lost with the rest"), absl::OkStatus());
  ASSERT_EQ(Resize(id, a_, 70000), absl::OkStatus());
  EXPECT_EQ(Stage(id, a_, 69999, "xx").code(), kOutOfRange);
  EXPECT_EQ(Zero(id, a_, 0, kBytes).code(), kOutOfRange);
  EXPECT_EQ(TxnRead(id, a_, 70000, 1).status().code(), kOutOfRange);
  EXPECT_EQ(*TxnRead(id, a_, 69990, 10), std::string(10, 'a'));
  EXPECT_EQ(*TxnRead(id, a_, 70000, 0), "");
  ASSERT_EQ(Resize(id, a_, 2 * kBytes), absl::OkStatus());
  EXPECT_EQ(*TxnRead(id, a_, 69999, 2 * kBytes - 69999),
            "a" + std::string(2 * kBytes - 70000, '\0'));
  ASSERT_EQ(Stage(id, a_, kBytes, "new"), absl::OkStatus());
  EXPECT_EQ(Content(a_), Filled("a")) << "nobody else has seen any of it";

  ASSERT_TRUE(volume_->Commit(id, {}).ok());
  std::string after = std::string(70000, 'a') + std::string(2 * kBytes - 70000, '\0');
  after.replace(kBytes, 3, "new");
  EXPECT_EQ(Content(a_), after);
  ExpectNothingIsPromised();
  Open(ManualOptions());
  EXPECT_EQ(Content(a_), after);
}

// Spec 04 section 9.3: a size takes the disk from the smaller one of both sizes on.
TEST_F(VolumeTransaction, ASizeMeetsWhatOthersStageBehindIt) {
  const TxnId first = Begin(), second = Begin();
  ASSERT_EQ(Resize(first, a_, 1000), absl::OkStatus());
  EXPECT_EQ(Resize(second, a_, kBytes + 5).code(), kAborted);
  EXPECT_EQ(Stage(second, a_, 1000, "x").code(), kAborted);
  EXPECT_EQ(Stage(second, a_, 999, "x"), absl::OkStatus());
  EXPECT_EQ(Resize(first, a_, 998).code(), kAborted) << "the other one came first there";
  ASSERT_TRUE(volume_->Commit(first, {}).ok());
  EXPECT_EQ(Stage(second, a_, 1000, "x").code(), kOutOfRange) << "the size is known now";
  EXPECT_EQ(volume_->DeleteDisk({"", "a"}).code(), kWrongState);
  ASSERT_TRUE(volume_->Commit(second, {}).ok());
  EXPECT_EQ(Content(a_), std::string(999, 'a') + "x");
}

TEST_F(VolumeTransaction, AnExclusiveSizeKeepsPlainChangesOffWhatItCutsOff) {
  const TxnId id = Begin({.exclusive = true});
  ASSERT_EQ(Resize(id, a_, 1000), absl::OkStatus());
  EXPECT_EQ(WriteText(*volume_, a_, 999, "xx").code(), kAborted);
  EXPECT_EQ(volume_->Discard(a_, 0, kBytes, {}).status().code(), kAborted);
  EXPECT_EQ(WriteText(*volume_, a_, 998, "xx"), absl::OkStatus());
  ASSERT_TRUE(volume_->Commit(id, {}).ok());
  EXPECT_EQ(Content(a_), std::string(998, 'a') + "xx");
}

TEST_F(VolumeTransaction, AnAbortedSizeLeavesNothing) {
  const TxnId id = Begin();
  ASSERT_EQ(Resize(id, a_, 5), absl::OkStatus());
  ASSERT_TRUE(volume_->Abort(id).ok());
  EXPECT_EQ(Content(a_), Filled("a"));
  EXPECT_EQ(Resize(id, a_, 6).code(), kWrongState);
  EXPECT_TRUE(volume_->ResizeDisk({"", "a"}, 10).ok()) << "the disk is free again";
}

TEST_F(VolumeTransaction, ACommitThatIsNotAdmittedChangesNoSize) {
  VolumeOptions options = ManualOptions();
  options.dirty_limit_bytes = 1 * kMiB;
  Open(options);
  ASSERT_TRUE(volume_->Sync(nullptr, {}).ok());
  const TxnId id = Begin();
  ASSERT_EQ(Resize(id, a_, 10), absl::OkStatus());
  ASSERT_EQ(Stage(id, b_, 0, std::string(kBytes, 'x')), absl::OkStatus());
  const DiskRef big = Disk("c");
  ASSERT_TRUE(volume_->ResizeDisk({"", "c"}, 4 * kMiB).ok());
  IoOptions at_once;
  at_once.deadline = absl::Now();
  for (int i = 0; i < 16; ++i) {
    const auto filled = volume_->Write(big, static_cast<uint64_t>(i) * 65536,
                                       AsBytes(std::string(65536, 'c')), at_once);
    if (!filled.ok()) break;
  }
  const absl::Status refused = volume_->Commit(id, at_once).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kDeadlineExceeded) << refused;
  EXPECT_THAT(refused.message(), HasSubstr("nothing of it is visible"));
  EXPECT_EQ(a_->size_bytes(), kBytes);
  EXPECT_EQ(Content(b_), Filled("b"));
}

TEST_F(VolumeTransaction, IllegalSizesAndDeletedDisksAreRefused) {
  const TxnId id = Begin();
  EXPECT_EQ(Resize(id, a_, kMaxDiskBytes + 1).code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(volume_->DeleteDisk({"", "b"}).ok());
  EXPECT_EQ(Resize(id, b_, 5).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Resize(TxnId(1), a_, 5).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(volume_->GetTransaction(id)->writes, 0u);
}

// The tables of a larger disk have more levels: what is promised to a write behind the old end is
// what it would be after a plain growth.
TEST_F(VolumeTransaction, SpaceIsPromisedForTheLargestSizeOnTheWay) {
  const auto promised = [&] { return volume_->GetStatus().space.reserved_bytes; };
  constexpr uint64_t kEnd = kMaxDiskBytes - 3;
  ExpectNothingIsPromised();
  ASSERT_TRUE(volume_->ResizeDisk({"", "a"}, kMaxDiskBytes).ok());
  ASSERT_EQ(WriteText(*volume_, a_, kEnd, "end"), absl::OkStatus());
  const uint64_t plain = promised();
  ExpectNothingIsPromised();
  const TxnId id = Begin();
  ASSERT_EQ(Resize(id, b_, kMaxDiskBytes), absl::OkStatus());
  ASSERT_EQ(Stage(id, b_, kEnd, "end"), absl::OkStatus());
  ASSERT_TRUE(volume_->Commit(id, {}).ok());
  EXPECT_EQ(promised(), plain);
}

// No change costs more than was promised to it, which an assertion sees to.
TEST_F(VolumeTransaction, ChangesAtTheEndOfEverySizeFitWhatWasPromised) {
  const TxnId id = Begin();
  for (unsigned bits = 16; bits <= 62; ++bits) {
    const uint64_t size = uint64_t{1} << bits;
    ASSERT_EQ(Resize(id, a_, size), absl::OkStatus());
    ASSERT_EQ(Stage(id, a_, size - 6, "end"), absl::OkStatus());
    if (bits % 3 == 0) {
      ASSERT_EQ(Resize(id, a_, size - 2), absl::OkStatus());
    } else if (bits % 5 == 0) {
      ASSERT_EQ(Zero(id, a_, size / 2, size / 4), absl::OkStatus());
    }
  }
  const auto applied = volume_->Commit(id, {});
  ASSERT_TRUE(applied.ok()) << applied.status();
  ExpectNothingIsPromised();
  Open(ManualOptions());
  EXPECT_EQ(a_->size_bytes(), uint64_t{1} << 62);
  std::string end(6, '?');
  ASSERT_EQ(volume_->Read(a_, (uint64_t{1} << 62) - 6,
                          ByteSpan(reinterpret_cast<std::byte*>(end.data()), 6), {}),
            absl::OkStatus());
  EXPECT_EQ(end, std::string("end\0\0\0", 6));
}

// Transactions of random changes, their own reads, and cycles between them, against two strings.
TEST_F(VolumeTransaction, RandomOnesDoWhatTheyDoToStrings) {
  SeededRandom rng(TestSeed());
  const auto below = [&](uint64_t n) { return rng.Next64() % n; };
  std::map<DiskRef, std::string> committed = {{a_, Filled("a")}, {b_, Filled("b")}};
  for (int round = 0; round < 150; ++round) {
    const TxnId id = Begin();
    std::map<DiskRef, std::string> staged = committed;
    for (uint64_t step = 0, steps = 1 + below(12); step < steps; ++step) {
      const DiskRef& disk = below(2) == 0 ? a_ : b_;
      std::string& content = staged[disk];
      const uint64_t offset = below(content.size() + 1);
      const uint64_t length = below(std::min<uint64_t>(content.size() - offset, 200000) + 1);
      const uint64_t size = below(2 * kBytes);
      switch (below(4)) {
        case 0:
          ASSERT_EQ(Resize(id, disk, size), absl::OkStatus());
          content.resize(size, '\0');
          break;
        case 1:
          ASSERT_EQ(Zero(id, disk, offset, length), absl::OkStatus());
          content.replace(offset, length, length, '\0');
          break;
        case 2:
          ASSERT_EQ(Stage(id, disk, offset, std::string(length, static_cast<char>('A' + step))),
                    absl::OkStatus());
          content.replace(offset, length, length, static_cast<char>('A' + step));
          break;
        default:
          ASSERT_EQ(*TxnRead(id, disk, offset, length), content.substr(offset, length));
          ASSERT_EQ(Zero(id, disk, content.size(), 1).code(), kOutOfRange);
          break;
      }
    }
    for (const auto& [disk, content] : committed) ASSERT_EQ(disk->size_bytes(), content.size());
    if (below(4) == 0) {
      ASSERT_TRUE(volume_->Abort(id).ok());
    } else {
      ASSERT_TRUE(volume_->Commit(id, {}).ok());
      committed = std::move(staged);
    }
    for (const auto& [disk, content] : committed) ASSERT_EQ(Content(disk), content) << round;
    if (below(3) == 0) ExpectNothingIsPromised();
  }
}

// Spec 04 section 9.5, I-09: power is lost at any point of the cycle after the commit.
TEST_F(VolumeTransaction, ACrashLeavesAllOfASizeAndItsWritesOrNothing) {
  ASSERT_TRUE(volume_->Sync(nullptr, {}).ok());
  const SparseImage base = device_.Snapshot();
  MemoryDevice memory(base);
  IoLog log;
  RecordingDevice recorder(memory, log, 0);
  std::map<std::string, std::string> after = {{"a", Filled("a") + std::string(1000, '\0')},
                                              {"b", Filled("b").substr(0, 1000)}};
  after["a"].replace(kBytes + 10, 3, "new");
  after["b"].replace(500, 3, "new");
  {
    a_.reset();
    b_.reset();
    volume_ = *OpenOn(recorder, ManualOptions());
    a_ = Disk("a");
    b_ = Disk("b");
    const TxnId id = Begin();
    ASSERT_EQ(Resize(id, a_, kBytes + 1000), absl::OkStatus());
    ASSERT_EQ(Resize(id, b_, 1000), absl::OkStatus());
    ASSERT_EQ(Stage(id, a_, kBytes + 10, "new"), absl::OkStatus());
    ASSERT_EQ(Stage(id, b_, 500, "new"), absl::OkStatus());
    ASSERT_TRUE(volume_->Commit(id, {}).ok());
    ASSERT_TRUE(volume_->Sync(nullptr, {}).ok());
  }
  const std::vector<IoEvent> events = log.events();
  CrashStates states({base}, events);
  SeededRandom rng(TestSeed());
  int old_states = 0, new_states = 0;
  for (size_t cut = 0; cut <= events.size(); ++cut) {
    states.AdvanceTo(cut);
    for (int draw = 0; draw < 4; ++draw) {
      MemoryDevice later(std::move(states.Draw(rng).front()));
      const auto volume = OpenOn(later, ManualOptions());
      ASSERT_TRUE(volume.ok()) << volume.status();
      std::map<std::string, std::string> found;
      for (const char* name : {"a", "b"}) {
        found[name] = *ReadAll(**volume, *(*volume)->OpenDisk({"", name}));
      }
      const bool is_new = found == after;
      if (!is_new) {
        ASSERT_EQ(found["a"], Filled("a")) << "cut " << cut;
        ASSERT_EQ(found["b"], Filled("b")) << "cut " << cut;
      }
      ++(is_new ? new_states : old_states);
      EXPECT_TRUE(is_new || cut < events.size()) << "synced";
    }
  }
  EXPECT_GT(old_states, 0);
  EXPECT_GT(new_states, 0);
  a_.reset();
  b_.reset();
  volume_.reset();
}

}  // namespace
}  // namespace h2bd
