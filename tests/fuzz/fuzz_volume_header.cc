// A volume header of arbitrary bytes: refused or sound, and its two blocksets decode or are
// refused.
#include <algorithm>
#include <memory>

#include "core/media/decode.h"
#include "core/media/placement.h"
#include "tests/fuzz/fuzz_input.h"

namespace h2bd {
namespace {

void Run(const HeaderHead& head, ConstByteSpan body) {
  auto header = std::make_unique<VolumeData>();
  const auto bytes = std::as_writable_bytes(std::span(header.get(), 1));
  std::fill(bytes.begin(), bytes.end(), std::byte{0});
  std::copy_n(body.begin(), std::min(body.size(), bytes.size()), bytes.begin());
  if (head.seal % 2 == 1) SealVolumeData(*header);
  if (!CheckVolumeHeader(*header).ok()) return;

  // What others rely on once the check has passed.
  const uint64_t space = header->address_space();
  H2_ASSERT(space >= kVolumeAlign && space <= kMaxVolumeBytes && space % kVolumeAlign == 0);
  H2_ASSERT(header->volu_size <= space && header->volu_id < kMaxVolumes);
  H2_ASSERT(header->allocator_beg <= space);
  const int slots = HeaderSlotCount(header->volu_size);
  H2_ASSERT(slots >= 1 && slots <= kVolumeHeaderSlots);
  const NewLeaf leaf =
      InitialLeaf(RoundDown(space - 1, kFreemapLeafSpan), header->allocator_beg, space);
  H2_ASSERT(leaf.usable_segments < kFreemapEntries);

  (void)DecodeTable(std::as_bytes(std::span(header->sroot_blockset)), TableKind::kSuperRootSet,
                    Key(0), 64, space);
  (void)DecodeTable(std::as_bytes(std::span(header->freemap_blockset)), TableKind::kFreemap, Key(0),
                    64, space);
}

}  // namespace
}  // namespace h2bd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto input = h2bd::SplitInput<h2bd::HeaderHead>(data, size);
  if (input.has_value()) h2bd::Run(input->first, input->second);
  return 0;
}
