// Stored blocks of arbitrary bytes decode or are refused; logical blocks come back as they were.
#include <algorithm>
#include <vector>

#include "core/media/codec.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/guarded_buffer.h"

namespace h2bd {
namespace {

constexpr unsigned kRadixes = kRadixMax - kRadixMin + 1;

void CheckRoundTrip(ConstByteSpan logical, CompMethod method, int level) {
  const StoredBlock stored = EncodeBlock(logical, method, level);
  H2_ASSERT(stored.comp == CompMethod::kNone || stored.comp == method);
  H2_ASSERT(stored.bytes.size() == uint64_t{1} << stored.radix);
  H2_ASSERT(stored.bytes.size() <= logical.size());
  std::vector<std::byte> back(kLogicalBytes);
  H2_ASSERT(DecodeBlock(stored.comp, stored.bytes.span(), back).ok());
  H2_ASSERT(std::equal(logical.begin(), logical.end(), back.begin()));
  H2_ASSERT(IsAllZero(ConstByteSpan(back).subspan(logical.size())));
}

void Run(const CodecHead& head, ConstByteSpan body) {
  static const GuardedBuffer kInput(kAllocMax), kOutput(kLogicalBytes);
  const ByteSpan block = kInput.Last(size_t{1} << (kRadixMin + head.radix % kRadixes));
  std::fill(block.begin(), block.end(), std::byte{0});
  std::copy_n(body.begin(), std::min(body.size(), block.size()), block.begin());
  const auto comp = static_cast<CompMethod>(head.comp & 0x0f);
  if (head.encode % 2 == 1) return CheckRoundTrip(block, comp, head.level % 16);

  const ByteSpan logical = kOutput.Last(kLogicalBytes);
  const absl::Status status = DecodeBlock(comp, block, logical);
  if (!status.ok()) {
    H2_ASSERT(absl::IsDataLoss(status) && comp != CompMethod::kNone);
    return;
  }
  H2_ASSERT(comp == CompMethod::kNone || comp == CompMethod::kLz4 || comp == CompMethod::kZlib);
  CheckRoundTrip(logical, comp, head.level % 16);
}

}  // namespace
}  // namespace h2bd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto input = h2bd::SplitInput<h2bd::CodecHead>(data, size);
  if (input.has_value()) h2bd::Run(input->first, input->second);
  return 0;
}
