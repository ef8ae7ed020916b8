#include "core/volume/recovery.h"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/media/decode.h"

namespace h2bd {
namespace {

// A table that is still to be looked at, with what its entries are checked against.
struct Visit {
  Blockref bref;
  TableKind kind;
};

struct Table {
  std::vector<Blockref> entries;
  TableKind kind;
};

absl::StatusOr<Table> ReadTable(const Visit& visit, BlockStore& store) {
  H2_ASSIGN_OR_RETURN(const AlignedBuffer block, store.Load(visit.bref));
  ConstByteSpan raw = block.span();
  TableKind kind = visit.kind;
  Key key = visit.bref.key;
  unsigned keybits = visit.bref.keybits;
  if (visit.bref.type == BrefType::kInode) {
    const bool indexed = visit.kind == TableKind::kPfsRoot || visit.kind == TableKind::kDirectory;
    H2_ASSIGN_OR_RETURN(const InodeData inode, DecodeInode(raw, visit.bref, indexed));
    if (inode.meta.directdata()) return Table{{}, kind};
    kind = TableKindOf(inode);
    raw = raw.subspan(offsetof(InodeData, u));
    key = Key(0);
    keybits = 64;
  }
  H2_ASSIGN_OR_RETURN(std::vector<Blockref> entries,
                      DecodeTable(raw, kind, key, keybits, store.total_size()));
  return Table{std::move(entries), kind};
}

struct Visitor {
  std::function<absl::Status(const Blockref&)> block;
  // A table that cannot be read; an error ends the walk.
  std::function<absl::Status(const absl::Status&)> unreadable;
};

// Visits the blockrefs of the topology that are newer than `since`. Flush carries the newest
// mirror_tid to every ancestor, so what is not newer hides nothing that is.
absl::Status VisitNewer(const VolumeData& header, Tid since, BlockStore& store,
                        const Visitor& visitor) {
  std::vector<Visit> pending;
  const auto take = [&](const Table& table) -> absl::Status {
    for (const Blockref& bref : table.entries) {
      if (bref.mirror_tid <= since) continue;
      H2_RETURN_IF_ERROR(visitor.block(bref));
      if (bref.type == BrefType::kInode || bref.type == BrefType::kIndirect) {
        pending.push_back({bref, table.kind});
      }
    }
    return absl::OkStatus();
  };
  Table roots{{}, TableKind::kSuperRootSet};
  for (const Blockref& bref : header.sroot_blockset) {
    if (!bref.empty()) roots.entries.push_back(bref);
  }
  H2_RETURN_IF_ERROR(take(roots));
  while (!pending.empty()) {
    const Visit visit = pending.back();
    pending.pop_back();
    const absl::StatusOr<Table> table = ReadTable(visit, store);
    H2_RETURN_IF_ERROR(table.ok() ? take(*table) : visitor.unreadable(table.status()));
  }
  return absl::OkStatus();
}

void HoldNewer(const VolumeData& older, Tid since, BlockStore& store, Freemap& freemap,
               Logger& logger) {
  uint64_t unreadable = 0;
  absl::Status first;
  Visitor visitor;
  visitor.block = [&](const Blockref& bref) {
    freemap.HoldFor(older.mirror_tid, bref);
    return absl::OkStatus();
  };
  visitor.unreadable = [&](const absl::Status& why) {
    ++unreadable;
    first.Update(why);
    return absl::OkStatus();
  };
  VisitNewer(older, since, store, visitor).IgnoreError();  // neither function fails
  if (unreadable == 0) return;
  logger.Warning(
      "tables of an older header cannot be read: until that header has been overwritten, blocks "
      "below them that its freemap does not know may be written over",
      {{"mirror_tid", absl::StrCat(older.mirror_tid.v)},
       {"tables", absl::StrCat(unreadable)},
       {"first_error", std::string(first.message())}});
}

}  // namespace

absl::StatusOr<uint64_t> RecoverFreemap(const VolumeData& header, BlockStore& store,
                                        Freemap& freemap) {
  uint64_t fixed = 0;
  Visitor visitor;
  visitor.block = [&](const Blockref& bref) -> absl::Status {
    H2_ASSIGN_OR_RETURN(const bool was_free, freemap.MarkAllocated(bref));
    fixed += was_free;
    return absl::OkStatus();
  };
  visitor.unreadable = [](const absl::Status& why) { return why; };
  H2_RETURN_IF_ERROR(VisitNewer(header, header.freemap_tid, store, visitor));
  return fixed;
}

void HoldWhatOlderFreemapsMiss(const VolumeSet& set, BlockStore& store, Freemap& freemap,
                               Logger& logger) {
  const std::vector<Tid>& in_part = freemap.headers_in_part();
  for (const HeaderProbe& probe : set.root_probes) {
    if (!probe.status.ok() || probe.slot == set.slot) continue;
    const VolumeData& older = *probe.header;
    const bool unknown =
        std::find(in_part.begin(), in_part.end(), older.mirror_tid) != in_part.end();
    const Tid known = unknown ? Tid(0) : older.freemap_tid;
    if (known < older.mirror_tid) HoldNewer(older, known, store, freemap, logger);
  }
}

}  // namespace h2bd
