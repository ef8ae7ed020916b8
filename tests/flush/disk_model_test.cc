// A disk against plain bytes, through cycles that fail anywhere and cuts that no cycle follows
// (spec 04 F-136, F-142, I-07, I-12).
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/base/random.h"
#include "tests/flush/engine_world.h"
#include "tests/support/fixtures.h"
#include "tests/support/gated_device.h"
#include "tests/volume/device_stack.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

constexpr uint64_t kMaxBytes = 700 * 1000;

// Does the same to a disk and to a string.
class DiskModel {
 public:
  DiskModel(EngineWorld& world, DiskRef disk, std::string expected, SeededRandom& rng)
      : world_(world), disk_(std::move(disk)), expected_(std::move(expected)), rng_(rng) {}

  void Step() {
    switch (rng_.Next64() % 8) {
      case 0:
        return Resize();
      case 1:
      case 2:
        return Zero();
      default:
        return Write();
    }
  }
  const std::string& expected() const { return expected_; }
  bool Agrees() const { return world_.Read(disk_) == expected_; }

 private:
  void Write() {
    if (expected_.empty()) return Resize();
    const uint64_t offset = rng_.Next64() % expected_.size();
    const uint64_t most = rng_.Next64() % 3 == 0 ? 200000 : 3000;
    const uint64_t length = std::min<uint64_t>(1 + rng_.Next64() % most, expected_.size() - offset);
    std::string text(length, '\0');
    rng_.Fill(std::as_writable_bytes(std::span(text)));
    world_.Write(disk_, offset, text);
    expected_.replace(offset, length, text);
  }
  void Zero() {
    if (expected_.empty()) return Resize();
    const uint64_t offset = rng_.Next64() % expected_.size();
    const uint64_t length = 1 + rng_.Next64() % (expected_.size() - offset);
    world_.Zero(disk_, offset, length);
    expected_.replace(offset, length, length, '\0');
  }
  void Resize() {
    const uint64_t size = rng_.Next64() % kMaxBytes;
    world_.Resize(disk_, size);
    expected_.resize(size, '\0');
  }

  EngineWorld& world_;
  const DiskRef disk_;
  std::string expected_;
  SeededRandom& rng_;
};

TEST(DiskModel, StaysRightThroughFailedCyclesAndBareCuts) {
  const uint64_t seed = TestSeed();
  SeededRandom rng(seed);
  MemoryDevice device(*FormattedImage(8 * kGiB));
  int failed = 0, cut = 0;
  std::string kept;
  // A fresh process has nothing in its caches: what is below a partial write is read.
  for (int process = 0; process < 8; ++process) {
    SCOPED_TRACE(absl::StrCat("process ", process));
    EngineWorld world(device, SystemClock(), {.manual = true});
    const DiskRef disk = process == 0 ? world.Create("d", 0) : world.Find("d");
    DiskModel model(world, disk, kept, rng);
    ASSERT_TRUE(model.Agrees());
    for (int step = 0; step < 80; ++step) {
      model.Step();
      switch (rng.Next64() % 12) {
        case 0:
          ASSERT_TRUE(world.Sync().ok());
          world.ExpectExactDrops();
          break;
        case 1:
        case 2:
          world.allocator().FailAt(1 + rng.Next64() % 12);
          failed += !world.Sync().ok();
          world.allocator().FailAt(0);
          break;
        case 3:  // frozen, and the cycle dies before it does anything
          disk->Freeze(world.gate().TakeCut().frozen);
          ++cut;
          break;
        default:
          break;
      }
      ASSERT_TRUE(model.Agrees()) << "step " << step;
    }
    ASSERT_TRUE(world.Sync().ok());
    ASSERT_TRUE(model.Agrees());
    world.ExpectExactDrops();
    kept = model.expected();
    ImageVolume later({device.Snapshot()}, ManualOptions());
    ASSERT_TRUE(later.status().ok()) << later.status();
    ASSERT_TRUE(*ReadAll(*later, *later->OpenDisk({"", "d"})) == kept);
  }
  ExpectCleanSet({device.Snapshot()});
  EXPECT_GT(failed, 5);
  EXPECT_GT(cut, 5);
}

// Version n of a block, throughout: zeros for every fifth.
std::byte ByteOf(int version) {
  return static_cast<std::byte>(version % 5 == 0 ? 0 : version % 251);
}

// Readers look on while a writer changes blocks as a whole, zeroes them and writes parts of them
// again, and cycles succeed and fail: a block is always of one version, and of one that was the
// newest while the read ran.
TEST(DiskModel, ReadersSeeOneWholeVersionWhileCyclesFail) {
  constexpr uint64_t kBlocks = 3;
  const uint64_t seed = TestSeed();
  MemoryDevice device(*FormattedImage(8 * kGiB));
  EngineWorld world(device, SystemClock(), {.manual = true}, /*block_cache_bytes=*/kLogicalBytes);
  const DiskRef disk = world.Create("d", kBlocks * kLogicalBytes);
  ASSERT_TRUE(world.Sync().ok());
  std::array<std::atomic<int>, kBlocks> newest{};
  std::atomic<bool> stop{false};
  std::atomic<int> succeeded{0}, failed{0};
  std::vector<std::thread> threads;
  for (uint64_t r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      SeededRandom rng(seed + r);
      AlignedBuffer bytes(kLogicalBytes);
      while (!stop) {
        const uint64_t block = rng.Next64() % kBlocks;
        const int least = newest[block];
        EXPECT_EQ(disk->Read(block * kLogicalBytes, bytes.span()), absl::OkStatus());
        const int most = newest[block] + 1;
        EXPECT_EQ(std::memcmp(bytes.data(), bytes.data() + 1, kLogicalBytes - 1), 0);
        bool allowed = false;
        for (int version = least; version <= most; ++version) {
          allowed |= ByteOf(version) == bytes.data()[0];
        }
        EXPECT_TRUE(allowed) << "block " << block << " versions " << least << " to " << most;
      }
    });
  }
  threads.emplace_back([&] {
    SeededRandom rng(seed + 10);
    while (!stop) {
      world.allocator().FailAt(rng.Next64() % 8);
      ++(world.Sync().ok() ? succeeded : failed);
    }
  });
  SeededRandom rng(seed + 20);
  for (int step = 0; step < 600 || succeeded < 30 || failed < 30; ++step) {
    const uint64_t block = rng.Next64() % kBlocks;
    const int version = newest[block];
    if (rng.Next64() % 2 == 0) {
      const std::string same(1 + rng.Next64() % 5000, static_cast<char>(ByteOf(version)));
      world.Write(disk, block * kLogicalBytes + rng.Next64() % (kLogicalBytes - same.size()), same);
      continue;
    }
    const std::string text(kLogicalBytes, static_cast<char>(ByteOf(version + 1)));
    if ((version + 1) % 5 == 0) {
      world.Zero(disk, block * kLogicalBytes, kLogicalBytes);
    } else {
      world.Write(disk, block * kLogicalBytes, text);
    }
    newest[block] = version + 1;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  world.allocator().FailAt(0);
  ASSERT_TRUE(world.Sync().ok());
  world.ExpectExactDrops();
  ImageVolume later({device.Snapshot()}, ManualOptions());
  ASSERT_TRUE(later.status().ok()) << later.status();
  const std::string found = *ReadAll(*later, *later->OpenDisk({"", "d"}));
  for (uint64_t block = 0; block < kBlocks; ++block) {
    const std::string expected(kLogicalBytes, static_cast<char>(ByteOf(newest[block])));
    EXPECT_TRUE(found.substr(block * kLogicalBytes, kLogicalBytes) == expected) << block;
  }
  ExpectCleanSet({device.Snapshot()});
}

// A reader that has read a block from the device, and is held before it looks on.
class HeldReader : public testing::Test {
 protected:
  static constexpr uint64_t kBytes = 2 * kLogicalBytes;

  HeldReader() : memory_(*FormattedImage(8 * kGiB)), device_(memory_) {
    {
      EngineWorld first(memory_, SystemClock(), {.manual = true});
      first.Write(first.Create("d", kBytes), 0, Noise() + Noise());
      EXPECT_TRUE(first.Sync().ok());
    }
    world_ =
        std::make_unique<EngineWorld>(device_, SystemClock(), GroupCommitOptions{.manual = true});
    disk_ = world_->Find("d");
    ReadBlock(1);  // the tables are in memory now, the block is not
    device_.reads().Hold();
    reader_ = std::thread([this] { seen_ = ReadBlock(0); });
    device_.reads().AwaitHeld();
  }
  std::string Noise() {
    std::string text(kLogicalBytes, '\0');
    rng_.Fill(std::as_writable_bytes(std::span(text)));
    return text;
  }
  std::string ReadBlock(uint64_t block) {
    std::string text(kLogicalBytes, '?');
    EXPECT_EQ(disk_->Read(block * kLogicalBytes, std::as_writable_bytes(std::span(text))),
              absl::OkStatus());
    return text;
  }

  SeededRandom rng_{8};
  MemoryDevice memory_;
  GatedDevice device_;
  std::unique_ptr<EngineWorld> world_;
  DiskRef disk_;
  std::string seen_;
  std::thread reader_;
};

TEST_F(HeldReader, IsAReaderUntilItHasTheBlock) {  // F-219: reuse waits for it
  ReaderEpochs& epochs = world_->store().readers();
  const uint64_t stamp = epochs.now();
  for (int i = 0; i < 10; ++i) epochs.TryAdvance();
  EXPECT_FALSE(epochs.Over(stamp));
  device_.reads().LetGo();
  reader_.join();
  for (int i = 0; i < 10; ++i) epochs.TryAdvance();
  EXPECT_TRUE(epochs.Over(stamp));
}

TEST_F(HeldReader, DoesNotMixWhatItReadWithChangesAfterACycle) {
  std::string newest = Noise();
  world_->Write(disk_, 0, newest);
  ASSERT_TRUE(world_->Sync().ok());
  world_->Write(disk_, 100, "later");
  newest.replace(100, 5, "later");
  device_.reads().LetGo();
  reader_.join();
  EXPECT_TRUE(seen_ == newest);
}

TEST_F(HeldReader, DoesNotLeaveInTheCacheWhatACycleReplaces) {
  const std::string newest = Noise();
  world_->Write(disk_, 0, newest);
  device_.syncs().Hold();
  std::thread cycle([this] { EXPECT_TRUE(world_->Sync().ok()); });
  device_.syncs().AwaitHeld();  // the blocks are stored, the generation is still frozen
  device_.reads().LetGo();
  reader_.join();
  EXPECT_TRUE(seen_ == newest);
  device_.syncs().LetGo();
  cycle.join();
  EXPECT_TRUE(ReadBlock(0) == newest);
}

}  // namespace
}  // namespace h2bd
