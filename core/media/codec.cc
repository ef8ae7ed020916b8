#include "core/media/codec.h"

#include <lz4.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <bit>
#include <optional>

#include "absl/strings/str_cat.h"

namespace h2bd {
namespace {

constexpr size_t kLz4PrefixBytes = 4;
constexpr int kZlibLevelMin = 6;
constexpr int kZlibLevelMax = 9;

// Holds the output of a compressor; it never gets to use more than half of a logical block.
using Scratch = std::array<std::byte, kLogicalBytes / 2>;

Bytef* ZlibBytes(std::byte* bytes) { return reinterpret_cast<Bytef*>(bytes); }
// zlib declares its input non-const and only reads it.
Bytef* ZlibBytes(ConstByteSpan bytes) { return ZlibBytes(const_cast<std::byte*>(bytes.data())); }

// Bytes used in `out`, prefix included; nullopt when the reference would store verbatim.
std::optional<size_t> CompressLz4(ConstByteSpan logical, Scratch& out) {
  const int limit = static_cast<int>(logical.size() / 2 - 8);
  const int bytes = LZ4_compress_default(reinterpret_cast<const char*>(logical.data()),
                                         reinterpret_cast<char*>(out.data()) + kLz4PrefixBytes,
                                         static_cast<int>(logical.size()), limit);
  if (bytes <= 0) return std::nullopt;
  StoreAs(ByteSpan(out), static_cast<uint32_t>(bytes));
  return kLz4PrefixBytes + static_cast<size_t>(bytes);
}

std::optional<size_t> CompressZlib(ConstByteSpan logical, int level, Scratch& out) {
  z_stream stream{};
  const int made = deflateInit(&stream, std::clamp(level, kZlibLevelMin, kZlibLevelMax));
  H2_ASSERT(made == Z_OK);  // only memory or a wrong library can fail here
  stream.next_in = ZlibBytes(logical);
  stream.avail_in = static_cast<uInt>(logical.size());
  stream.next_out = ZlibBytes(out.data());
  stream.avail_out = static_cast<uInt>(logical.size() / 2);
  const int result = deflate(&stream, Z_FINISH);
  const size_t bytes = stream.total_out;
  deflateEnd(&stream);
  if (result != Z_STREAM_END) return std::nullopt;
  return bytes;
}

StoredBlock Pad(CompMethod comp, ConstByteSpan content) {
  const unsigned radix = RadixFor(content.size());
  StoredBlock stored{comp, radix, AlignedBuffer(size_t{1} << radix)};
  const ByteSpan bytes = stored.bytes.span();
  std::copy(content.begin(), content.end(), bytes.begin());
  std::fill(bytes.begin() + static_cast<ptrdiff_t>(content.size()), bytes.end(), std::byte{0});
  return stored;
}

// The decoders return how many bytes of `into` they filled.
absl::StatusOr<size_t> DecompressLz4(ConstByteSpan stored, ByteSpan into) {
  const auto length = LoadAs<uint32_t>(stored);
  const size_t most = stored.size() - kLz4PrefixBytes;
  if (length == 0 || length > most) {
    return absl::DataLossError(
        absl::StrCat("corrupt lz4 block: length=", length, ", legal: 1..", most));
  }
  const int bytes =
      LZ4_decompress_safe(reinterpret_cast<const char*>(stored.data()) + kLz4PrefixBytes,
                          reinterpret_cast<char*>(into.data()), static_cast<int>(length),
                          static_cast<int>(into.size()));
  if (bytes < 0) {
    return absl::DataLossError(absl::StrCat("corrupt lz4 block: ", length,
                                            " bytes do not decode, legal: one whole LZ4 block of "
                                            "at most ",
                                            into.size(), " bytes"));
  }
  return static_cast<size_t>(bytes);
}

absl::StatusOr<size_t> DecompressZlib(ConstByteSpan stored, ByteSpan into) {
  z_stream stream{};
  const int made = inflateInit(&stream);
  H2_ASSERT(made == Z_OK);  // only memory or a wrong library can fail here
  stream.next_in = ZlibBytes(stored);
  stream.avail_in = static_cast<uInt>(stored.size());
  stream.next_out = ZlibBytes(into.data());
  stream.avail_out = static_cast<uInt>(into.size());
  const int result = inflate(&stream, Z_FINISH);
  const size_t bytes = stream.total_out;
  const std::string why = stream.msg == nullptr ? "" : absl::StrCat(" (", stream.msg, ")");
  inflateEnd(&stream);
  if (result != Z_STREAM_END) {
    return absl::DataLossError(absl::StrCat("corrupt zlib block: result=", result, why, " after ",
                                            bytes, " bytes, legal: one whole stream of at most ",
                                            into.size(), " bytes"));
  }
  return bytes;
}

absl::StatusOr<size_t> Decompress(CompMethod comp, ConstByteSpan stored, ByteSpan into) {
  switch (comp) {
    case CompMethod::kNone:
      std::copy(stored.begin(), stored.end(), into.begin());
      return stored.size();
    case CompMethod::kLz4:
      return DecompressLz4(stored, into);
    case CompMethod::kZlib:
      return DecompressZlib(stored, into);
    case CompMethod::kAutozero:
      break;  // a write policy, never the property of a stored block
  }
  return absl::DataLossError(absl::StrCat("corrupt data block: comp=", static_cast<unsigned>(comp),
                                          ", legal: 0 none, 2 lz4, 3 zlib"));
}

}  // namespace

uint64_t PblkSize(uint64_t file_size, uint64_t block_start) {
  H2_ASSERT(block_start < file_size);
  const uint64_t left = file_size - block_start;
  if (left >= kLogicalBytes) return kLogicalBytes;
  return uint64_t{1} << RadixFor(left);
}

std::optional<StoredBlock> CompressBlock(ConstByteSpan logical, CompMethod method, int level) {
  H2_ASSERT(std::has_single_bit(logical.size()));
  H2_ASSERT(logical.size() >= kAllocMin && logical.size() <= kLogicalBytes);
  // The smallest block cannot shrink. From 2 KiB on the limits of the compressors make sure that
  // a compressed block has at most half the size.
  if (logical.size() > kAllocMin) {
    Scratch out;
    std::optional<size_t> bytes;
    if (method == CompMethod::kLz4) bytes = CompressLz4(logical, out);
    if (method == CompMethod::kZlib) bytes = CompressZlib(logical, level, out);
    if (bytes.has_value()) return Pad(method, ConstByteSpan(out).first(*bytes));
  }
  return std::nullopt;
}

StoredBlock EncodeBlock(ConstByteSpan logical, CompMethod method, int level) {
  std::optional<StoredBlock> compressed = CompressBlock(logical, method, level);
  return compressed.has_value() ? *std::move(compressed) : Pad(CompMethod::kNone, logical);
}

absl::Status DecodeBlock(CompMethod comp, ConstByteSpan stored, ByteSpan into) {
  H2_ASSERT(std::has_single_bit(stored.size()));
  H2_ASSERT(stored.size() >= kAllocMin && stored.size() <= kAllocMax);
  H2_ASSERT(into.size() == kLogicalBytes);
  H2_ASSIGN_OR_RETURN(const size_t bytes, Decompress(comp, stored, into));
  std::fill(into.begin() + static_cast<ptrdiff_t>(bytes), into.end(), std::byte{0});
  return absl::OkStatus();
}

}  // namespace h2bd
