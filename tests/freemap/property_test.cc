// Random allocations, undos, cycles and reopens against a model that is right by reading.

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "core/freemap/freemap.h"
#include "tests/freemap/test_volume.h"
#include "tests/support/fixtures.h"

namespace h2bd {
namespace {

// A chunk is free when nothing in it was allocated, or when all of it was undone in the cycle that
// opened it.
class Model {
 public:
  Model(uint64_t allocator_beg, uint64_t total)
      : begin_(RoundUp(allocator_beg, kSegBytes)), end_(RoundDown(total, kSegBytes)) {}

  bool IsFree(uint64_t chunk) const { return !chunks_.contains(chunk); }
  bool MayHold(uint64_t chunk) const {
    return chunk >= begin_ && chunk < end_ && chunk % kGiB >= kZoneSegBytes;
  }

  // Whether a block of this radix must be found. Rests of open chunks are a bonus that it does not
  // know.
  bool HasFreeRun(unsigned radix) const {
    const uint64_t bytes = std::max(uint64_t{1} << radix, kChunkBytes);
    for (uint64_t at = begin_; at < end_; at += bytes) {
      bool free = true;
      for (uint64_t c = at; c < at + bytes; c += kChunkBytes)
        free = free && MayHold(c) && IsFree(c);
      if (free) return true;
    }
    return false;
  }

  // "" when the block is one that may be given out.
  std::string Claim(DataOff at) {
    const uint64_t begin = at.offset().v;
    if (begin / kPbufBytes != (begin + at.bytes() - 1) / kPbufBytes)
      return "crosses a device buffer";
    const auto after = blocks_.lower_bound(begin);
    if (after != blocks_.end() && after->first < begin + at.bytes())
      return "overlaps the next block";
    if (after != blocks_.begin() && std::prev(after)->second > begin)
      return "overlaps the block before";
    for (uint64_t c = RoundDown(begin, kChunkBytes); c < begin + at.bytes(); c += kChunkBytes) {
      if (!MayHold(c)) return "outside the usable segments";
      if (at.bytes() >= kChunkBytes && !IsFree(c)) return "chunk in use";
      Chunk& chunk = chunks_.try_emplace(c, Chunk{cycle_, 0}).first->second;
      ++chunk.live;
    }
    blocks_[begin] = begin + at.bytes();
    return "";
  }
  void Undo(DataOff at) {
    blocks_.erase(at.offset().v);
    for (uint64_t c = RoundDown(at.offset().v, kChunkBytes); c < at.end().v; c += kChunkBytes) {
      Chunk& chunk = chunks_.at(c);
      if (--chunk.live == 0 && chunk.opened == cycle_) chunks_.erase(c);
    }
  }
  void NextCycle() { ++cycle_; }
  uint64_t allocated_bytes() const { return chunks_.size() * kChunkBytes; }

 private:
  struct Chunk {
    int opened;
    int live;
  };
  const uint64_t begin_, end_;
  int cycle_ = 0;
  std::map<uint64_t, Chunk> chunks_;
  std::map<uint64_t, uint64_t> blocks_;  // begin to end
};

struct Volume {
  uint64_t total, allocator_beg, allocator_size;
};

void RunAgainstModel(const Volume& v, uint64_t seed) {
  SCOPED_TRACE(absl::StrCat("H2BD_SEED=", seed));
  std::mt19937_64 rng(seed);
  TestVolume volume(FreemapHeader(v.total, v.allocator_beg, v.allocator_size));
  Model model(v.allocator_beg, v.total);
  std::vector<std::pair<DataOff, BrefType>> of_cycle;
  std::set<uint64_t> older_units;  // of 4 KiB, with blocks of earlier cycles
  // Weights of this run: how often something is undone, and how small blocks tend to be.
  const uint64_t undo_percent = rng() % 50;
  const unsigned radix_min = kRadixMin + rng() % 6;
  int refusals = 0;

  for (int step = 0; refusals < 400 && step < 60'000; ++step) {
    SCOPED_TRACE(absl::StrCat("step ", step));
    const uint64_t dice = rng() % 1000;
    if (dice < undo_percent * 10 && !of_cycle.empty()) {
      std::swap(of_cycle[rng() % of_cycle.size()], of_cycle.back());
      volume.freemap().Undo(of_cycle.back().first, of_cycle.back().second);
      model.Undo(of_cycle.back().first);
      of_cycle.pop_back();
    } else if (dice >= 998) {
      volume.Commit();
      if (rng() % 4 == 0) {
        ASSERT_EQ(volume.Reopen(), absl::OkStatus());
      }
      volume.freemap().BeginCycle();
      model.NextCycle();
      for (const auto& [at, type] : of_cycle) {
        for (uint64_t unit = RoundDown(at.offset().v, 4096); unit < at.end().v; unit += 4096) {
          older_units.insert(unit);
        }
      }
      of_cycle.clear();
    } else {
      const auto type = static_cast<BrefType>(1 + rng() % 4);
      const auto radix = static_cast<unsigned>(radix_min + rng() % (kRadixMax - radix_min + 1));
      const auto got = volume.freemap().Allocate(type, radix, Key((rng() % 4096) << 14));
      if (!got.ok()) {
        ASSERT_EQ(got.status().code(), absl::StatusCode::kResourceExhausted);
        ASSERT_FALSE(model.HasFreeRun(radix)) << "false refusal at radix " << radix;
        ++refusals;
        continue;
      }
      ASSERT_TRUE(got->fresh_units);
      for (uint64_t unit = RoundDown(got->data_off.offset().v, 4096); unit < got->data_off.end().v;
           unit += 4096) {
        ASSERT_FALSE(older_units.contains(unit)) << "shared with an earlier cycle (F-229)";
      }
      ASSERT_EQ(model.Claim(got->data_off), "") << std::hex << got->data_off.raw;
      of_cycle.emplace_back(got->data_off, type);
    }
    ASSERT_EQ(volume.freemap().usage().allocated_bytes, model.allocated_bytes());
  }
  volume.Commit();
  ASSERT_EQ(volume.Reopen(), absl::OkStatus());
  EXPECT_EQ(volume.freemap().usage().allocated_bytes, model.allocated_bytes());
  EXPECT_EQ(volume.header().allocator_free, v.allocator_size - model.allocated_bytes());
}

class FreemapProperty : public ::testing::TestWithParam<Volume> {};

TEST_P(FreemapProperty, GivesOutWhatIsFreeAndNothingElse) {
  const uint64_t seed = TestSeed();
  for (uint64_t run = 0; run < 8 && !HasFailure(); ++run) RunAgainstModel(GetParam(), seed + run);
}

INSTANTIATE_TEST_SUITE_P(Volumes, FreemapProperty,
                         ::testing::Values(Volume{kVectorABytes, kVectorABeg, kVectorASize},
                                           Volume{1064 * kMiB, 1000 * kMiB + 0xC00, 64 * kMiB}));

}  // namespace
}  // namespace h2bd
