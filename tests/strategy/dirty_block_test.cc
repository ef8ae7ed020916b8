#include "core/strategy/dirty_block.h"

#include <gtest/gtest.h>

#include <string>

#include "core/base/random.h"
#include "tests/support/fixtures.h"

namespace h2bd {
namespace {

constexpr uint32_t kBlock = kLogicalBytes;

// The model: the block's bytes, and for each whether the block defines it.
struct Model {
  std::string bytes = std::string(kBlock, '?');
  std::string known = std::string(kBlock, 'n');

  void Write(uint32_t at, const std::string& text) {
    bytes.replace(at, text.size(), text);
    known.replace(at, text.size(), std::string(text.size(), 'y'));
  }
  void Discard() {
    bytes.assign(kBlock, '\0');
    known.assign(kBlock, 'y');
  }
};

void ExpectEqual(const DirtyBlock& block, const Model& model) {
  std::string found(kBlock, '?');
  block.CopyOver(0, ByteSpan(reinterpret_cast<std::byte*>(found.data()), kBlock));
  ASSERT_TRUE(found == model.bytes);
  const bool whole = model.known.find('n') == std::string::npos;
  ASSERT_EQ(block.Defines(0, kBlock), whole);
  uint64_t missing = 0;
  for (const auto& [first, last] : block.Missing(0, kBlock)) {
    missing += last - first;
    for (uint64_t i = first; i < last; ++i) ASSERT_EQ(model.known[i], 'n') << i;
  }
  ASSERT_EQ(missing,
            static_cast<uint64_t>(std::count(model.known.begin(), model.known.end(), 'n')));
}

// Applies one random change to both.
void Change(SeededRandom& rng, DirtyBlock& block, Model& model) {
  const auto at = static_cast<uint32_t>(rng.Next64() % kBlock);
  const auto length =
      static_cast<uint32_t>(1 + rng.Next64() % std::min<uint64_t>(kBlock - at, 9000));
  const std::string text(length, static_cast<char>('A' + rng.Next64() % 26));
  switch (rng.Next64() % 12) {
    case 0: {
      AlignedBuffer whole(kBlock);
      std::memset(whole.data(), text[0], kBlock);
      block.WriteWhole(std::move(whole));
      model.Write(0, std::string(kBlock, text[0]));
      break;
    }
    case 1:
      block = DirtyBlock(/*over_zeros=*/true);
      model.Discard();
      break;
    case 2:
      block.WriteZeros(at, at + length);
      model.Write(at, std::string(length, '\0'));
      break;
    default:
      block.Write(at, AsBytes(text));
      model.Write(at, text);
  }
}

TEST(DirtyBlock, EqualsAModelByteForByte) {
  SeededRandom rng(TestSeed());
  for (int round = 0; round < 60; ++round) {
    DirtyBlock block;
    Model model;
    for (int step = 0; step < 12; ++step) {
      Change(rng, block, model);
      ExpectEqual(block, model);
    }
  }
}

TEST(DirtyBlock, ALaterGenerationWinsWhenItIsAbsorbed) {
  SeededRandom rng(TestSeed());
  for (int round = 0; round < 100; ++round) {
    DirtyBlock older, newer;
    Model model, newer_model;
    for (int step = 0; step < 4; ++step) Change(rng, older, model);
    for (int step = 0; step < 4; ++step) Change(rng, newer, newer_model);
    older.Absorb(newer);
    for (uint32_t i = 0; i < kBlock; ++i) {
      if (newer_model.known[i] == 'y') {
        model.bytes[i] = newer_model.bytes[i];
        model.known[i] = 'y';
      }
    }
    ExpectEqual(older, model);
  }
}

// A cycle that fails has perhaps put the block into the clean cache before a later generation comes
// on top.
TEST(DirtyBlock, WhatWasHandedOutDoesNotChange) {
  DirtyBlock block;
  block.WriteWhole(AlignedBuffer::Zeroed(kBlock));
  const SharedBytes handed_out = block.whole();
  DirtyBlock newer;
  newer.Write(100, AsBytes("later"));
  block.Absorb(newer);
  EXPECT_TRUE(IsAllZero(handed_out->span()));
  EXPECT_EQ(AsText(block.whole()->span().subspan(100, 5)), "later");
}

TEST(DirtyBlock, CostsWhatItHolds) {
  DirtyBlock block;
  block.Write(4095, AsBytes("xy"));
  EXPECT_LT(block.memory_bytes(), 3u * 4096);
  block.WriteWhole(AlignedBuffer::Zeroed(kBlock));
  EXPECT_LT(block.memory_bytes(), kBlock + 4096);
  EXPECT_NE(block.whole(), nullptr);
}

}  // namespace
}  // namespace h2bd
