#include "core/fsck/table_repair.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/fsck/bref_rules.h"
#include "core/media/check_code.h"

namespace h2bd {
namespace {

constexpr uint64_t kUnit = 4096;  // what no two headers' blocks share (spec 04 F-229)
constexpr uint8_t kKnownFlags = kBrefFlagPfsroot | kBrefFlagEmergMip;

bool HasTable(BrefType type) { return type == BrefType::kInode || type == BrefType::kIndirect; }

}  // namespace

TableRepair::TableRepair(DeviceSet& devices, const VolumeData& header, Tids tids, Allocate allocate,
                         const std::map<Key, NameRepairs>& names)
    : devices_(devices),
      header_(header),
      tids_(tids),
      allocate_(std::move(allocate)),
      names_(names) {}

void TableRepair::Sums::Add(const Blockref& bref) {
  const bool counted_below = HasTable(bref.type);
  data_count += bref.data_off.bytes() + (counted_below ? bref.data_count() : 0);
  inode_count += (bref.type == BrefType::kInode) + (counted_below ? bref.inode_count() : 0);
  leaf_count += bref.type == BrefType::kIndirect ? bref.leaf_count : 1;
  mirror_max = std::max(mirror_max, bref.mirror_tid);
  modify_max = std::max(modify_max, bref.modify_tid);
}

// --- blocks
// ------------------------------------------------------------------------------------------

absl::StatusOr<AlignedBuffer> TableRepair::ReadBlock(const Blockref& bref) {
  const uint64_t begin = RoundDown(bref.data_off.offset().v, kUnit);
  AlignedBuffer units(RoundUp(bref.data_off.end().v, kUnit) - begin);
  H2_RETURN_IF_ERROR(devices_.Read(ByteOff(begin), units.span()));
  AlignedBuffer block = AlignedBuffer::CopyOf(
      units.span().subspan(bref.data_off.offset().v - begin, bref.data_off.bytes()));
  H2_RETURN_IF_ERROR(VerifyCheck(bref, block.span()));
  return block;
}

absl::Status TableRepair::Store(Blockref& bref, ConstByteSpan contents) {
  const std::optional<DataOff> place = allocate_(bref.type, RadixFor(contents.size()), bref.key);
  if (!place.has_value()) {
    return absl::ResourceExhaustedError(
        "the volume has no room for the tables that must be written anew");
  }
  bref.data_off = *place;
  bref.mirror_tid = tids_.mirror;
  SetCheck(bref, contents);
  // Its units hold nothing but blocks of this repair.
  const uint64_t begin = RoundDown(place->offset().v, kUnit);
  AlignedBuffer units(RoundUp(place->end().v, kUnit) - begin);
  H2_RETURN_IF_ERROR(devices_.Read(ByteOff(begin), units.span()));
  std::copy(contents.begin(), contents.end(),
            units.span().begin() + static_cast<std::ptrdiff_t>(place->offset().v - begin));
  return devices_.Write(ByteOff(begin), units.span());
}

TableRepair::Table TableRepair::Decode(ConstByteSpan raw, TableKind kind, Key key,
                                       unsigned keybits) {
  Table table{{}, raw.size() / kBlockrefBytes, kind, key, keybits};
  for (size_t at = 0; at < raw.size(); at += kBlockrefBytes) {
    const auto bref = LoadAs<Blockref>(raw, at);
    if (!bref.empty()) {
      table.entries.push_back(bref);
    } else {
      table.rubbish |= bref != Blockref{};
    }
  }
  return table;
}

void TableRepair::Encode(const Table& table, ByteSpan raw) {
  H2_ASSERT(table.entries.size() <= table.slots);
  std::fill(raw.begin(), raw.end(), std::byte{0});
  for (size_t i = 0; i < table.entries.size(); ++i) {
    StoreAs(raw, table.entries[i], i * kBlockrefBytes);
  }
}

// --- the walk
// ----------------------------------------------------------------------------------------

absl::StatusOr<std::optional<std::array<Blockref, 4>>> TableRepair::Run(
    std::vector<RepairAction>& actions) {
  Table roots = Decode(std::as_bytes(std::span(header_.sroot_blockset)), TableKind::kSuperRootSet,
                       Key(0), 64);
  Sums sums;
  H2_ASSIGN_OR_RETURN(const bool changed, FixTable(roots, At{}, sums));
  if (!changed) return std::nullopt;
  const auto add = [&](uint64_t count, absl::string_view what) {
    if (count != 0) {
      actions.push_back(
          {RepairKind::kTables, "", absl::StrFormat("%d blockrefs: %s", count, what)});
    }
  };
  add(statistics_, "statistics are counted anew");
  add(fields_, "flags and reserved bytes");
  add(ids_, "transaction ids that are below those of what lies under them");
  std::array<Blockref, 4> blockset{};
  Encode(roots, std::as_writable_bytes(std::span(blockset)));
  return blockset;
}

bool TableRepair::Removed(const Blockref& bref, TableKind kind, const At& at) {
  if (at.names == nullptr) return false;
  if (bref.type == BrefType::kInode) {
    return kind == TableKind::kPfsRoot && at.names->removed.contains(Inum(bref.key.v));
  }
  return bref.type == BrefType::kDirent && at.names->dropped_names.contains({at.inode, bref.key});
}

absl::StatusOr<bool> TableRepair::FixTable(Table& table, const At& at, Sums& sums) {
  if (at.depth > 2 * kMaxTreeDepth) return absl::DataLossError("tables are nested too deep");
  bool changed = table.rubbish;
  changed |= std::erase_if(table.entries, [&](const Blockref& bref) {
               return Removed(bref, table.kind, at);
             }) != 0;
  At below_at = at;
  ++below_at.depth;
  for (Blockref& bref : table.entries) {
    const Blockref before = bref;
    Sums below;
    H2_RETURN_IF_ERROR(FixEntry(bref, table.kind, below_at, below));
    changed |= bref != before;
    sums.Add(bref);
    sums.mirror_max = std::max(sums.mirror_max, below.mirror_max);
    sums.modify_max = std::max(sums.modify_max, below.modify_max);
  }
  return changed;
}

absl::Status TableRepair::FixEntry(Blockref& bref, TableKind kind, const At& at, Sums& below) {
  fields_ += FixFields(bref, kind);
  // An inode in a directory of the legacy form could lead in circles; it is left as it is.
  if (bref.type == BrefType::kInode && kind != TableKind::kDirectory) {
    return FixInode(bref, kind, at, below);
  }
  if (bref.type == BrefType::kIndirect) return FixIndirect(bref, kind, at, below);
  return absl::OkStatus();
}

bool TableRepair::FixFields(Blockref& bref, TableKind kind) {
  const Blockref before = bref;
  bref.flags &= kKnownFlags;
  if (kind == TableKind::kSuperRoot && bref.type == BrefType::kInode) {
    bref.flags |= kBrefFlagPfsroot;
  } else {
    bref.flags &= static_cast<uint8_t>(~kBrefFlagPfsroot);
  }
  bref.update_tid = Tid();
  return bref != before;
}

absl::Status TableRepair::FixIndirect(Blockref& bref, TableKind kind, const At& at, Sums& below) {
  const std::pair<uint64_t, uint64_t> id(at.names != nullptr ? at.pfs.v : 0, bref.data_off.raw);
  if (const auto it = done_.find(id); it != done_.end()) {
    bref = it->second.bref;
    below = it->second.below;
    return absl::OkStatus();
  }
  H2_ASSIGN_OR_RETURN(AlignedBuffer block, ReadBlock(bref));
  Table table = Decode(block.span(), kind, bref.key, bref.keybits);
  H2_ASSIGN_OR_RETURN(const bool changed, FixTable(table, at, below));
  if (changed) {
    Encode(table, block.span());
    H2_RETURN_IF_ERROR(Store(bref, block.span()));
  }
  SetStatistics(bref, below, /*super_root=*/false);
  done_[id] = {bref, below};
  return absl::OkStatus();
}

bool TableRepair::EditInode(InodeData& inode, const At& at) const {
  if (at.names == nullptr) return false;
  const auto it = at.names->edits.find(inode.meta.inum);
  if (it == at.names->edits.end()) return false;
  inode.meta.nlinks = it->second.nlinks.value_or(inode.meta.nlinks);
  inode.meta.iparent = it->second.iparent.value_or(inode.meta.iparent);
  return true;
}

absl::Status TableRepair::FixInode(Blockref& bref, TableKind kind, At at, Sums& below) {
  const bool pfs_root = kind == TableKind::kSuperRoot;
  H2_ASSIGN_OR_RETURN(const AlignedBuffer block, ReadBlock(bref));
  H2_ASSIGN_OR_RETURN(InodeData inode,
                      DecodeInode(block.span(), bref, /*indexed=*/kind == TableKind::kPfsRoot));
  if (pfs_root) {
    const auto it = names_.find(bref.key);
    at.pfs = bref.key;
    at.names = it == names_.end() ? nullptr : &it->second;
  }
  at.inode = inode.meta.inum;
  const bool edited = EditInode(inode, at);
  bool table_changed = false;
  if (!inode.meta.directdata()) {
    Table table = Decode(ConstByteSpan(inode.u), TableKindOf(inode), Key(0), 64);
    if (pfs_root && at.names != nullptr) {
      for (Blockref entry : at.names->entries) {
        entry.mirror_tid = tids_.mirror;
        entry.modify_tid = tids_.modify;
        H2_RETURN_IF_ERROR(Insert(table, entry, bref.methods));
        table_changed = true;
      }
    }
    H2_ASSIGN_OR_RETURN(const bool fixed, FixTable(table, at, below));
    table_changed |= fixed;
    if (table_changed) Encode(table, inode.u);
  }
  if (edited) bref.modify_tid = std::max(bref.modify_tid, tids_.modify);
  if (edited || table_changed) {
    H2_RETURN_IF_ERROR(Store(bref, std::as_bytes(std::span(&inode, 1))));
  }
  if (pfs_root) {
    // R9: nothing below a PFS root has a higher modify_tid than the root.
    const Tid needed = std::max(below.modify_max, inode.meta.pfs_lsnap_tid);
    ids_ += bref.modify_tid < needed;
    bref.modify_tid = std::max(bref.modify_tid, needed);
  }
  SetStatistics(bref, below, TableKindOf(inode) == TableKind::kSuperRoot);
  return absl::OkStatus();
}

void TableRepair::SetStatistics(Blockref& bref, const Sums& sums, bool super_root) {
  if (bref.mirror_tid < sums.mirror_max) {
    bref.mirror_tid = tids_.mirror;
    ++ids_;
  }
  const uint64_t leaf_count = std::min<uint64_t>(sums.leaf_count, kLeafCountMax);
  // The super-root may lack PFS roots that the formatter made, a snapshot its leaf_count.
  const uint64_t missing = super_root ? sums.inode_count - bref.inode_count() : 0;
  const bool tolerated = super_root && missing <= kInitialPfsMax &&
                         bref.data_count() == sums.data_count - missing * kInodeBytes &&
                         bref.leaf_count <= leaf_count && leaf_count - bref.leaf_count <= missing;
  const bool equal = bref.data_count() == sums.data_count && bref.inode_count() == sums.inode_count;
  const bool snapshot = (bref.flags & kBrefFlagPfsroot) != 0 && bref.leaf_count == 0 && equal;
  if (tolerated || snapshot || (equal && bref.leaf_count == leaf_count)) return;
  bref.set_data_count(sums.data_count);
  bref.set_inode_count(sums.inode_count);
  bref.leaf_count = static_cast<uint16_t>(leaf_count);
  ++statistics_;
}

// --- new entries
// -------------------------------------------------------------------------------------

absl::Status TableRepair::Insert(Table& table, const Blockref& entry, uint8_t methods) {
  const auto holds = [&](const Blockref& b) { return b.Contains(entry.key); };
  auto it = std::find_if(table.entries.begin(), table.entries.end(), holds);
  if (it == table.entries.end() && table.entries.size() == table.slots) {
    H2_RETURN_IF_ERROR(MakeRoom(table, entry.key, methods));
    it = std::find_if(table.entries.begin(), table.entries.end(), holds);
  }
  if (it != table.entries.end()) {
    if (it->type != BrefType::kIndirect) {
      return absl::InternalError(absl::StrFormat("key 0x%x is taken", entry.key.v));
    }
    H2_ASSIGN_OR_RETURN(AlignedBuffer block, ReadBlock(*it));
    Table below = Decode(block.span(), table.kind, it->key, it->keybits);
    H2_RETURN_IF_ERROR(Insert(below, entry, it->methods));
    Encode(below, block.span());
    return Store(*it, block.span());
  }
  table.entries.push_back(entry);
  std::sort(table.entries.begin(), table.entries.end(),
            [](const Blockref& a, const Blockref& b) { return a.key < b.key; });
  return absl::OkStatus();
}

// Moves the entries of one half of the table's range into a new indirect block: of the half that
// `key` lies in, if that frees a slot, else of the other one. All slots are in use and no entry
// holds both halves, or it would hold `key`.
absl::Status TableRepair::MakeRoom(Table& table, Key key, uint8_t methods) {
  const unsigned keybits = table.keybits - 1;
  const uint64_t mask = ~((uint64_t{1} << keybits) - 1);
  uint64_t half = key.v & mask;
  const auto inside = [&](const Blockref& b) { return (b.key.v & mask) == half; };
  const auto count = [&] {
    return std::count_if(table.entries.begin(), table.entries.end(), inside);
  };
  if (count() < 2) half ^= uint64_t{1} << keybits;
  H2_ASSERT(count() >= 2);
  Table below{{}, kIndirectBytesNom / kBlockrefBytes, table.kind, Key(half), keybits};
  if (table.slots > below.slots) below.slots = kIndirectBytesMax / kBlockrefBytes;
  Blockref indirect;
  indirect.type = BrefType::kIndirect;
  indirect.set_methods(static_cast<CheckMethod>(methods >> 4), CompMethod::kNone);
  indirect.keybits = static_cast<uint8_t>(keybits);
  indirect.key = Key(half);
  for (const Blockref& bref : table.entries) {
    if (!inside(bref)) continue;
    below.entries.push_back(bref);
    indirect.modify_tid = std::max(indirect.modify_tid, bref.modify_tid);
  }
  AlignedBuffer block = AlignedBuffer::Zeroed(below.slots * kBlockrefBytes);
  Encode(below, block.span());
  H2_RETURN_IF_ERROR(Store(indirect, block.span()));
  std::erase_if(table.entries, inside);
  table.entries.push_back(indirect);
  std::sort(table.entries.begin(), table.entries.end(),
            [](const Blockref& a, const Blockref& b) { return a.key < b.key; });
  return absl::OkStatus();
}

}  // namespace h2bd
