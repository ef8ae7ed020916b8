// The work on one block: check codes and the codec, over blocks that do not fit the processor's
// caches.
#include <benchmark/benchmark.h>

#include "core/base/status.h"
#include "core/media/blockref.h"
#include "core/media/check_code.h"
#include "core/media/codec.h"
#include "tests/bench/payload.h"

namespace h2bd::bench {
namespace {

constexpr size_t kBlockBytes = 64 * kKiB;

void BM_CheckCode(benchmark::State& state, CheckMethod method) {
  PayloadSource source(Content::kRandom, 1);
  Blockref bref{};
  bref.set_methods(method, CompMethod::kNone);
  bref.data_off = DataOff::Make(ByteOff(kMiB), 16);
  for (auto _ : state) {
    SetCheck(bref, source.Next(kBlockBytes));
    benchmark::DoNotOptimize(bref);
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kBlockBytes));
}
BENCHMARK_CAPTURE(BM_CheckCode, xxhash64, CheckMethod::kXxhash64);
BENCHMARK_CAPTURE(BM_CheckCode, iscsi32, CheckMethod::kIscsi32);
BENCHMARK_CAPTURE(BM_CheckCode, sha192, CheckMethod::kSha192);

void BM_Encode(benchmark::State& state, Content content, CompMethod method) {
  PayloadSource source(content, 1);
  uint64_t stored = 0;
  for (auto _ : state) {
    const StoredBlock block = EncodeBlock(source.Next(kBlockBytes), method, 0);
    stored += block.bytes.size();
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kBlockBytes));
  state.counters["stored_ratio"] =
      static_cast<double>(stored) / static_cast<double>(state.iterations() * kBlockBytes);
}
BENCHMARK_CAPTURE(BM_Encode, lz4_random, Content::kRandom, CompMethod::kLz4);
BENCHMARK_CAPTURE(BM_Encode, lz4_text, Content::kText, CompMethod::kLz4);
BENCHMARK_CAPTURE(BM_Encode, zlib_text, Content::kText, CompMethod::kZlib);

void BM_Decode(benchmark::State& state, CompMethod method) {
  PayloadSource source(Content::kText, 1);
  const StoredBlock block = EncodeBlock(source.Next(kBlockBytes), method, 0);
  AlignedBuffer out(kBlockBytes);
  for (auto _ : state) {
    const absl::Status status = DecodeBlock(block.comp, block.bytes.span(), out.span());
    H2_ASSERT(status.ok());
    benchmark::DoNotOptimize(out.data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kBlockBytes));
}
BENCHMARK_CAPTURE(BM_Decode, lz4_text, CompMethod::kLz4);
BENCHMARK_CAPTURE(BM_Decode, zlib_text, CompMethod::kZlib);

}  // namespace
}  // namespace h2bd::bench
