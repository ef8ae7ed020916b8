// Verified loads and copy-on-write stores of single blocks: the allocator, the device buffers and
// the check codes in one place.
#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "core/chain/block_allocator.h"
#include "core/chain/chain_metrics.h"
#include "core/chain/reader_epochs.h"
#include "core/dio/dio.h"
#include "core/media/blockref.h"

namespace h2bd {

// The ids that everything written by one cycle carries (spec 04 section 5). One modify_tid per
// cycle from a volume-wide counter is above every id in use, so it never decreases anywhere
// (F-146).
struct FlushTids {
  Tid mirror_tid;
  Tid modify_tid;
};

// Thread-safe.
class BlockStore {
 public:
  BlockStore(Dio& dio, BlockAllocator& allocator, uint64_t total_size)
      : dio_(dio), allocator_(allocator), total_size_(total_size) {}

  // The block behind `bref`, its check code verified. kDataLoss when it does not match,
  // kUnavailable when the device fails; messages describe the blockref.
  absl::StatusOr<AlignedBuffer> Load(const Blockref& bref);

  // Writes `block` (2^radix bytes, 1 KiB to 64 KiB) to a newly allocated place: sets data_off,
  // check (by bref.methods), mirror_tid and modify_tid of `bref`; type, key and methods are the
  // caller's. The write is queued, not durable. On error `bref` is unchanged. A shared block must
  // not change any more.
  absl::Status Store(Blockref& bref, SharedBytes block, const FlushTids& tids);
  absl::Status Store(Blockref& bref, AlignedBuffer block, const FlushTids& tids) {
    return Store(bref, std::make_shared<const AlignedBuffer>(std::move(block)), tids);
  }

  BlockAllocator& allocator() { return allocator_; }
  Dio& dio() { return dio_; }
  // Bytes of the address space. Grows only.
  uint64_t total_size() const { return total_size_.load(std::memory_order_relaxed); }
  void Grow(uint64_t total_size) {
    H2_ASSERT(total_size >= total_size_);
    total_size_ = total_size;
  }
  // Whoever copies a blockref and reads its block without a lock.
  ReaderEpochs& readers() { return readers_; }
  // Of all trees whose blocks are here.
  ChainMetrics& metrics() { return metrics_; }

 private:
  Dio& dio_;
  BlockAllocator& allocator_;
  std::atomic<uint64_t> total_size_;
  ReaderEpochs readers_;
  ChainMetrics metrics_;
};

// Metadata never goes without a check: NONE and DISABLED become XXHASH64 (spec 01 section 4.3
// forces it for NONE; F-147 wants a real method everywhere that h2bd writes).
constexpr CheckMethod RealCheckMethod(CheckMethod method) {
  return method == CheckMethod::kNone || method == CheckMethod::kDisabled ? CheckMethod::kXxhash64
                                                                          : method;
}

}  // namespace h2bd
