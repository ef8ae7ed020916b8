// Logical blocks to stored blocks and back (spec 01 section 6, spec 03 sections 8 and 9).
#pragma once

#include <cstdint>
#include <optional>

#include "core/media/blockref.h"

namespace h2bd {

// Size of the logical block at file offset `block_start` in a file of `file_size` bytes: 64 KiB, or
// the power of two that holds the tail. Requires block_start < file_size.
uint64_t PblkSize(uint64_t file_size, uint64_t block_start);

struct StoredBlock {
  CompMethod comp = CompMethod::kNone;  // what was used: NONE, LZ4 or ZLIB
  unsigned radix = 0;
  AlignedBuffer bytes;  // exactly 2^radix, zero padded
};

// Compresses `logical` (a power of two, 1 KiB to 64 KiB) with `method`; nullopt when that gains
// nothing and it is to be stored verbatim. `level` counts for ZLIB only: 0 and below 6 mean 6,
// above 9 means 9. The zero test is the caller's. Safe from any thread.
std::optional<StoredBlock> CompressBlock(ConstByteSpan logical, CompMethod method, int level);
// The same, with a copy of what is stored verbatim.
StoredBlock EncodeBlock(ConstByteSpan logical, CompMethod method, int level);

// Decodes `stored` (2^radix bytes, already verified) into exactly 64 KiB: data, then zeros.
// kDataLoss for a compression method that no DATA blockref may carry, a wrong LZ4 length, an
// incomplete or oversized stream; `into` is then unspecified.
absl::Status DecodeBlock(CompMethod comp, ConstByteSpan stored, ByteSpan into);

}  // namespace h2bd
