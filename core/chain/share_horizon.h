// Up to which modify_tid the blocks of a PFS may be named by other trees, too (spec 02 section
// 13.4, spec 03 R12).
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

#include "core/base/types.h"

namespace h2bd {

// One for each PFS, in all its inodes and trees: its pfs_lsnap_tid. What a tree of the PFS wrote
// after it is in no snapshot and no clone. Thread-safe; raised by the flusher only, before a header
// shows the copy.
class ShareHorizon {
 public:
  explicit ShareHorizon(Tid upto) : upto_(upto.v) {}
  Tid upto() const { return Tid(upto_.load(std::memory_order_acquire)); }
  void Raise(Tid upto) {
    if (upto > this->upto()) upto_.store(upto.v, std::memory_order_release);
  }

  // Of a tree of which nothing is known: all of it may be shared.
  static constexpr Tid kEverything = Tid(std::numeric_limits<uint64_t>::max());

 private:
  std::atomic<uint64_t> upto_;
};

}  // namespace h2bd
