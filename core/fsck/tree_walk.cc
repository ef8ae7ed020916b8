#include "core/fsck/tree_walk.h"

#include "absl/strings/str_format.h"

namespace h2bd {
namespace {

// Key ranges of at most 2^64 halve at least once per level on any sane volume (spec 01
// section 4.10).
constexpr int kDepthMax = 64;

class Walker {
 public:
  Walker(MediaSource& source, uint64_t total_size, Key first, Key last, EntryVisitor visitor)
      : source_(source), total_size_(total_size), first_(first), last_(last), visitor_(visitor) {}

  absl::StatusOr<bool> Walk(const TableView& table, int depth) {
    if (depth > kDepthMax) {
      return absl::DataLossError(
          absl::StrFormat("table 0x%x/%d lies deeper than %d indirect blocks", table.key.v,
                          table.keybits, kDepthMax));
    }
    H2_ASSIGN_OR_RETURN(const std::vector<Blockref> entries,
                        DecodeTable(table.raw, table.kind, table.key, table.keybits, total_size_));
    for (const Blockref& entry : entries) {
      if (entry.last_key() < first_) continue;
      if (entry.key > last_) break;
      H2_ASSIGN_OR_RETURN(const bool go_on, Enter(entry, table.kind, depth));
      if (!go_on) return false;
    }
    return true;
  }

 private:
  absl::StatusOr<bool> Enter(const Blockref& entry, TableKind kind, int depth) {
    if (entry.type != BrefType::kIndirect) return visitor_(entry);
    H2_ASSIGN_OR_RETURN(const MediaBlock block, source_.ReadBlock(entry));
    return Walk({block.bytes, kind, entry.key, entry.keybits}, depth + 1);
  }

  MediaSource& source_;
  const uint64_t total_size_;
  const Key first_, last_;
  EntryVisitor visitor_;
};

}  // namespace

absl::StatusOr<bool> WalkEntries(MediaSource& source, uint64_t total_size, const TableView& table,
                                 Key first, Key last, EntryVisitor visitor) {
  return Walker(source, total_size, first, last, visitor).Walk(table, 0);
}

TableView TableOf(const InodeData& inode) {
  H2_ASSERT(!inode.meta.directdata());
  return {ConstByteSpan(inode.u), TableKindOf(inode), Key(0), 64};
}

absl::StatusOr<std::string> DirentName(MediaSource& source, const Blockref& dirent) {
  if (dirent.dirent_namlen() <= kDirentInlineNameMax) return InlineDirentName(dirent);
  H2_ASSIGN_OR_RETURN(const MediaBlock block, source.ReadBlock(dirent));
  return std::string(AsText(block.bytes.first(dirent.dirent_namlen())));
}

}  // namespace h2bd
