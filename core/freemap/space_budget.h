// Free space against promises, without a lock (freemap.h says the arithmetic).
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "core/base/status.h"
#include "core/freemap/bmap.h"

namespace h2bd {

// Counts as of the last change of the map. Thread-safe.
class SpaceBudget {
 public:
  explicit SpaceBudget(uint64_t allocator_size) : kept_back_(KeptBack(allocator_size)) {}
  void SetAllocatorSize(uint64_t allocator_size) { kept_back_ = KeptBack(allocator_size); }

  void SetCounts(const SpaceCounts& counts) {
    free_.store(counts.free, std::memory_order_relaxed);
    staged_.store(counts.staged, std::memory_order_relaxed);
    used_.store(counts.used, std::memory_order_relaxed);
    groups_.store(counts.groups, std::memory_order_relaxed);
  }
  SpaceCounts counts() const {
    return {free_.load(std::memory_order_relaxed), staged_.load(std::memory_order_relaxed),
            used_.load(std::memory_order_relaxed), groups_.load(std::memory_order_relaxed)};
  }

  bool TryReserve(uint64_t bytes, bool use_reserve) {
    const int64_t room = groups_.load(std::memory_order_relaxed) * int64_t{kPbufBytes} -
                         (use_reserve ? 0 : kept_back_.load(std::memory_order_relaxed));
    int64_t reserved = reserved_.load(std::memory_order_relaxed);
    do {
      if (bytes == 0) return true;
      if (room <= reserved || bytes > static_cast<uint64_t>(room - reserved)) return false;
    } while (!reserved_.compare_exchange_weak(reserved, reserved + static_cast<int64_t>(bytes),
                                              std::memory_order_relaxed));
    return true;
  }
  void Unreserve(uint64_t bytes) {
    const int64_t before =
        reserved_.fetch_sub(static_cast<int64_t>(bytes), std::memory_order_relaxed);
    H2_ASSERT(bytes <= static_cast<uint64_t>(before));
  }
  uint64_t reserved() const {
    return static_cast<uint64_t>(reserved_.load(std::memory_order_relaxed));
  }

 private:
  static int64_t KeptBack(uint64_t allocator_size) {
    return static_cast<int64_t>(std::max(kMiB, allocator_size / 40));
  }

  std::atomic<int64_t> kept_back_;
  std::atomic<int64_t> free_{0}, staged_{0}, used_{0}, groups_{0};
  std::atomic<int64_t> reserved_{0};
};

}  // namespace h2bd
