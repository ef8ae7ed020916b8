// Who may still read a block that was dropped (spec 04 F-219; design section 6: reuse waits for
// readers).
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace h2bd {

// A reader copies a blockref under a lock and reads its block without one. Before the block is
// given out again, every reader that may have the blockref must have gone. Instead of a count for
// each block there is a number that grows: readers enter the epoch of the moment, and the epoch
// moves on only when nobody is left in the one before it. A block that was dropped in epoch E (the
// tree no longer named it) has no reader in epoch E + 2.
class ReaderEpochs {
 public:
  // From before a blockref is copied until its block is verified. Any thread; it nests. Never held
  // while waiting for memory, for a cycle or for a client.
  class Scope {
   public:
    explicit Scope(ReaderEpochs& epochs);
    ~Scope() { count_->fetch_sub(1, std::memory_order_seq_cst); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    std::atomic<uint64_t>* count_ = nullptr;
  };

  // The stamp of what is dropped now.
  uint64_t now() const { return epoch_.load(std::memory_order_seq_cst); }
  // Whether all readers are gone that may know what was dropped with this stamp.
  bool Over(uint64_t stamp) const { return now() >= stamp + 2; }
  // One step, where nobody is left of the epoch before. One thread: the flusher.
  void TryAdvance();

 private:
  static constexpr size_t kShards = 16;
  // Readers by parity of their epoch. A line each, so that readers do not meet.
  struct alignas(64) Shard {
    std::array<std::atomic<uint64_t>, 2> readers{};
  };
  std::atomic<uint64_t> epoch_{0};
  std::array<Shard, kShards> shards_;
};

}  // namespace h2bd
