// What differs between two trees, found by comparing their tables from the top: whatever both name
// by the same blockref is the same and is not read.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/functional/function_ref.h"
#include "core/chain/chain_tree.h"

namespace h2bd {

// A range of keys in which the trees differ. It ends where a leaf of either does.
struct TreeChange {
  Key first, last;                 // inclusive
  const Blockref* from = nullptr;  // the leaf over it in the old tree; null: none, or `to` is newer
  const Blockref* to = nullptr;    // ... in the new tree; null: none any more
};

// Both may be trees in use; then the answer is exact but for what is changed meanwhile.
struct TreeDiffOptions {
  Key first{0}, last{UINT64_MAX};  // inclusive
  // Set when the new tree comes from the old one by changes that h2bd has made, all of them with
  // modify_tids above this one, and nothing in the old tree has a higher one (spec 03 R9, R12: the
  // pfs_lsnap_tid of the snapshot). Then what an entry of the new tree with a lower modify_tid
  // stands for is unchanged, and tables of the old one are read only where its statistics do not
  // exclude that something was removed.
  std::optional<Tid> since;
  // Statistics of tables with mirror_tids up to this one may be wrong: others have written them.
  Tid trusted_since;
};

struct TreeDiffStats {
  uint64_t tables_read_from = 0, tables_read_to = 0;  // INDIRECT tables that were opened
  uint64_t tables_read() const { return tables_read_from + tables_read_to; }
  uint64_t bytes_read = 0;  // of these
};

// Calls `visit` for the changes in ascending order until it returns false; no lock is held during
// the call. kDataLoss and kUnavailable for tables that cannot be read; kAborted when a table of a
// tree in use was replaced while it was compared: then ask again.
absl::Status DiffTrees(ChainTree& from, ChainTree& to, const TreeDiffOptions& options,
                       TreeDiffStats& stats, absl::FunctionRef<bool(const TreeChange&)> visit);

}  // namespace h2bd
