// The blocks that the running cycle has been given, so that it can give them back.
#pragma once

#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "core/media/blockref.h"

namespace h2bd {

// Not thread-safe.
class CycleBlocks {
 public:
  void Given(DataOff data_off, bool opened_chunk);

  enum class Returned {
    kUnknown,  // not a block of this cycle: it must stay allocated
    kBlock,    // 16 KiB or more, or the last block in a chunk that this cycle has opened: free its
               // chunks
    kPart,     // other blocks live in its chunk, or did before the cycle
  };
  Returned Return(DataOff data_off);

  void Clear();

 private:
  struct Chunk {
    bool opened = false;  // free when the cycle came to it
    int live = 0;         // small blocks of this cycle in it
  };
  absl::flat_hash_set<uint64_t> blocks_;         // data_off
  absl::flat_hash_map<uint64_t, Chunk> chunks_;  // by address; of small blocks only
};

}  // namespace h2bd
