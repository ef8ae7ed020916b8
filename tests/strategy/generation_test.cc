// DirtyGeneration against plain bytes: what a failed cycle froze and what came after it, joined,
// say what both said one after the other (spec 04 F-142).
#include "core/strategy/generation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "core/base/random.h"
#include "core/strategy/disk.h"
#include "tests/support/fixtures.h"

namespace h2bd {
namespace {

constexpr uint64_t kBlocks = 6;
constexpr uint64_t kBytes = kBlocks * kLogicalBytes;

// What lies below the generations, and what a reader must find.
class Model {
 public:
  explicit Model(SeededRandom& rng) : rng_(rng), base_(kBytes, '\0') {
    rng.Fill(std::as_writable_bytes(std::span(base_)));
    expected_ = base_;
  }
  void Write(DirtyGeneration& generation) {
    const uint64_t block = rng_.Next64() % kBlocks;
    const uint64_t at = rng_.Next64() % kLogicalBytes;
    const uint64_t length = 1 + rng_.Next64() % std::min<uint64_t>(kLogicalBytes - at, 9000);
    std::string text(length, '\0');
    rng_.Fill(std::as_writable_bytes(std::span(text)));
    generation.At(block).Write(static_cast<uint32_t>(at), AsBytes(text));
    expected_.replace(block * kLogicalBytes + at, length, text);
  }
  void WriteWhole(DirtyGeneration& generation) {
    const uint64_t block = rng_.Next64() % kBlocks;
    AlignedBuffer bytes(kLogicalBytes);
    rng_.Fill(bytes.span());
    expected_.replace(block * kLogicalBytes, kLogicalBytes, std::string(AsText(bytes.span())));
    generation.At(block).WriteWhole(std::move(bytes));
  }
  void WriteZeros(DirtyGeneration& generation) {
    const uint64_t block = rng_.Next64() % kBlocks;
    const uint64_t begin = rng_.Next64() % kLogicalBytes;
    const uint64_t end = begin + 1 + rng_.Next64() % (kLogicalBytes - begin);
    generation.At(block).WriteZeros(static_cast<uint32_t>(begin), static_cast<uint32_t>(end));
    expected_.replace(block * kLogicalBytes + begin, end - begin, end - begin, '\0');
  }
  void Punch(DirtyGeneration& generation) {
    const uint64_t first = rng_.Next64() % kBlocks;
    const uint64_t last = first + 1 + rng_.Next64() % (kBlocks - first);
    generation.Punch(first, last);
    const uint64_t bytes = (last - first) * kLogicalBytes;
    expected_.replace(first * kLogicalBytes, bytes, bytes, '\0');
  }
  void Step(DirtyGeneration& generation) {
    switch (rng_.Next64() % 8) {
      case 0:
        return WriteWhole(generation);
      case 1:
        return WriteZeros(generation);
      case 2:
        return Punch(generation);
      default:
        return Write(generation);
    }
  }
  // As a read does it: the oldest first.
  std::string Seen(std::initializer_list<const DirtyGeneration*> oldest_first) const {
    std::string seen = base_;
    const ByteSpan bytes = std::as_writable_bytes(std::span(seen));
    for (const DirtyGeneration* generation : oldest_first) {
      for (uint64_t block = 0; block < kBlocks; ++block) {
        const ByteSpan part = bytes.subspan(block * kLogicalBytes, kLogicalBytes);
        const auto it = generation->blocks.find(block);
        if (it == generation->blocks.end()) {
          if (generation->holes.Contains(block)) std::memset(part.data(), 0, part.size());
          continue;
        }
        it->second.CopyOver(0, part);
      }
    }
    return seen;
  }
  const std::string& expected() const { return expected_; }

 private:
  SeededRandom& rng_;
  std::string base_, expected_;
};

TEST(DirtyGenerationModel, JoinedGenerationsSayWhatTheySaidOneAfterTheOther) {
  SeededRandom rng(TestSeed());
  for (int round = 0; round < 60; ++round) {
    Model model(rng);
    auto frozen = std::make_unique<DirtyGeneration>();
    auto open = std::make_unique<DirtyGeneration>();
    for (int step = 0; step < 60; ++step) {
      if (rng.Next64() % 6 == 0) {
        frozen->Absorb(std::move(*open));
        open = std::make_unique<DirtyGeneration>();
      } else {
        model.Step(*open);
      }
      ASSERT_TRUE(model.Seen({frozen.get(), open.get()}) == model.expected())
          << "round " << round << " step " << step;
    }
    frozen->Absorb(std::move(*open));
    ASSERT_TRUE(model.Seen({frozen.get()}) == model.expected()) << "round " << round;
  }
}

TEST(DirtyGenerationModel, TheNewerSizeAndTimeWinAndChargesAddUp) {
  DirtyGeneration older, newer;
  older.size = 100;
  older.mtime = absl::UnixEpoch();
  older.memory_bytes = 1000;
  older.reserved_bytes = 10;
  newer.id = Generation(7);
  newer.memory_bytes = 200;
  newer.reserved_bytes = 2;
  newer.mtime = absl::UnixEpoch() + absl::Seconds(1);
  older.Absorb(std::move(newer));
  EXPECT_EQ(older.id, Generation(7));
  EXPECT_EQ(older.size, 100u) << "the newer did not change it";
  EXPECT_EQ(older.mtime, absl::UnixEpoch() + absl::Seconds(1));
  DirtyGeneration newest;
  newest.size = 50;
  older.Absorb(std::move(newest));
  EXPECT_EQ(older.size, 50u);
  EXPECT_EQ(older.memory_bytes, 1200u);
  EXPECT_EQ(older.reserved_bytes, 12u);
}

}  // namespace
}  // namespace h2bd
