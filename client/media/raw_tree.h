// Walking trees that may be broken: whatever can be read is visited, good or not.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "core/fsck/media_source.h"
#include "core/media/inode_data.h"
#include "core/media/volume_data.h"

namespace h2bd {

// One blockref and what is behind it.
struct RawEntry {
  int depth = 0;  // tables above, 0: in the header
  Blockref bref;
  absl::Status block;  // OK: read and verified, or there is none
  bool shown = false;  // its block was visited before, what is below is not visited again
  std::optional<InodeData> inode;  // of an INODE whose block could be read
  ConstByteSpan raw;  // the block where it could be read, during the visit; for a DATA blockref it
                      // is not read
};

// Visits, top down, everything below the blockrefs of a header. Each block is entered once, so that
// no damage can make the walk endless. Data blocks are not read.
void WalkRawTree(MediaSource& source, const std::array<Blockref, 4>& blockset,
                 absl::FunctionRef<void(const RawEntry&)> visit);

// The devices as one address space, as far as their headers tell: by volume id and offset where
// every device has a readable header, one after the other in the given order where not.
MediaSource RawSource(const std::vector<BlockDevice*>& devices);

}  // namespace h2bd
