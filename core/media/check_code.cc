#include "core/media/check_code.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/digest/checksum.h"
#include "core/digest/sha256.h"
#include "core/media/decode.h"

namespace h2bd {
namespace {

// Bytes of Blockref::check that hold the value of `method`; 0 where nothing is verified.
size_t CheckBytes(CheckMethod method) {
  switch (method) {
    case CheckMethod::kNone:
    case CheckMethod::kDisabled:
      return 0;
    case CheckMethod::kIscsi32:
    case CheckMethod::kFreemap:
      return 4;
    case CheckMethod::kXxhash64:
      return 8;
    case CheckMethod::kSha192:
      return 24;
  }
  H2_ASSERT(!"unknown check method");
  return 0;
}

// The value as it lies on the media, CheckBytes(method) bytes of the result.
std::array<std::byte, 24> ComputeCheck(CheckMethod method, ConstByteSpan block) {
  std::array<std::byte, 24> value{};
  switch (method) {
    case CheckMethod::kIscsi32:
    case CheckMethod::kFreemap:
      StoreAs(ByteSpan(value), Icrc32(block));
      break;
    case CheckMethod::kXxhash64:
      StoreAs(ByteSpan(value), Xxhash64(block));
      break;
    case CheckMethod::kSha192:
      value = Sha192(block);
      break;
    case CheckMethod::kNone:
    case CheckMethod::kDisabled:
      break;
  }
  return value;
}

std::string Hex(ConstByteSpan bytes) { return absl::BytesToHexString(AsText(bytes)); }

}  // namespace

uint32_t Icrc32(ConstByteSpan bytes) { return Crc32c(bytes); }

uint64_t Xxhash64(ConstByteSpan bytes) { return Xxh64(bytes, kXxhashSeed); }

std::array<std::byte, 24> Sha192(ConstByteSpan bytes) {
  const Sha256Digest digest = Sha256::Of(bytes);
  std::array<std::byte, 24> value;
  std::copy_n(digest.begin(), value.size(), value.begin());
  for (size_t i = 0; i < 8; ++i) value[16 + i] ^= digest[24 + i];
  return value;
}

void SetCheck(Blockref& bref, ConstByteSpan block) {
  H2_ASSERT(bref.data_off.radix() != 0 && block.size() == bref.data_off.bytes());
  const CheckMethod method = bref.check_method();
  const std::array<std::byte, 24> value = ComputeCheck(method, block);
  std::copy_n(value.begin(), CheckBytes(method), bref.check.begin());
}

absl::Status VerifyCheck(const Blockref& bref, ConstByteSpan block) {
  H2_ASSERT(bref.data_off.radix() != 0 && block.size() == bref.data_off.bytes());
  const CheckMethod method = bref.check_method();
  if (method > CheckMethod::kFreemap) {
    return absl::DataLossError(absl::StrCat("unknown check method ", static_cast<unsigned>(method),
                                            " of ", Describe(bref), ", legal: 0..5"));
  }
  const size_t bytes = CheckBytes(method);
  const std::array<std::byte, 24> value = ComputeCheck(method, block);
  if (std::equal(value.begin(), value.begin() + bytes, bref.check.begin())) {
    return absl::OkStatus();
  }
  return absl::DataLossError(absl::StrCat("wrong ", Name(method), " check code of ", Describe(bref),
                                          ": block has ", Hex(ConstByteSpan(value).first(bytes)),
                                          ", blockref says ",
                                          Hex(ConstByteSpan(bref.check).first(bytes))));
}

}  // namespace h2bd
