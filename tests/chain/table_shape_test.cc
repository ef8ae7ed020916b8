#include "core/chain/table_shape.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "core/base/random.h"
#include "core/media/decode.h"
#include "tests/support/fixtures.h"

namespace h2bd {
namespace {

Blockref Entry(BrefType type, uint64_t key, unsigned keybits = 0) {
  Blockref bref;
  bref.type = type;
  bref.key = Key(key);
  bref.keybits = static_cast<uint8_t>(keybits);
  return bref;
}

// indkey_dir, word for word as spec 03 section 3.2 has it.
KeyRange SpecDirectoryRange(const std::vector<Blockref>& entries, uint64_t k, size_t m) {
  unsigned bits = 0;
  size_t lo = 0, hi = 0;
  const auto fold = [&](unsigned bit) {
    if (k >> bit & 1) {
      hi += lo;
      lo = 0;
    } else {
      lo += hi;
      hi = 0;
    }
  };
  for (const Blockref& e : entries) {
    unsigned nb = std::max<unsigned>(bits, e.keybits);
    while (nb < 64 && (k >> nb) != (e.key.v >> nb)) ++nb;
    if (nb != bits) {
      fold(nb - 1);
      bits = nb;
    }
    (e.key.v >> (nb - 1) & 1 ? hi : lo)++;
  }
  --bits;
  while ((uint64_t{1} << bits) < m) {
    ++bits;
    fold(bits);
  }
  uint64_t key = hi > lo ? k | uint64_t{1} << bits : k & ~(uint64_t{1} << bits);
  key &= ~((uint64_t{1} << bits) - 1);
  return {Key(key), bits};
}

TEST(TableShape, DirectoryRangeIsTheSpecs) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(absl::StrCat("H2BD_SEED=", seed));
  SeededRandom random(seed);
  for (int round = 0; round < 4000; ++round) {
    const size_t slots = std::array<size_t, 4>{4, 32, 128, 512}[random.Next64() % 4];
    const unsigned width = 1 + random.Next64() % 64;  // how far keys spread
    const uint64_t base = random.Next64();
    const auto draw = [&] { return base ^ (random.Next64() >> (64 - width)); };
    std::set<uint64_t> keys;
    for (size_t i = 0; i < slots; ++i) keys.insert(draw());
    const uint64_t inserted = draw();
    if (keys.contains(inserted)) continue;
    std::vector<Blockref> entries;
    for (uint64_t key : keys) entries.push_back(Entry(BrefType::kInode, key));
    const size_t new_slots = NewTableSlots(TableKind::kDirectory, slots == 4, slots);
    EXPECT_EQ(SplitRange(TableKind::kPfsRoot, entries, Key(inserted), new_slots),
              SpecDirectoryRange(entries, inserted, new_slots));
  }
}

TEST(TableShape, SplitOfARootWithInodesAndNamesKeepsThemApart) {  // R5
  const std::vector<Blockref> entries = {
      Entry(BrefType::kInode, 0x400), Entry(BrefType::kInode, 0x401),
      Entry(BrefType::kDirent, 0x9000000000008001), Entry(BrefType::kDirent, 0xa000000000008001)};
  EXPECT_EQ(SplitRange(TableKind::kPfsRoot, entries, Key(0x402), 32), (KeyRange{Key(0), 63}))
      << "equal halves: the lower one";
  EXPECT_EQ(SplitRange(TableKind::kPfsRoot, entries, Key(0xb000000000008001), 32),
            (KeyRange{Key(0), 63}))
      << "the side of the inserted key does not matter";
}

TEST(TableShape, FileRange) {
  const auto range = [](std::vector<std::pair<uint64_t, unsigned>> keys, size_t new_slots) {
    std::vector<Blockref> entries;
    for (const auto& [key, keybits] : keys) {
      entries.push_back(Entry(keybits == 16 ? BrefType::kData : BrefType::kIndirect, key, keybits));
    }
    return SplitRange(TableKind::kFile, entries, Key(~uint64_t{0xffff}), new_slots);
  };
  EXPECT_EQ(range({{0, 16}, {0x10000, 16}, {0x20000, 16}, {0x30000, 16}}, 128),
            (KeyRange{Key(0), 23}));
  EXPECT_EQ(range({{0, 23}, {0x800000, 23}, {0x1000000, 16}, {0x1010000, 16}}, 128),
            (KeyRange{Key(0x1000000), 23}))
      << "smallest keybits first, then smallest key";
  EXPECT_EQ(range({{0, 23}, {0x800000, 23}, {0x1000000, 23}, {0x1800000, 23}}, 128),
            (KeyRange{Key(0), 30}));
  EXPECT_EQ(range({{0x410000, 16}, {0x90000000, 16}, {0xa0000000, 16}, {0xb0000000, 16}}, 512),
            (KeyRange{Key(0), 25}))
      << "64 KiB tables have 9 bits";
  EXPECT_EQ(
      range({{0, 58}, {uint64_t{1} << 58, 58}, {uint64_t{2} << 58, 58}, {uint64_t{3} << 58, 58}},
            128),
      (KeyRange{Key(0), 63}))
      << "never more than half of the key space (R5, T6)";
}

TEST(TableShape, Slots) {
  struct Case {
    TableKind kind;
    bool under_inode;
    size_t parent;
    size_t slots;
    const char* why;
  };
  for (const Case& c : {Case{TableKind::kDirectory, true, 4, 32, "4 KiB below a directory"},
                        Case{TableKind::kPfsRoot, true, 4, 32, "and a PFS root"},
                        Case{TableKind::kSuperRoot, true, 4, 32, "and the super-root"},
                        Case{TableKind::kFile, true, 4, 128, "16 KiB below a file"},
                        Case{TableKind::kPfsRoot, false, 32, 128, "16 KiB below any table"},
                        Case{TableKind::kFile, false, 128, 128, "also for files"},
                        Case{TableKind::kFile, false, 512, 512, "never smaller than the parent"},
                        Case{TableKind::kFile, false, 256, 512, "never 32 KiB (R4)"}}) {
    EXPECT_EQ(NewTableSlots(c.kind, c.under_inode, c.parent), c.slots) << c.why;
  }
  for (const auto& [slots, legal] : std::vector<std::pair<size_t, size_t>>{
           {8, 32}, {16, 32}, {32, 32}, {64, 128}, {128, 128}, {256, 512}, {512, 512}}) {
    EXPECT_EQ(LegalSlots(slots), legal) << slots;
  }
}

TEST(TableShape, Stats) {  // the formulas of spec 01 section 4.6, by hand
  Blockref data = Entry(BrefType::kData, 0, 16);
  data.data_off = DataOff::Make(ByteOff(0x800000), 14);
  Blockref indirect = Entry(BrefType::kIndirect, 0x800000, 23);
  indirect.data_off = DataOff::Make(ByteOff(0x900000), 14);
  indirect.set_data_count(3227648);
  indirect.set_inode_count(7);
  indirect.leaf_count = 50;
  Blockref inode = Entry(BrefType::kInode, 0x400);
  inode.data_off = DataOff::Make(ByteOff(0xa00000), 10);
  inode.set_data_count(3424256);
  inode.set_inode_count(2);
  inode.leaf_count = 52;
  Blockref name = Entry(BrefType::kDirent, 0x9000000000008001);
  name.set_dirent(Inum(0x400), 5, 2);  // its embed area is no statistics

  EXPECT_EQ(StatsOf({}), ChainStats{});
  EXPECT_EQ(
      StatsOf(std::vector{data, indirect}),
      (ChainStats{.data_count = 16384 + 16384 + 3227648, .inode_count = 7, .leaf_count = 51}));
  EXPECT_EQ(StatsOf(std::vector{inode, name}),
            (ChainStats{.data_count = 1024 + 3424256, .inode_count = 3, .leaf_count = 2}))
      << "an inode passes up its counts but not its leaves";
  indirect.leaf_count = 65530;
  EXPECT_EQ(StatsOf(std::vector{indirect, indirect}).leaf_count, 65535) << "saturates";
}

}  // namespace
}  // namespace h2bd
