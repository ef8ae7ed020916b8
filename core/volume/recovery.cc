#include "core/volume/recovery.h"

#include <vector>

#include "core/media/decode.h"

namespace h2bd {
namespace {

// A table that is still to be looked at, with what its entries are checked against.
struct Visit {
  Blockref bref;
  TableKind kind;
};

}  // namespace

absl::StatusOr<uint64_t> RecoverFreemap(const VolumeData& header, BlockStore& store,
                                        Freemap& freemap) {
  uint64_t fixed = 0;
  std::vector<Visit> pending;
  // Flush carries the newest mirror_tid to every ancestor, so what is not newer hides nothing that
  // is.
  const auto take = [&](const std::vector<Blockref>& entries, TableKind kind) -> absl::Status {
    for (const Blockref& bref : entries) {
      if (bref.mirror_tid <= header.freemap_tid) continue;
      H2_ASSIGN_OR_RETURN(const bool was_free, freemap.MarkAllocated(bref));
      fixed += was_free;
      if (bref.type == BrefType::kInode || bref.type == BrefType::kIndirect) {
        pending.push_back({bref, kind});
      }
    }
    return absl::OkStatus();
  };
  std::vector<Blockref> roots;
  for (const Blockref& bref : header.sroot_blockset) {
    if (!bref.empty()) roots.push_back(bref);
  }
  H2_RETURN_IF_ERROR(take(roots, TableKind::kSuperRootSet));
  while (!pending.empty()) {
    const Visit visit = pending.back();
    pending.pop_back();
    H2_ASSIGN_OR_RETURN(const AlignedBuffer block, store.Load(visit.bref));
    ConstByteSpan raw = block.span();
    TableKind kind = visit.kind;
    Key key = visit.bref.key;
    unsigned keybits = visit.bref.keybits;
    if (visit.bref.type == BrefType::kInode) {
      const bool indexed = visit.kind == TableKind::kPfsRoot || visit.kind == TableKind::kDirectory;
      H2_ASSIGN_OR_RETURN(const InodeData inode, DecodeInode(raw, visit.bref, indexed));
      if (inode.meta.directdata()) continue;
      kind = TableKindOf(inode);
      raw = raw.subspan(offsetof(InodeData, u));
      key = Key(0);
      keybits = 64;
    }
    H2_ASSIGN_OR_RETURN(const std::vector<Blockref> entries,
                        DecodeTable(raw, kind, key, keybits, store.total_size()));
    H2_RETURN_IF_ERROR(take(entries, kind));
  }
  return fixed;
}

}  // namespace h2bd
