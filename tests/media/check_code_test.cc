#include "core/media/check_code.h"

#include <gtest/gtest.h>

#include <vector>

#include "absl/strings/escaping.h"

namespace h2bd {
namespace {

std::vector<std::byte> Repeat(size_t count, uint8_t value) {
  return std::vector<std::byte>(count, std::byte{value});
}
std::vector<std::byte> Ramp(size_t count, unsigned step) {
  std::vector<std::byte> bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(i * step);
  return bytes;
}
std::vector<std::byte> Text(absl::string_view text) {
  const ConstByteSpan bytes = AsBytes(text);
  return {bytes.begin(), bytes.end()};
}

TEST(CheckCode, GoldenVectors) {  // spec 01 section 13.1
  struct Case {
    const char* what;
    std::vector<std::byte> input;
    uint32_t crc;
    uint64_t xxh;
    const char* sha;
  };
  const std::vector<Case> cases = {
      {"empty",
       {},
       0x00000000,
       0x84566ac0f5a0cb84,
       "e3b0c44298fc1c149afbf4c8996fb924833bd8ff1cc92b19"},
      {"a", Text("a"), 0xc1d04330, 0xd2a6081c8157197e,
       "ca978112ca1bbdcafac231b39a23dc4d1e06987dbb9206c9"},
      {"123456789", Text("123456789"), 0xe3069283, 0x3b4eb9ba9b947403,
       "15e2b0d3c33891ebb0f1ef609ec41942b0acd0328a1a747a"},
      {"hammer2", Text("hammer2"), 0x9f2f13b5, 0xa041be268b5674e5,
       "8a6606c9532c846c617512bce93e4c546a14f36bad175dc1"},
      {"32 x 00", Repeat(32, 0), 0x8a9136aa, 0x51ba1990e3bb8953,
       "66687aadf862bd776c8fc18b8e9f8e2098bd4d9863bd1a96"},
      {"32 x ff", Repeat(32, 0xff), 0x62a8ab43, 0xc98586906729ab2a,
       "af9613760f72635fbdb44a5a0a63c39f85b4d171b83aae0d"},
      {"00..ff", Ramp(256, 1), 0x9c44184b, 0x4e35af67b80329a5,
       "40aff2e9d2d8922e47afd4648e69674996497a390289e0f0"},
      {"512 x 00", Repeat(512, 0), 0x30fcedc0, 0xd46cfdc3a3a9750e,
       "076a27c79e5ace2a3d47f9dd2e83e4ff023a3fb069d17d96"},
      {"1024 x 00", Repeat(1024, 0), 0xeeaede7c, 0xa85f7f8931b8cf1e,
       "5f70bf18a086007016e948b04aed3b82dde599ae08f49359"},
      {"65536 x 00", Repeat(65536, 0), 0x72c0c4a4, 0x7d8cdd3d4cc973a6,
       "de2f256064a0af797747c2b97505dc0bec21d370d3e1529d"},
      {"7i mod 256", Ramp(1024, 7), 0x7e5a7a0b, 0x526ba0b56183ef73,
       "41a8df8d7a09deeda1ce604e394aca7ebf72fcbbf4a5534c"},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(Icrc32(c.input), c.crc) << c.what;
    EXPECT_EQ(Xxhash64(c.input), c.xxh) << c.what;
    EXPECT_EQ(absl::BytesToHexString(AsText(Sha192(c.input))), c.sha) << c.what;
  }
}

TEST(CheckCode, ValueLiesLittleEndianAndOnlyItsBytesChange) {
  const std::vector<std::byte> block = Ramp(1024, 7);
  struct Case {
    CheckMethod method;
    const char* stored;
  };
  for (const Case& c :
       {Case{CheckMethod::kNone, ""}, Case{CheckMethod::kDisabled, ""},
        Case{CheckMethod::kIscsi32, "0b7a5a7e"}, Case{CheckMethod::kXxhash64, "73ef8361b5a06b52"},
        Case{CheckMethod::kSha192, "41a8df8d7a09deeda1ce604e394aca7ebf72fcbbf4a5534c"},
        Case{CheckMethod::kFreemap, "0b7a5a7e"}}) {
    Blockref bref;
    bref.data_off = DataOff::Make(ByteOff(0x800000), 10);
    bref.set_methods(c.method, CompMethod::kLz4);
    bref.check.fill(std::byte{0xee});
    SetCheck(bref, block);
    const std::string value = absl::HexStringToBytes(c.stored);
    EXPECT_EQ(AsText(ConstByteSpan(bref.check).first(value.size())), value) << Name(c.method);
    for (size_t i = value.size(); i < bref.check.size(); ++i) {
      EXPECT_EQ(bref.check[i], std::byte{0xee}) << Name(c.method) << " byte " << i;
    }
    EXPECT_EQ(VerifyCheck(bref, block), absl::OkStatus()) << Name(c.method);
  }
}

TEST(CheckCode, FreemapHintsSurviveAndAreNotVerified) {
  const std::vector<std::byte> block = Repeat(32768, 0x5a);
  Blockref bref;
  bref.data_off = DataOff::Make(ByteOff(0x10000), 15);
  bref.set_methods(CheckMethod::kFreemap, CompMethod::kNone);
  bref.set_freemap_hints(0xffffffff, 0x2b800000);
  SetCheck(bref, block);
  EXPECT_EQ(bref.freemap_bigmask(), 0xffffffff);
  EXPECT_EQ(bref.freemap_avail(), 0x2b800000u);
  bref.set_freemap_hints(1, 2);
  EXPECT_EQ(VerifyCheck(bref, block), absl::OkStatus());
}

TEST(CheckCode, EveryFlippedBitIsFoundUnlessNothingIsVerified) {
  std::vector<std::byte> block = Ramp(1024, 7);
  for (const CheckMethod method :
       {CheckMethod::kNone, CheckMethod::kDisabled, CheckMethod::kIscsi32, CheckMethod::kXxhash64,
        CheckMethod::kSha192, CheckMethod::kFreemap}) {
    Blockref bref;
    bref.data_off = DataOff::Make(ByteOff(0x800000), 10);
    bref.set_methods(method, CompMethod::kNone);
    SetCheck(bref, block);
    const bool verified = method >= CheckMethod::kIscsi32;
    for (size_t bit = 0; bit < block.size() * 8; bit += 61) {
      block[bit / 8] ^= std::byte{1} << (bit % 8);
      const absl::Status status = VerifyCheck(bref, block);
      block[bit / 8] ^= std::byte{1} << (bit % 8);
      EXPECT_EQ(absl::IsDataLoss(status), verified) << Name(method) << " bit " << bit;
    }
  }
}

TEST(CheckCode, MismatchNamesBlockFoundAndExpected) {
  Blockref bref;
  bref.type = BrefType::kData;
  bref.key = Key(0x20000);
  bref.data_off = DataOff::Make(ByteOff(0x800000), 10);
  bref.set_methods(CheckMethod::kXxhash64, CompMethod::kNone);
  const absl::Status status = VerifyCheck(bref, Repeat(1024, 0));
  EXPECT_EQ(status.message(),
            "wrong xxhash64 check code of type=data key=0x0000000000020000 keybits=0 "
            "data_off=0x80000a: block has 1ecfb831897f5fa8, blockref says 0000000000000000");
}

TEST(CheckCode, UnknownMethodIsDataLoss) {
  for (unsigned method = 6; method < 16; ++method) {
    Blockref bref;
    bref.data_off = DataOff::Make(ByteOff(0x800000), 10);
    bref.methods = static_cast<uint8_t>(method << 4);
    EXPECT_TRUE(absl::IsDataLoss(VerifyCheck(bref, Repeat(1024, 0)))) << method;
  }
}

}  // namespace
}  // namespace h2bd
