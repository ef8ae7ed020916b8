#include "core/digest/checksum.h"

#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "core/digest/sha256.h"

namespace h2bd {
namespace {

std::string Hex(ConstByteSpan bytes) { return absl::BytesToHexString(AsText(bytes)); }

TEST(Checksum, HasThePublishedValues) {
  EXPECT_EQ(Crc32c(AsBytes("123456789")), 0xe3069283u);
  EXPECT_EQ(Crc32c({}), 0u);
  EXPECT_EQ(Xxh64({}), 0xef46db3751d8e999u);
  EXPECT_EQ(Xxh64(AsBytes("abc")), 0x44bc2cf5ad770999u);
}

TEST(Checksum, Crc32cGoesOnWhereItStopped) {
  const absl::string_view text = "123456789";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    EXPECT_EQ(Crc32c(AsBytes(text.substr(cut)), Crc32c(AsBytes(text.substr(0, cut)))), 0xe3069283u);
  }
}

// FIPS 180-4.
TEST(Sha256, HasThePublishedValuesAndBeginsAnewAfterFinish) {
  EXPECT_EQ(Hex(Sha256::Of({})),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  Sha256 hash;
  for (int round = 0; round < 2; ++round) {
    hash.Add(AsBytes("a"));
    hash.Add(AsBytes("bc"));
    EXPECT_EQ(Hex(hash.Finish()),
              "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  }
}

}  // namespace
}  // namespace h2bd
