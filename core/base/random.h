// Randomness behind a seam. UUIDs come from it; nothing on the commit path does.
#pragma once

#include <array>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/base/bytes.h"

namespace h2bd {

// Thread-safe.
class RandomSource {
 public:
  virtual ~RandomSource() = default;
  virtual void Fill(ByteSpan bytes) = 0;
  uint64_t Next64();
};

// getrandom(2).
RandomSource& SystemRandom();

// SplitMix64: one seed is one sequence. For tests and simulation.
class SeededRandom final : public RandomSource {
 public:
  explicit SeededRandom(uint64_t seed) : state_(seed) {}
  void Fill(ByteSpan bytes) override;

 private:
  absl::Mutex mu_;
  uint64_t state_ ABSL_GUARDED_BY(mu_);
};

// Version 4 UUID in the byte order of the media (spec 01 section 3.5).
std::array<std::byte, 16> NewUuid(RandomSource& random);

}  // namespace h2bd
