// One logical block of 64 KiB with changes that are not on media yet.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/interval_set.h"
#include "core/media/constants.h"

namespace h2bd {

// Keeps just the bytes that were written, exact to the byte, in 4 KiB pages or, when it was written
// whole, in one buffer. The other bytes are those of the block below (an older generation, or the
// media), or zeros when the block was discarded first; they are fetched when the block is read or
// flushed, never at the write. Not thread-safe: the disk's lock guards it.
class DirtyBlock {
 public:
  static constexpr uint32_t kPageBytes = 4096;

  DirtyBlock() = default;
  // `over_zeros`: the bytes that are never written read as zeros.
  explicit DirtyBlock(bool over_zeros) : over_zeros_(over_zeros) {}

  // [at, at + bytes.size()) must lie within the block.
  void Write(uint32_t at, ConstByteSpan bytes);
  void WriteZeros(uint32_t begin, uint32_t end);
  // Takes all 64 KiB over without a copy.
  void WriteWhole(AlignedBuffer bytes);

  // Whether [begin, end) can be read without the block below.
  bool Defines(uint32_t begin, uint32_t end) const;
  // The parts of [begin, end) that need the block below.
  std::vector<std::pair<uint64_t, uint64_t>> Missing(uint32_t begin, uint32_t end) const;
  // Puts what is known of [begin, begin + into.size()) over `into`.
  void CopyOver(uint32_t begin, ByteSpan into) const;
  // Whether all of it is known, and zeros. Looks no further than to the first other byte.
  bool AllZero() const;
  bool over_zeros() const { return over_zeros_; }

  // The whole block when it was written in one piece: shared, so that it can become clean cache
  // without a copy. A later change of the block leaves what was handed out as it is. Null
  // otherwise.
  SharedBytes whole() const { return whole_; }

  // Adds the changes of a later generation: its bytes win.
  void Absorb(const DirtyBlock& newer);

  uint64_t memory_bytes() const;

 private:
  struct Page {
    alignas(64) std::array<std::byte, kPageBytes> bytes;
  };
  bool over_zeros_ = false;
  std::shared_ptr<AlignedBuffer> whole_;
  std::array<std::unique_ptr<Page>, kLogicalBytes / kPageBytes> pages_;
  IntervalSet valid_;  // unused when whole_
};

}  // namespace h2bd
