#include "core/media/codec.h"

#include <gtest/gtest.h>
#include <lz4.h>
#include <lz4hc.h>
#include <zlib.h>

#include <algorithm>
#include <bit>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/media/sample_volume.h"
#include "tests/support/fixtures.h"

namespace h2bd {
namespace {

using Bytes = std::vector<std::byte>;
using Rng = std::mt19937_64;

Bytes RandomBytes(Rng& rng, size_t size) {
  Bytes bytes(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(rng());
  return bytes;
}

// Runs and noise in a drawn mixture, so that some blocks compress well, some badly, some not.
Bytes MixedBytes(Rng& rng, size_t size) {
  Bytes bytes(size);
  const uint64_t noise_percent = rng() % 101;
  for (size_t at = 0; at < size;) {
    const size_t run = std::min<size_t>(size - at, 1 + rng() % 200);
    const bool noise = rng() % 100 < noise_percent;
    const auto same = static_cast<std::byte>(rng());
    for (size_t i = 0; i < run; ++i) bytes[at + i] = noise ? static_cast<std::byte>(rng()) : same;
    at += run;
  }
  return bytes;
}

Bytes Text(size_t size) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::byte>("HAMMER2 keeps its promises. "[i % 28] ^ (i / 4096 % 8));
  }
  return bytes;
}

absl::StatusOr<Bytes> Decode(CompMethod comp, ConstByteSpan stored) {
  Bytes logical(kLogicalBytes, std::byte{0xcc});
  const absl::Status status = DecodeBlock(comp, stored, logical);
  if (!status.ok()) return status;
  return logical;
}

// A stored block: `content`, then zeros up to the next power of two.
Bytes Stored(ConstByteSpan content) {
  Bytes stored(size_t{1} << RadixFor(content.size()));
  std::copy(content.begin(), content.end(), stored.begin());
  return stored;
}

Bytes Lz4Framed(ConstByteSpan compressed) {
  Bytes framed(4);
  StoreAs(ByteSpan(framed), static_cast<uint32_t>(compressed.size()));
  framed.insert(framed.end(), compressed.begin(), compressed.end());
  return Stored(framed);
}

Bytes ZlibStream(ConstByteSpan logical, int level) {
  Bytes out(compressBound(logical.size()));
  uLongf bytes = out.size();
  EXPECT_EQ(compress2(reinterpret_cast<Bytef*>(out.data()), &bytes,
                      reinterpret_cast<const Bytef*>(logical.data()), logical.size(), level),
            Z_OK);
  out.resize(bytes);
  return out;
}

void ExpectRoundTrip(ConstByteSpan logical, CompMethod method, int level) {
  const StoredBlock stored = EncodeBlock(logical, method, level);
  ASSERT_TRUE(stored.comp == CompMethod::kNone || stored.comp == method);
  ASSERT_EQ(stored.bytes.size(), size_t{1} << stored.radix);
  if (stored.comp == CompMethod::kNone) {
    ASSERT_EQ(stored.bytes.size(), logical.size());
  } else {
    ASSERT_LE(stored.bytes.size(), logical.size() / 2);
  }
  const absl::StatusOr<Bytes> back = Decode(stored.comp, stored.bytes.span());
  ASSERT_TRUE(back.ok()) << back.status();
  ASSERT_TRUE(std::equal(logical.begin(), logical.end(), back->begin()));
  ASSERT_TRUE(IsAllZero(ConstByteSpan(*back).subspan(logical.size())));
}

TEST(PblkSize, GoldenVectors) {  // spec 01 section 13.3, spec 03 section 8.3
  struct Case {
    uint64_t size, start, pblksize;
  };
  for (const Case& c :
       {Case{1, 0, 1024}, Case{513, 0, 1024}, Case{1024, 0, 1024}, Case{1025, 0, 2048},
        Case{5000, 0, 8192}, Case{65535, 0, 65536}, Case{65536, 0, 65536}, Case{65537, 0, 65536},
        Case{65537, 65536, 1024}, Case{200000, 0, 65536}, Case{200000, 131072, 65536},
        Case{200000, 196608, 4096}, Case{UINT64_MAX, UINT64_MAX - 65535, 65536}}) {
    EXPECT_EQ(PblkSize(c.size, c.start), c.pblksize) << c.size << " at " << c.start;
  }
}

TEST(Codec, RoundTripOfEverySizeAndMethod) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(absl::StrCat("H2BD_SEED=", seed));
  Rng rng(seed);
  for (size_t size = kAllocMin; size <= kLogicalBytes; size *= 2) {
    for (const CompMethod method :
         {CompMethod::kNone, CompMethod::kAutozero, CompMethod::kLz4, CompMethod::kZlib}) {
      SCOPED_TRACE(absl::StrCat(size, " bytes, ", Name(method)));
      ExpectRoundTrip(Bytes(size), method == CompMethod::kAutozero ? CompMethod::kNone : method, 0);
      ExpectRoundTrip(Text(size), method == CompMethod::kAutozero ? CompMethod::kNone : method, 9);
      for (int i = 0; i < 20; ++i) {
        ExpectRoundTrip(MixedBytes(rng, size), method, static_cast<int>(rng() % 17));
      }
    }
  }
}

TEST(Codec, IncompressibleIsStoredVerbatim) {
  Rng rng(1);
  for (size_t size = kAllocMin; size <= kLogicalBytes; size *= 2) {
    const Bytes noise = RandomBytes(rng, size);
    for (const CompMethod method : {CompMethod::kLz4, CompMethod::kZlib}) {
      const StoredBlock stored = EncodeBlock(noise, method, 0);
      EXPECT_EQ(stored.comp, CompMethod::kNone);
      EXPECT_TRUE(std::equal(noise.begin(), noise.end(), stored.bytes.data()));
    }
  }
}

TEST(Codec, ZerosOf64KiBTakeOneKiB) {
  for (const CompMethod method : {CompMethod::kLz4, CompMethod::kZlib}) {
    const StoredBlock stored = EncodeBlock(Bytes(kLogicalBytes), method, 0);
    EXPECT_EQ(stored.comp, method);
    EXPECT_EQ(stored.radix, 10u);
  }
}

TEST(Codec, TheSmallestBlockIsNeverCompressed) {
  for (const CompMethod method : {CompMethod::kLz4, CompMethod::kZlib}) {
    EXPECT_EQ(EncodeBlock(Bytes(kAllocMin), method, 0).comp, CompMethod::kNone);
  }
}

TEST(Codec, Lz4FrameIsLengthBlockAndZeros) {
  const StoredBlock stored = EncodeBlock(SampleData1Text(), CompMethod::kLz4, 0);
  ASSERT_EQ(stored.comp, CompMethod::kLz4);
  const auto length = LoadAs<uint32_t>(stored.bytes.span());
  EXPECT_LE(length + 4, 4096u / 2 - 4) << "the limit of the reference";
  EXPECT_TRUE(IsAllZero(stored.bytes.span().subspan(4 + length)));
}

// The reference's limits: pblksize / 2 - 8 bytes of LZ4, pblksize / 2 bytes of zlib.
TEST(Codec, AcceptanceLimits) {
  Rng rng(7);
  const size_t size = 4096;
  int compressed[2] = {0, 0};
  // Growing noise walks the compressed size over the limit a few bytes at a time.
  for (size_t noise = 1900; noise < 2100; ++noise) {
    Bytes logical = RandomBytes(rng, noise);
    logical.resize(size);
    Bytes lz4(LZ4_COMPRESSBOUND(4096));
    const int lz4_bytes = LZ4_compress_default(
        reinterpret_cast<const char*>(logical.data()), reinterpret_cast<char*>(lz4.data()),
        static_cast<int>(size), static_cast<int>(lz4.size()));
    const bool fits_lz4 = lz4_bytes <= static_cast<int>(size / 2 - 8);
    EXPECT_EQ(EncodeBlock(logical, CompMethod::kLz4, 0).comp,
              fits_lz4 ? CompMethod::kLz4 : CompMethod::kNone);
    const bool fits_zlib = ZlibStream(logical, 6).size() <= size / 2;
    EXPECT_EQ(EncodeBlock(logical, CompMethod::kZlib, 0).comp,
              fits_zlib ? CompMethod::kZlib : CompMethod::kNone);
    compressed[0] += fits_lz4;
    compressed[1] += fits_zlib;
  }
  for (const int count : compressed) {
    EXPECT_GT(count, 0);
    EXPECT_LT(count, 200);
  }
}

TEST(Codec, ZlibLevels) {  // spec 01 section 6.1
  struct Case {
    int asked, used;
  };
  const Bytes text = Text(kLogicalBytes);
  for (const Case& c : {Case{0, 6}, Case{1, 6}, Case{5, 6}, Case{6, 6}, Case{7, 7}, Case{8, 8},
                        Case{9, 9}, Case{10, 9}, Case{15, 9}}) {
    const StoredBlock stored = EncodeBlock(text, CompMethod::kZlib, c.asked);
    const Bytes stream = ZlibStream(text, c.used);
    EXPECT_TRUE(std::equal(stream.begin(), stream.end(), stored.bytes.data())) << c.asked;
    // The two top bits of FLG tell the level class: 2 default (6), 3 best (7..9).
    EXPECT_EQ(std::to_integer<int>(stored.bytes.data()[1]) >> 6, c.used == 6 ? 2 : 3) << c.asked;
  }
}

TEST(Codec, ReadsWhatOtherWritersMayStore) {
  const Bytes text = Text(kLogicalBytes);
  // High-compression LZ4.
  Bytes hc(LZ4_COMPRESSBOUND(65536));
  hc.resize(static_cast<size_t>(LZ4_compress_HC(reinterpret_cast<const char*>(text.data()),
                                                reinterpret_cast<char*>(hc.data()), 65536,
                                                static_cast<int>(hc.size()), LZ4HC_CLEVEL_MAX)));
  EXPECT_EQ(*Decode(CompMethod::kLz4, Lz4Framed(hc)), text);
  // A compressed block that gained nothing, in the smallest and in the largest block.
  Rng rng(3);
  for (const size_t size : {size_t{1024}, size_t{65000}}) {
    const Bytes noise = RandomBytes(rng, size);
    const Bytes stream = ZlibStream(ConstByteSpan(noise).first(size - 100), 1);
    ASSERT_EQ(RadixFor(stream.size()), RadixFor(size));
    const absl::StatusOr<Bytes> back = Decode(CompMethod::kZlib, Stored(stream));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_TRUE(std::equal(noise.begin(), noise.end() - 100, back->begin()));
  }
  // A short block in the middle of a file: the tail reads as zeros.
  const absl::StatusOr<Bytes> shorter = Decode(CompMethod::kNone, ConstByteSpan(text).first(2048));
  ASSERT_TRUE(shorter.ok());
  EXPECT_TRUE(std::equal(text.begin(), text.begin() + 2048, shorter->begin()));
  EXPECT_TRUE(IsAllZero(ConstByteSpan(*shorter).subspan(2048)));
}

TEST(Codec, DamageIsDataLossNeverZeros) {
  const Bytes text = Text(kLogicalBytes);
  const Bytes zlib = ZlibStream(text, 6);
  Bytes too_long(70000, std::byte{'x'});

  Bytes cut = Stored(zlib);
  std::fill(cut.begin() + static_cast<ptrdiff_t>(zlib.size()) - 5, cut.end(), std::byte{0});
  Bytes bad_adler = Stored(zlib);
  bad_adler[zlib.size() - 1] ^= std::byte{1};
  Bytes preset_dictionary = Stored(zlib);
  preset_dictionary[0] = std::byte{0x78};
  preset_dictionary[1] = std::byte{0xbb};  // FDICT set, header check valid

  Bytes lz4_too_long(LZ4_COMPRESSBOUND(70000));
  lz4_too_long.resize(static_cast<size_t>(LZ4_compress_default(
      reinterpret_cast<const char*>(too_long.data()), reinterpret_cast<char*>(lz4_too_long.data()),
      70000, static_cast<int>(lz4_too_long.size()))));
  Bytes lz4_length = SampleData1Block();
  const auto with_length = [&](uint32_t n) {
    StoreAs(ByteSpan(lz4_length), n);
    return lz4_length;
  };

  struct Case {
    const char* what;
    CompMethod comp;
    Bytes stored;
  };
  for (const Case& c : {
           Case{"autozero is no storage", CompMethod::kAutozero, Bytes(1024)},
           Case{"unknown method", static_cast<CompMethod>(4), Bytes(1024)},
           Case{"unknown method", static_cast<CompMethod>(15), Bytes(1024)},
           Case{"lz4 length 0", CompMethod::kLz4, Bytes(1024)},
           Case{"lz4 length past the block", CompMethod::kLz4, with_length(1021)},
           Case{"lz4 length negative", CompMethod::kLz4, with_length(0x80000000)},
           Case{"lz4 length huge", CompMethod::kLz4, with_length(UINT32_MAX)},
           Case{"lz4 block cut", CompMethod::kLz4, with_length(75)},
           Case{"lz4 block with tail", CompMethod::kLz4, with_length(77)},
           Case{"lz4 over 64 KiB", CompMethod::kLz4, Lz4Framed(lz4_too_long)},
           Case{"zlib all zero", CompMethod::kZlib, Bytes(1024)},
           Case{"zlib cut", CompMethod::kZlib, cut},
           Case{"zlib wrong Adler-32", CompMethod::kZlib, bad_adler},
           Case{"zlib preset dictionary", CompMethod::kZlib, preset_dictionary},
           Case{"zlib over 64 KiB", CompMethod::kZlib, Stored(ZlibStream(too_long, 6))},
       }) {
    const absl::StatusOr<Bytes> back = Decode(c.comp, c.stored);
    EXPECT_TRUE(absl::IsDataLoss(back.status())) << c.what << ": " << back.status();
  }
  EXPECT_TRUE(Decode(CompMethod::kLz4, with_length(76)).ok()) << "the case table has a sound base";
  EXPECT_EQ(Decode(CompMethod::kLz4, with_length(1021)).status().message(),
            "corrupt lz4 block: length=1021, legal: 1..1020");
}

// Random damage is either found or gives bytes; it never leaves the buffers (run with ASan).
TEST(Codec, RandomDamageIsHarmless) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(absl::StrCat("H2BD_SEED=", seed));
  Rng rng(seed);
  int found = 0;
  for (int i = 0; i < 2000; ++i) {
    const CompMethod method = i % 2 == 0 ? CompMethod::kLz4 : CompMethod::kZlib;
    const StoredBlock stored = EncodeBlock(Text(size_t{1024} << (1 + rng() % 6)), method, 0);
    Bytes damaged(stored.bytes.data(), stored.bytes.data() + stored.bytes.size());
    for (uint64_t flips = 1 + rng() % 8; flips > 0; --flips) {
      damaged[rng() % damaged.size()] ^= std::byte{1} << (rng() % 8);
    }
    const absl::StatusOr<Bytes> back = Decode(method, damaged);
    if (back.ok()) continue;
    ++found;
    EXPECT_TRUE(absl::IsDataLoss(back.status()));
  }
  EXPECT_GT(found, 0);
}

}  // namespace
}  // namespace h2bd
