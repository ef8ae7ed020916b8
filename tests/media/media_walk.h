// Walks what a volume header reaches, straight over an image: the decoders of core/media and
// nothing else.
#pragma once

#include <memory>

#include "absl/functional/function_ref.h"
#include "core/media/decode.h"
#include "tests/support/memory_device.h"

namespace h2bd {

// A blockref, the table that it stands in, and its block: verified, not decoded, empty without a
// block.
struct MediaBlock {
  Blockref bref;
  TableKind kind;
  Key table_key;
  unsigned table_keybits;
  ConstByteSpan bytes;
};

// The header in `slot` of the first volume, as it lies there.
std::unique_ptr<VolumeData> ReadHeader(const SparseImage& image, int slot);

// Visits each entry of the topology and of the freemap, parents first. Stops at the first error:
// the visitor's, a wrong check code, or what a decoder of tables or inodes refuses.
absl::Status WalkMedia(const SparseImage& image, const VolumeData& header,
                       absl::FunctionRef<absl::Status(const MediaBlock&)> visit);

// Whether an inode found in a table of `kind` is one of the index, whose key is its number.
bool IsIndexed(const Blockref& bref, TableKind kind);

}  // namespace h2bd
