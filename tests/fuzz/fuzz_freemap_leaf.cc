// A freemap leaf with arbitrary segments: refused, or an allocator can use every field as it
// stands.
#include <algorithm>
#include <memory>

#include "core/media/decode.h"
#include "tests/fuzz/fuzz_input.h"

namespace h2bd {
namespace {

void CheckSegment(const BmapData& segment) {
  H2_ASSERT(segment.linear >= 0 && segment.linear <= kLinearOff);
  H2_ASSERT(segment.avail <= kSegBytes && segment.avail % kChunkBytes == 0);
  int free = 0;
  for (int c = 0; c < kChunksPerSegment; ++c) {
    H2_ASSERT(segment.chunk(c) != ChunkState::kReserved);
    free += segment.chunk(c) == ChunkState::kFree;
  }
  H2_ASSERT(free == segment.CountFree());
}

void Run(const LeafHead& head, ConstByteSpan body) {
  auto leaf = std::make_unique<FreemapLeafData>();
  leaf->fill(BmapData::Free());
  const auto into = std::as_writable_bytes(std::span(*leaf).subspan(head.first_segment));
  std::copy_n(body.begin(), std::min(body.size(), into.size()), into.begin());

  const auto decoded = DecodeFreemapLeaf(std::as_bytes(std::span(*leaf)));
  if (!decoded.ok()) {
    H2_ASSERT(absl::IsDataLoss(decoded.status()));
    return;
  }
  H2_ASSERT(**decoded == *leaf);
  for (const BmapData& segment : **decoded) {
    if (segment != BmapData::Free()) CheckSegment(segment);
  }
}

}  // namespace
}  // namespace h2bd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto input = h2bd::SplitInput<h2bd::LeafHead>(data, size);
  if (input.has_value()) h2bd::Run(input->first, input->second);
  return 0;
}
