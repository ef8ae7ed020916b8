#include "core/chain/reader_epochs.h"

namespace h2bd {
namespace {

size_t NumberOfThread() {
  static std::atomic<size_t> next{0};
  thread_local const size_t mine = next.fetch_add(1, std::memory_order_relaxed);
  return mine;
}

}  // namespace

// Between the look at the epoch and the count it may have moved on by two, and nobody would wait
// for this reader: so it looks again.
ReaderEpochs::Scope::Scope(ReaderEpochs& epochs) {
  Shard& shard = epochs.shards_[NumberOfThread() % kShards];
  for (;;) {
    const uint64_t epoch = epochs.now();
    count_ = &shard.readers[epoch & 1];
    count_->fetch_add(1, std::memory_order_seq_cst);
    if (epochs.now() == epoch) return;
    count_->fetch_sub(1, std::memory_order_seq_cst);
  }
}

void ReaderEpochs::TryAdvance() {
  const uint64_t epoch = now();
  // Nobody enters the epoch before any more, so a shard that is empty stays so.
  for (const Shard& shard : shards_) {
    if (shard.readers[(epoch + 1) & 1].load(std::memory_order_seq_cst) != 0) return;
  }
  epoch_.store(epoch + 1, std::memory_order_seq_cst);
}

}  // namespace h2bd
