// How the bytes of a fuzz input are laid out. The targets read it, the seed generator writes it.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/status.h"
#include "core/media/blockref.h"

namespace h2bd {

// Each input is one of these heads and then a body.
struct HeaderHead {
  uint8_t seal = 0;  // odd: the CRCs are made right, so that what lies behind them is reached
};
// Body: the first bytes of a volume header; the rest is zero.

struct TableHead {
  uint64_t table_key = 0;
  uint64_t total_size = 0;
  uint8_t kind = 0;  // modulo the number of kinds
  uint8_t table_keybits = 0;
  std::array<uint8_t, 6> unused{};
};
// Body: blockrefs; an incomplete last one is dropped.

struct InodeHead {
  Blockref bref;
  uint64_t total_size = 0;
  uint64_t indexed = 0;  // odd: yes
};
// Body: the first bytes of an inode; the rest is zero.

struct CodecHead {
  uint8_t comp = 0;    // low 4 bits
  uint8_t radix = 10;  // modulo 7, above 10
  uint8_t encode = 0;  // odd: the body is a logical block to encode; else a stored one to decode
  uint8_t level = 0;
};
// Body: the first bytes of the block; the rest is zero.

struct LeafHead {
  uint8_t first_segment = 0;
};
// Body: segments from there on; all others are free.

struct StreamHead {
  uint8_t seal = 0;   // odd: checksums, numbers and the chain are made right
  uint8_t piece = 0;  // the source gives at most so many bytes and one more at a time
};
// Body: a stream.

template <class Head>
std::optional<std::pair<Head, ConstByteSpan>> SplitInput(const uint8_t* data, size_t size) {
  const ConstByteSpan input = std::as_bytes(std::span(data, size));
  if (input.size() < sizeof(Head)) return std::nullopt;
  return std::pair(LoadAs<Head>(input), input.subspan(sizeof(Head)));
}

template <class Head>
std::vector<std::byte> JoinInput(const Head& head, ConstByteSpan body) {
  std::vector<std::byte> input(sizeof(Head));
  StoreAs(ByteSpan(input), head);
  input.insert(input.end(), body.begin(), body.end());
  return input;
}

}  // namespace h2bd
