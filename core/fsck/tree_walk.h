// Walking from a table to the entries below its indirect blocks, in key order. Everything read is
// verified and decoded by core/media; the first thing that is wrong ends the walk.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "core/fsck/media_source.h"
#include "core/media/decode.h"

namespace h2bd {

// A table and the key range that it covers.
struct TableView {
  ConstByteSpan raw;
  TableKind kind;
  Key key;
  unsigned keybits = 64;  // 64: the whole key space
};

// Gets each entry that is not INDIRECT. Returns whether the walk goes on.
using EntryVisitor = absl::FunctionRef<absl::StatusOr<bool>(const Blockref&)>;

// Visits the entries whose range meets [first, last], ascending. The memory held is one table per
// level, of at most 64 levels. Returns false when the visitor ended the walk. Errors: the
// visitor's, or kDataLoss and kUnavailable with the place.
absl::StatusOr<bool> WalkEntries(MediaSource& source, uint64_t total_size, const TableView& table,
                                 Key first, Key last, EntryVisitor visitor);

// The table of an inode that is not DIRECTDATA. `inode` outlives the view.
TableView TableOf(const InodeData& inode);

// The name of a DIRENT, from the blockref or from its block.
absl::StatusOr<std::string> DirentName(MediaSource& source, const Blockref& dirent);

}  // namespace h2bd
