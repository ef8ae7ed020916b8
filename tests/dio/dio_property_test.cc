// Random blocks of all sizes, written and read by several threads while a drainer runs, against a
// model that only remembers what each block must hold.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "core/base/random.h"
#include "core/dio/dio.h"
#include "tests/support/crash_image.h"
#include "tests/support/fixtures.h"
#include "tests/support/memory_device.h"

namespace h2bd {
namespace {

constexpr uint64_t kFrames = 96;
constexpr uint64_t kBase = 4 * kMiB;
constexpr uint64_t kSize = kBase + kFrames * kPbufBytes;

// The bytes of a block are made from its address and version, so that the model is one number.
SharedBytes Content(DataOff at, uint64_t version) {
  auto block = std::make_shared<AlignedBuffer>(at.bytes());
  SeededRandom(at.raw * 1000003 + version).Fill(block->span());
  return block;
}

struct Block {
  DataOff at;
  bool fresh = false;
};

// Cuts a frame into blocks as the allocator may (spec 01 section 2.5): blocks under 16 KiB anywhere
// in a 16 KiB cell, 1 KiB aligned; larger ones aligned.
std::vector<DataOff> CutFrame(uint64_t frame, SeededRandom& rng) {
  std::vector<DataOff> blocks;
  if (rng.Next64() % 4 == 0) return {DataOff::Make(ByteOff(frame), 16)};
  for (uint64_t half = frame; half < frame + kPbufBytes; half += 32 * kKiB) {
    if (rng.Next64() % 4 == 0) {
      blocks.push_back(DataOff::Make(ByteOff(half), 15));
      continue;
    }
    for (uint64_t cell = half; cell < half + 32 * kKiB; cell += kChunkBytes) {
      for (uint64_t at = cell; at < cell + kChunkBytes;) {
        const auto radix = static_cast<unsigned>(10 + rng.Next64() % 5);
        if (at + (uint64_t{1} << radix) > cell + kChunkBytes) continue;
        blocks.push_back(DataOff::Make(ByteOff(at), radix));
        at += uint64_t{1} << radix;
      }
    }
  }
  return blocks;
}

class DioPropertyTest : public testing::TestWithParam<size_t> {
 protected:
  DioPropertyTest() : seed_(TestSeed()), rng_(seed_), memory_(kSize), recording_(memory_, log_, 0) {
    std::vector<DeviceSet::Member> members;
    members.push_back({std::make_unique<BorrowedDevice>(recording_), 0, kSize});
    devices_ = std::make_unique<DeviceSet>(std::move(members));
  }

  // What a round writes: of each chosen frame some blocks, the others keep what they hold. A frame
  // that is cut anew loses all that it held.
  std::vector<Block> PlanRound(bool may_recut) {
    std::vector<Block> plan;
    for (uint64_t i = 0; i < kFrames; ++i) {
      const uint64_t frame = kBase + i * kPbufBytes;
      const bool recut = layout_[frame].empty() || (may_recut && rng_.Next64() % 4 == 0);
      if (recut) {
        for (const DataOff at : layout_[frame]) versions_.erase(at.raw);
        layout_[frame] = CutFrame(frame, rng_);
      }
      bool fresh = recut;
      for (const DataOff at : layout_[frame]) {
        if (rng_.Next64() % 3 == 0) continue;
        plan.push_back({at, fresh});
        fresh = false;
      }
    }
    for (size_t i = plan.size(); i > 1; --i) std::swap(plan[i - 1], plan[rng_.Next64() % i]);
    return plan;
  }

  void CheckAll(Dio& dio) {
    for (const auto& [raw, version] : versions_) {
      const absl::StatusOr<AlignedBuffer> block = dio.ReadBlock(DataOff{raw});
      ASSERT_TRUE(block.ok()) << block.status();
      ASSERT_EQ(std::memcmp(block->data(), Content(DataOff{raw}, version)->data(), block->size()),
                0)
          << std::hex << raw << " version " << version;
    }
  }
  void CheckMedia(const SparseImage& image) {
    for (const auto& [raw, version] : versions_) {
      AlignedBuffer block(DataOff{raw}.bytes());
      image.Read(DataOff{raw}.offset().v, block.span());
      ASSERT_EQ(std::memcmp(block.data(), Content(DataOff{raw}, version)->data(), block.size()), 0)
          << std::hex << raw << " version " << version;
    }
  }

  const uint64_t seed_;
  SeededRandom rng_;
  MemoryDevice memory_;
  IoLog log_;
  RecordingDevice recording_;
  std::unique_ptr<DeviceSet> devices_;
  std::map<uint64_t, std::vector<DataOff>> layout_;
  std::map<uint64_t, uint64_t> versions_;  // data_off -> version that the block must hold
};

INSTANTIATE_TEST_SUITE_P(Writers, DioPropertyTest, testing::Values(0u, 1u, 3u));

TEST_P(DioPropertyTest, EveryBlockIsReadAsItWasWrittenLast) {
  SCOPED_TRACE(absl::StrCat("H2BD_SEED=", seed_));
  constexpr size_t kThreads = 3;
  for (int life = 0; life < 3; ++life) {
    // Few cached buffers and a short queue: frames come, go and wait all the time.
    Dio dio(
        *devices_,
        {.writer_threads = GetParam(), .queue_limit_bytes = 16 * kPbufBytes, .cached_buffers = 8},
        NullLogger());
    for (int round = 0; round < 4; ++round) {
      const std::vector<Block> plan = PlanRound(/*may_recut=*/true);
      const auto version = static_cast<uint64_t>(life * 10 + round + 1);
      std::atomic<size_t> written{0};
      absl::Notification half_written;
      std::vector<std::thread> threads;
      for (size_t t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
          for (size_t i = t; i < plan.size(); i += kThreads) {
            const DataOff at = plan[i].at;
            EXPECT_TRUE(dio.WriteBlock(at, Content(at, version), plan[i].fresh).ok());
            if (++written == plan.size() / 2) half_written.Notify();
            const DataOff earlier = plan[i / 2 / kThreads * kThreads + t].at;
            const absl::StatusOr<AlignedBuffer> block = dio.ReadBlock(earlier);
            EXPECT_TRUE(block.ok() && std::memcmp(block->data(), Content(earlier, version)->data(),
                                                  block->size()) == 0)
                << std::hex << earlier.raw;
          }
        });
      }
      half_written.WaitForNotification();
      EXPECT_TRUE(dio.Drain().ok());  // beside the writes
      for (std::thread& thread : threads) thread.join();
      for (const Block& block : plan) versions_[block.at.raw] = version;
      if (round % 2 == 0) {
        CheckAll(dio);
      } else {
        ASSERT_TRUE(dio.Drain().ok());
        if (life == 1) {
          dio.WriteAgain();
          ASSERT_TRUE(dio.Drain().ok());
        }
        dio.Confirm();
      }
    }
    ASSERT_TRUE(dio.Drain().ok());
    CheckMedia(memory_.Snapshot());
    CheckAll(dio);
    EXPECT_EQ(dio.metrics().queued_bytes.value(), 0);
  }
}

// P8 and P9: what was queued before a Drain that succeeded, and a barrier after it, survives any
// loss of power.
TEST_P(DioPropertyTest, ADrainAndABarrierMakeBlocksDurable) {
  SCOPED_TRACE(absl::StrCat("H2BD_SEED=", seed_));
  Dio dio(*devices_, {.writer_threads = GetParam()}, NullLogger());
  for (const Block& block : PlanRound(/*may_recut=*/false)) {
    ASSERT_TRUE(dio.WriteBlock(block.at, Content(block.at, 1), block.fresh).ok());
    versions_[block.at.raw] = 1;
  }
  ASSERT_TRUE(dio.Drain().ok());
  ASSERT_TRUE(devices_->SyncAll().ok());
  const size_t durable_from = log_.size();
  // Later blocks beside the durable ones: they share sectors, never bytes.
  std::vector<DataOff> later;
  for (const auto& [frame, blocks] : layout_) {
    for (const DataOff at : blocks) {
      if (versions_.contains(at.raw)) continue;
      ASSERT_TRUE(dio.WriteBlock(at, Content(at, 2), false).ok());
      later.push_back(at);
    }
  }
  ASSERT_TRUE(dio.Drain().ok());
  ASSERT_FALSE(later.empty());
  const std::vector<IoEvent> events = log_.events();
  CrashStates states({SparseImage(kSize)}, events);
  for (size_t cut = durable_from; cut <= events.size(); cut += 1 + events.size() / 40) {
    states.AdvanceTo(cut);
    CheckMedia(states.Draw(rng_).front());
  }
}

TEST(DioDeterminism, OneSeedIsOneSequenceOfWrites) {
  const auto run = [] {
    MemoryDevice memory(kSize);
    IoLog log;
    RecordingDevice recording(memory, log, 0);
    std::vector<DeviceSet::Member> members;
    members.push_back({std::make_unique<BorrowedDevice>(recording), 0, kSize});
    DeviceSet devices(std::move(members));
    Dio dio(devices, {.writer_threads = 0, .cached_buffers = 4}, NullLogger());
    SeededRandom rng(42);
    for (int round = 0; round < 3; ++round) {
      for (uint64_t i = 0; i < kFrames; ++i) {
        for (const DataOff at : CutFrame(kBase + i * kPbufBytes, rng)) {
          EXPECT_TRUE(dio.WriteBlock(at, Content(at, 1), false).ok());
        }
      }
      EXPECT_TRUE(dio.Drain().ok());
    }
    return log.events();
  };
  const std::vector<IoEvent> first = run(), second = run();
  ASSERT_EQ(first.size(), second.size());
  for (size_t i = 0; i < first.size(); ++i) {
    ASSERT_EQ(first[i].off, second[i].off);
    ASSERT_EQ(AsText(first[i].bytes->span()), AsText(second[i].bytes->span()));
  }
}

}  // namespace
}  // namespace h2bd
