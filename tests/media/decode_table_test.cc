#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "core/media/decode.h"
#include "core/media/placement.h"

namespace h2bd {
namespace {

using testing::HasSubstr;

constexpr uint64_t kTotal = 8 * kGiB;
constexpr uint64_t kVisible = kDirhashVisible;

Blockref Make(BrefType type, uint64_t key, unsigned keybits, uint64_t off, unsigned radix) {
  Blockref bref;
  bref.type = type;
  bref.key = Key(key);
  bref.keybits = static_cast<uint8_t>(keybits);
  bref.data_off = DataOff{off | radix};
  bref.set_methods(CheckMethod::kXxhash64, CompMethod::kNone);
  return bref;
}
Blockref Inode(uint64_t key) { return Make(BrefType::kInode, key, 0, 0x14801c00, 10); }
Blockref Indirect(uint64_t key, unsigned keybits) {
  return Make(BrefType::kIndirect, key, keybits, 0x15404000, 14);
}
Blockref Data(uint64_t key) { return Make(BrefType::kData, key, 16, 0x15010000, 16); }
Blockref Dirent(uint64_t key, uint16_t namlen) {
  Blockref bref =
      Make(BrefType::kDirent, key, 0, namlen > 64 ? 0x15000000 : 0, namlen > 64 ? 10 : 0);
  bref.set_dirent(Inum(0x400), namlen, 2);
  return bref;
}
Blockref Freemap(uint64_t key, unsigned keybits, int copy = 0) {
  Blockref bref;
  bref.type = keybits == 30 ? BrefType::kFreemapLeaf : BrefType::kFreemapNode;
  bref.key = Key(key);
  bref.keybits = static_cast<uint8_t>(keybits);
  bref.data_off = FreemapBlockPlace(Key(key), keybits, copy);
  bref.set_methods(CheckMethod::kFreemap, CompMethod::kNone);
  return bref;
}

std::vector<std::byte> Raw(const std::vector<Blockref>& entries) {
  std::vector<std::byte> raw(entries.size() * kBlockrefBytes);
  for (size_t i = 0; i < entries.size(); ++i) {
    StoreAs(ByteSpan(raw), entries[i], i * kBlockrefBytes);
  }
  return raw;
}

// What may stand in which table (spec 03 section 2.1): rows are types, columns kinds.
TEST(CheckBlockref, TypesByTable) {
  constexpr TableKind kKinds[] = {
      TableKind::kSuperRootSet, TableKind::kSuperRoot, TableKind::kPfsRoot, TableKind::kDirectory,
      TableKind::kFile,         TableKind::kOther,     TableKind::kFreemap};
  struct Case {
    const char* what;
    Blockref bref;
    const char* legal;  // one character for each kind: y or n
  };
  const Blockref invalid = Make(BrefType::kInvalid, 0, 0, 0, 0);
  for (const Case& c : {
           Case{"empty", Blockref{}, "yyyyyyy"},
           Case{"super-root inode", Inode(0), "ynynnnn"},
           Case{"inode in the name keys", Inode(kVisible | 5), "nyyynnn"},
           Case{"indexed inode", Inode(0x400), "nnynnnn"},
           Case{"indirect", Indirect(0, 23), "nyyyynn"},
           Case{"data", Data(0x20000), "nnnnynn"},
           Case{"dirent", Dirent(kVisible, 5), "nnyynnn"},
           Case{"freemap node", Freemap(0, 38), "nnnnnny"},
           Case{"freemap leaf", Freemap(kGiB, 30), "nnnnnny"},
           Case{"invalid", invalid, "nnnnnnn"},
           Case{"type 8", Make(static_cast<BrefType>(8), 0, 0, 0, 0), "nnnnnnn"},
           Case{"pseudo freemap", Make(BrefType::kFreemap, 0, 0, 0, 0), "nnnnnnn"},
           Case{"pseudo volume", Make(BrefType::kVolume, 0, 0, 0, 0), "nnnnnnn"},
       }) {
    for (size_t k = 0; k < std::size(kKinds); ++k) {
      const absl::Status status = CheckBlockref(c.bref, kKinds[k], Key(0), 64, kTotal);
      EXPECT_EQ(status.ok(), c.legal[k] == 'y') << c.what << ", kind " << k << ": " << status;
      if (!status.ok()) {
        EXPECT_TRUE(absl::IsDataLoss(status)) << c.what << ", kind " << k;
      }
    }
  }
}

TEST(CheckBlockref, AcceptsWhatTheReferenceWrites) {
  Blockref unusual = Inode(kVisible | 5);
  unusual.copyid = 0xff;  // newfs
  unusual.vradix = 10;
  unusual.flags = 0xff;
  unusual.leaf_count = kLeafCountMax;
  unusual.update_tid = Tid(77);
  unusual.methods = 0x31;  // the nibble of AUTOZERO means nothing here
  EXPECT_EQ(CheckBlockref(unusual, TableKind::kSuperRoot, Key(0), 64, kTotal), absl::OkStatus());

  for (const unsigned radix : {10u, 12u, 13u, 14u, 15u, 16u}) {
    const Blockref table = Make(BrefType::kIndirect, 0, 63, 0x15400000, radix);
    EXPECT_EQ(CheckBlockref(table, TableKind::kDirectory, Key(0), 64, kTotal), absl::OkStatus());
  }
  for (const CompMethod comp : {CompMethod::kNone, CompMethod::kLz4, CompMethod::kZlib}) {
    Blockref data = Make(BrefType::kData, ~uint64_t{0xffff}, 16, 0x15000400, 10);
    data.set_methods(CheckMethod::kDisabled, comp);
    EXPECT_EQ(CheckBlockref(data, TableKind::kFile, Key(0), 64, kTotal), absl::OkStatus());
  }
  for (const uint16_t namlen : {1, 64, 65, 255}) {
    EXPECT_EQ(CheckBlockref(Dirent(UINT64_MAX, namlen), TableKind::kDirectory, Key(0), 64, kTotal),
              absl::OkStatus())
        << namlen;
  }
  // An indirect block as wide as its table.
  EXPECT_EQ(CheckBlockref(Indirect(0x1000000, 24), TableKind::kFile, Key(0x1000000), 24, kTotal),
            absl::OkStatus());
}

TEST(CheckBlockref, RejectsEachBadField) {
  struct Case {
    const char* message;  // a part of it
    TableKind kind;
    Blockref base;
    std::function<void(Blockref&)> damage;
  };
  const auto off = [](uint64_t raw) { return [raw](Blockref& b) { b.data_off.raw = raw; }; };
  const auto keybits = [](uint8_t n) { return [n](Blockref& b) { b.keybits = n; }; };
  const auto key = [](uint64_t k) { return [k](Blockref& b) { b.key = Key(k); }; };
  const std::vector<Case> cases = {
      {"data_off=0x40, legal: 0 in an empty slot", TableKind::kFile, Blockref{}, off(0x40)},
      {"data_off=0xa, legal: 0 in an empty slot", TableKind::kFile, Blockref{}, off(10)},
      // keybits
      {"keybits=0x1, legal: 0", TableKind::kPfsRoot, Inode(0x400), keybits(1)},
      {"keybits=0x1, legal: 0", TableKind::kPfsRoot, Dirent(kVisible, 5), keybits(1)},
      {"keybits=0x0, legal: 1..63", TableKind::kFile, Indirect(0, 23), keybits(0)},
      {"keybits=0x40, legal: 1..63", TableKind::kFile, Indirect(0, 23), keybits(64)},
      {"keybits=0xff, legal: 1..63", TableKind::kFile, Indirect(0, 23), keybits(255)},
      {"keybits=0xf, legal: 16", TableKind::kFile, Data(0), keybits(15)},
      {"keybits=0x11, legal: 16", TableKind::kFile, Data(0), keybits(17)},
      {"keybits=0x26, legal: 30", TableKind::kFreemap, Freemap(0, 30), keybits(38)},
      {"keybits=0x1e, legal: 38", TableKind::kFreemap, Freemap(0, 38), keybits(30)},
      {"keybits=0x40, legal: 38", TableKind::kFreemap, Freemap(0, 38), keybits(64)},
      {"keybits=0x46, legal: 38", TableKind::kFreemap, Freemap(0, 38), keybits(70)},
      // key
      {"key=0x10001, legal: a multiple", TableKind::kFile, Data(0), key(0x10001)},
      {"key=0x400000, legal: a multiple", TableKind::kFile, Indirect(0, 23), key(0x400000)},
      {"key=0x1, legal: 0", TableKind::kSuperRootSet, Inode(0), key(1)},
      {"key=0x400, legal: bit 63", TableKind::kSuperRoot, Inode(kVisible), key(0x400)},
      {"key=0x400, legal: bit 63", TableKind::kDirectory, Inode(kVisible), key(0x400)},
      {"key=0x400, legal: bit 63", TableKind::kPfsRoot, Dirent(kVisible, 5), key(0x400)},
      // radix
      {"radix=0xb, legal: 10", TableKind::kPfsRoot, Inode(0x400), off(0x1480000b)},
      {"radix=0x0, legal: 10", TableKind::kPfsRoot, Inode(0x400), off(0)},
      {"radix=0x0, legal: 10..16", TableKind::kFile, Data(0), off(0)},
      {"radix=0x0, legal: 10..16", TableKind::kFile, Data(0), off(0x15000000)},
      {"radix=0x9, legal: 10..16", TableKind::kFile, Data(0), off(0x15000009)},
      {"radix=0x11, legal: 10..16", TableKind::kFile, Data(0), off(0x15000011)},
      {"radix=0x9, legal: 10..16", TableKind::kFile, Indirect(0, 23), off(0x15000009)},
      {"radix=0xe, legal: 15", TableKind::kFreemap, Freemap(0, 30), off(0x1000e)},
      {"radix=0x0, legal: 10 for", TableKind::kDirectory, Dirent(kVisible, 65), off(0)},
      {"data_off=0x1500000a, legal: 0 for", TableKind::kDirectory, Dirent(kVisible, 64),
       off(0x1500000a)},
      {"data_off=0x40, legal: 0 for", TableKind::kDirectory, Dirent(kVisible, 5), off(0x40)},
      // dirent head
      {"namlen=0x0, legal: 1..255", TableKind::kDirectory, Dirent(kVisible, 0), off(0)},
      {"namlen=0x100, legal: 1..255", TableKind::kDirectory, Dirent(kVisible, 256),
       off(0x1500000a)},
      {"inum=0x8000000000000000, legal: bit 63", TableKind::kDirectory, Dirent(kVisible, 5),
       [](Blockref& b) { b.set_dirent(Inum(kVisible), 5, 2); }},
      {"dirent type=0xb, legal: 0..10", TableKind::kDirectory, Dirent(kVisible, 5),
       [](Blockref& b) { b.set_dirent(Inum(0x400), 5, 11); }},
      // compression
      {"comp=0x1, legal: 0 none, 2 lz4, 3 zlib", TableKind::kFile, Data(0),
       [](Blockref& b) { b.methods = 0x31; }},
      {"comp=0xf, legal: 0 none", TableKind::kFile, Data(0), [](Blockref& b) { b.methods = 0x3f; }},
      // placement
      {"legal: block ends by", TableKind::kFile, Data(0), off(kTotal | 16)},
      {"legal: outside the first 4 MiB", TableKind::kFile, Data(0), off(kGiB | 16)},
      {"legal: outside the first 4 MiB", TableKind::kFile, Data(0), off(16)},
      {"legal: within one 64 KiB", TableKind::kFile, Data(0), off(0x15014000 | 16)},
      // freemap
      {"check method=0x3, legal: 5", TableKind::kFreemap, Freemap(0, 30),
       [](Blockref& b) { b.methods = 0x30; }},
      {"data_off=0x2000f, legal: one of the 8", TableKind::kFreemap, Freemap(0, 30), off(0x2000f)},
      {"data_off=0xf, legal: one of the 8", TableKind::kFreemap, Freemap(0, 30), off(0xf)},
      {"legal: block ends by", TableKind::kFreemap, Freemap(8 * kGiB, 30), [](Blockref&) {}},
  };
  for (const Case& c : cases) {
    Blockref bref = c.base;
    c.damage(bref);
    const absl::Status status = CheckBlockref(bref, c.kind, Key(0), 64, kTotal);
    EXPECT_TRUE(absl::IsDataLoss(status)) << c.message << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.message));
    EXPECT_THAT(std::string(status.message()), HasSubstr(Describe(bref)));
  }
}

TEST(CheckBlockref, RangeMustLieInTheTable) {
  struct Case {
    uint64_t key;
    unsigned keybits;
    bool legal;
    const char* why;
  };
  const Key table(0x1000000);
  for (const Case& c :
       {Case{0x1000000, 23, true, "first half"}, Case{0x1800000, 23, true, "second half"},
        Case{0x1000000, 24, true, "all of it"}, Case{0x2000000, 23, false, "above"},
        Case{0x0800000, 23, false, "below"}, Case{0x0000000, 25, false, "wider than the table"}}) {
    const absl::Status status =
        CheckBlockref(Indirect(c.key, c.keybits), TableKind::kFile, table, 24, kTotal);
    EXPECT_EQ(status.ok(), c.legal) << c.why << ": " << status;
  }
  EXPECT_EQ(CheckBlockref(Data(0x1ff0000), TableKind::kFile, table, 24, kTotal), absl::OkStatus());
  EXPECT_FALSE(CheckBlockref(Data(0x2000000), TableKind::kFile, table, 24, kTotal).ok());
}

TEST(CheckBlockref, MessageNamesPlaceFieldFoundAndLegal) {
  Blockref bref = Data(0x20000);
  bref.keybits = 12;
  EXPECT_EQ(CheckBlockref(bref, TableKind::kFile, Key(0), 23, kTotal).message(),
            "corrupt blockref type=data key=0x0000000000020000 keybits=12 data_off=0x15010010 in "
            "the file table 0x0/23: keybits=0xc, legal: 16");
}

TEST(DecodeTable, CompactsAndKeepsOrder) {
  const Blockref a = Data(0), b = Indirect(0x800000, 23), c = Data(0x1000000);
  const auto table =
      DecodeTable(Raw({{}, a, {}, {}, b, c, {}, {}}), TableKind::kFile, Key(0), 64, kTotal);
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(*table, (std::vector<Blockref>{a, b, c}));
}

TEST(DecodeTable, MixedShapes) {
  EXPECT_TRUE(DecodeTable(Raw({Inode(0x400), Indirect(0x800, 7), Inode(kVisible | 1),
                               Dirent(kVisible | 2, 70), Indirect(kVisible | 0x1000, 12)}),
                          TableKind::kPfsRoot, Key(0), 64, kTotal)
                  .ok());
  EXPECT_TRUE(DecodeTable(Raw({Freemap(0, 46), Freemap(uint64_t{1} << 46, 30)}),
                          TableKind::kFreemap, Key(0), 64, uint64_t{1} << 50)
                  .ok());
  const auto empty = DecodeTable(Raw({{}, {}, {}, {}}), TableKind::kOther, Key(0), 64, kTotal);
  ASSERT_TRUE(empty.ok());
  EXPECT_TRUE(empty->empty());
}

TEST(DecodeTable, RejectsDisorderAndOverlap) {
  struct Case {
    const char* what;
    std::vector<Blockref> entries;
  };
  for (const Case& c : {
           Case{"descending", {Data(0x10000), Data(0)}},
           Case{"descending over a hole", {Data(0x10000), {}, {}, Data(0)}},
           Case{"equal keys", {Data(0x10000), Data(0x10000)}},
           Case{"inside an indirect block", {Indirect(0, 23), Data(0x7f0000)}},
           Case{"indirect block over data", {Data(0), Indirect(0, 23)}},
           Case{"nested indirect blocks", {Indirect(0, 30), Indirect(0x800000, 23)}},
           Case{"anything after the end of the key space", {Indirect(kVisible, 63), Data(0)}},
       }) {
    const auto table = DecodeTable(Raw(c.entries), TableKind::kFile, Key(0), 64, kTotal);
    EXPECT_TRUE(absl::IsDataLoss(table.status())) << c.what;
    EXPECT_THAT(std::string(table.status().message()), HasSubstr("the end of the entry before"));
  }
  EXPECT_TRUE(
      DecodeTable(Raw({Indirect(0, 23), Data(0x800000)}), TableKind::kFile, Key(0), 64, kTotal)
          .ok())
      << "ranges may touch";
}

TEST(DecodeTable, NamesTheSlot) {
  Blockref bad = Data(0x10000);
  bad.keybits = 1;
  const auto table = DecodeTable(Raw({Data(0), {}, bad}), TableKind::kFile, Key(0), 64, kTotal);
  EXPECT_THAT(std::string(table.status().message()), testing::StartsWith("slot 2: corrupt"));
}

TEST(DecodeTable, SuperRootMustBeThere) {
  const auto table =
      DecodeTable(Raw({{}, {}, {}, {}}), TableKind::kSuperRootSet, Key(0), 64, kTotal);
  EXPECT_EQ(table.status().message(),
            "corrupt sroot_blockset: entries=0x0, legal: 1, the super-root");
}

}  // namespace
}  // namespace h2bd
