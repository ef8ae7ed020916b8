#include "core/digest/attest_hash.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "absl/strings/escaping.h"
#include "core/base/random.h"
#include "core/base/types.h"
#include "tests/support/fixtures.h"

namespace h2bd {
namespace {

constexpr uint64_t kBlock = kAttestBlockBytes;

std::string Hex(ConstByteSpan bytes) { return absl::BytesToHexString(AsText(bytes)); }

std::string Pattern(unsigned seed) {
  std::string bytes(kBlock, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7 + seed);
  return bytes;
}

using Blocks = std::map<uint64_t, std::string>;  // number -> bytes

Sha256Digest Attest(uint64_t size, const Blocks& blocks) {
  AttestDisk disk(size);
  for (const auto& [number, bytes] : blocks) disk.Block(number * kBlock, AsBytes(bytes));
  return disk.Finish();
}

// Computed by an independent program from the table in core/digest/README.md.
TEST(AttestDisk, HasTheValuesOfTheVectors) {
  const std::string two_blocks_end("\x05", 1), node_end("\x09", 1);
  const struct {
    uint64_t size;
    Blocks blocks;
    const char* value;
  } cases[] = {
      {0, {}, "574f5182958ef276849c2fb1f5ecc5358868d83967a903c428c7574407d038fe"},
      {1, {}, "191d671a64f00916a282c6b3b81258ac5dfdf9cc740ad984f69fb41b55eec092"},
      {1, {{0, "x"}}, "9fd29083c7a181f3acee2c174a0ea3ac13a2e1b4fc38a873730f830099afeffd"},
      {kBlock,
       {{0, Pattern(1)}},
       "0df77b89c966afefb745b023b78dcbf125c2d2ce477d66c2011d155f69e26ccb"},
      {kBlock + 1, {}, "232ac02e4907985bffa52ac133bb108abda30912e79db7b738167253c0a9948d"},
      {kBlock + 1,
       {{0, Pattern(1)}, {1, two_blocks_end}},
       "19fe323429e16460c35bc9adffb9d0021baeb1c664c4aa9d2a420ce744683d33"},
      {128 * kBlock,
       {{127, Pattern(3)}},
       "b69e3fa719f74355c55940fe474efac78444b2826c111782343e829562d2a5f2"},
      {128 * kBlock + 1,
       {{128, node_end}},
       "33baa2d4b7b4b37fd12eb12a0d3c127d933cc49691bd70035595077dcf3ce281"},
      {kTiB,
       {{0, Pattern(1)}, {1, Pattern(2)}, {130, Pattern(3)}, {(1 << 24) - 1, Pattern(4)}},
       "373826debfe77f16764d9eab4d631a5d507e0a666b26f1db97cb585ece6490a3"},
      {uint64_t{1} << 63,
       {{uint64_t{1} << 46, Pattern(5)}},
       "bca1989be30b4b5f5142af5bb26e6aff31fa49f45bf065610e8aeffe14c20b20"},
  };
  for (const auto& c : cases) EXPECT_EQ(Hex(Attest(c.size, c.blocks)), c.value) << c.size;
  EXPECT_EQ(Hex(AttestBlock({})),
            "3266304f31be278d06c3bd3eb9aa3e00c59bedec0a890de466568b0b90b0e01f");
}

TEST(AttestDisk, AHoleIsAsGoodAsZerosThatAreThere) {
  const uint64_t blocks = 3 * 128 + 5;
  Blocks zeros;
  for (uint64_t i = 0; i < blocks; ++i) zeros[i] = std::string(kBlock, '\0');
  zeros[200] = Pattern(9);
  EXPECT_EQ(Attest(blocks * kBlock, zeros), Attest(blocks * kBlock, {{200, Pattern(9)}}));
}

TEST(AttestDisk, ValuesOfBlocksMayBeComputedElsewhere) {
  AttestDisk disk(2 * kBlock);
  disk.Block(0, AttestBlock(AsBytes(Pattern(1))));
  disk.Block(kBlock, AttestBlock(AsBytes(Pattern(2))));
  EXPECT_EQ(disk.Finish(), Attest(2 * kBlock, {{0, Pattern(1)}, {1, Pattern(2)}}));
}

// Design §6.4: differs after any flipped byte; and after any other change that a reader sees.
TEST(AttestDisk, ChangesWithEveryByteThePlaceAndTheSize) {
  SeededRandom random(TestSeed());
  const uint64_t size = 200 * kBlock;
  const Blocks blocks{{0, Pattern(1)}, {127, Pattern(2)}, {128, Pattern(3)}, {199, Pattern(4)}};
  const Sha256Digest value = Attest(size, blocks);
  for (int round = 0; round < 50; ++round) {
    Blocks flipped = blocks;
    auto at = flipped.begin();
    std::advance(at, random.Next64() % flipped.size());
    at->second[random.Next64() % kBlock] ^= static_cast<char>(1 << (random.Next64() % 8));
    EXPECT_NE(Attest(size, flipped), value);
  }
  Blocks moved = blocks;
  moved[126] = moved[127];
  moved.erase(127);
  EXPECT_NE(Attest(size, moved), value);
  EXPECT_NE(Attest(size + 1, blocks), value);
}

TEST(AttestPfs, HasTheValuesOfTheVectors) {
  EXPECT_EQ(Hex(AttestPfs().Finish()),
            "084fed08b978af4d7d196a7446a86b58009e636b611db16211b65a9aadff29c5");
  AttestPfs pfs;
  pfs.Add("a", 1, {});
  pfs.Add("a.b", 7, AsBytes("../t"));
  pfs.Add("a/x", 2, Attest(1, {{0, "x"}}));
  EXPECT_EQ(Hex(pfs.Finish()), "74059bae3611bc8c176ae0ca06b45b2515855eabedbe1e7c14b0d76b251dc8cb");
}

TEST(AttestPfs, KeepsItsFieldsApart) {
  const auto one = [](absl::string_view path, uint8_t type, absl::string_view content) {
    AttestPfs pfs;
    pfs.Add(path, type, AsBytes(content));
    return pfs.Finish();
  };
  const Sha256Digest value = one("ab", 7, "c");
  EXPECT_NE(one("a", 7, "bc"), value);
  EXPECT_NE(one("abc", 7, ""), value);
  EXPECT_NE(one("ab", 2, "c"), value);
}

using AttestDeathTest = testing::Test;

TEST(AttestDeathTest, BlocksAndPathsAscend) {
  AttestDisk disk(4 * kBlock);
  disk.Block(kBlock, AsBytes("x"));
  EXPECT_DEATH(disk.Block(kBlock, AsBytes("x")), "next_ <= block");
  EXPECT_DEATH(disk.Block(4 * kBlock, AsBytes("x")), "offset < size_bytes_");
  AttestPfs pfs;
  pfs.Add("b", 1, {});
  EXPECT_DEATH(pfs.Add("b", 1, {}), "last_path_ < path");
}

}  // namespace
}  // namespace h2bd
