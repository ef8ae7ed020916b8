#include "core/inode/directory.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/media/decode.h"
#include "core/media/dirhash.h"

namespace h2bd {
namespace {

// Last key that a name with this hash can have.
Key BucketEnd(Key hash) { return Key(hash.v | kDirhashLoMask); }

absl::StatusOr<std::string> ReadName(const Blockref& bref, BlockStore& store) {
  if (bref.dirent_namlen() <= kDirentInlineNameMax) return InlineDirentName(bref);
  H2_ASSIGN_OR_RETURN(const AlignedBuffer block, store.Load(bref));
  return std::string(AsText(block.span().first(bref.dirent_namlen())));
}

// The entry behind a leaf of a directory: a DIRENT, or in old media an inode that is its own entry
// (spec 01 section 8.5).
absl::StatusOr<Dirent> ReadEntry(const Blockref& bref, BlockStore& store) {
  Dirent entry;
  entry.key = bref.key;
  if (bref.type == BrefType::kDirent) {
    H2_ASSIGN_OR_RETURN(entry.name, ReadName(bref, store));
    entry.inum = bref.dirent_inum();
    entry.type = static_cast<ObjectType>(bref.dirent_type());
  } else {
    H2_ASSIGN_OR_RETURN(const AlignedBuffer block, store.Load(bref));
    H2_ASSIGN_OR_RETURN(const InodeData inode, DecodeInode(block.span(), bref, /*indexed=*/false));
    entry.name = std::string(inode.name());
    entry.inum = inode.meta.inum;
    entry.type = inode.meta.type;
  }
  // Names become parts of paths; no writer makes these.
  const absl::Status legal = CheckName(entry.name, "name");
  if (!legal.ok()) {
    return absl::DataLossError(absl::StrCat(Describe(bref), ": ", legal.message()));
  }
  return entry;
}

// What a leaf says when its name cannot be read.
Dirent WithoutName(const Blockref& bref) {
  Dirent entry;
  entry.key = bref.key;
  if (bref.type == BrefType::kDirent) {
    entry.inum = bref.dirent_inum();
    entry.type = static_cast<ObjectType>(bref.dirent_type());
  }
  return entry;
}

// Whether the entry may have this name, without I/O.
bool MayBeNamed(const Blockref& bref, absl::string_view name) {
  if (bref.type != BrefType::kDirent) return bref.type == BrefType::kInode;
  if (bref.dirent_namlen() != name.size()) return false;
  return name.size() > kDirentInlineNameMax || InlineDirentName(bref) == name;
}

// A DIRENT without its key and tids; a name of more than 64 bytes gets its block.
absl::StatusOr<Blockref> StoreDirent(Inode& dir, BlockStore& store, Key key, absl::string_view name,
                                     Inum inum, ObjectType type, const FlushTids& tids) {
  const Blockref above = dir.bref();
  Blockref bref;
  bref.type = BrefType::kDirent;
  bref.key = key;
  bref.set_methods(RealCheckMethod(above.check_method()), above.comp_method());
  bref.set_dirent(inum, static_cast<uint16_t>(name.size()), static_cast<uint8_t>(type));
  if (name.size() > kDirentInlineNameMax) {
    AlignedBuffer block = AlignedBuffer::Zeroed(kAllocMin);
    std::ranges::copy(AsBytes(name), block.span().begin());
    H2_RETURN_IF_ERROR(store.Store(bref, std::move(block), tids));
  } else {
    std::ranges::copy(AsBytes(name), bref.check.begin());
    bref.mirror_tid = tids.mirror_tid;
    bref.modify_tid = tids.modify_tid;
  }
  return bref;
}

}  // namespace

absl::StatusOr<std::optional<Dirent>> FindDirent(Inode& dir, BlockStore& store,
                                                 absl::string_view name) {
  const Key hash = Dirhash(name);
  const ReaderEpochs::Scope scope(store.readers());
  std::optional<Dirent> found;
  absl::Status damaged;  // counts only when no sound entry has the name
  H2_RETURN_IF_ERROR(dir.tree().Scan(hash, BucketEnd(hash), [&](const Blockref& bref) {
    if (!MayBeNamed(bref, name)) return true;
    absl::StatusOr<Dirent> entry = ReadEntry(bref, store);
    if (!entry.ok()) {
      damaged.Update(entry.status());
    } else if (entry->name == name) {
      found = *std::move(entry);
    }
    return !found.has_value();
  }));
  if (!found.has_value() && !damaged.ok()) return damaged;
  return found;
}

absl::StatusOr<std::vector<Dirent>> ListDirents(Inode& dir, BlockStore& store, Key from,
                                                size_t limit, std::vector<Dirent>* damaged) {
  std::vector<Dirent> entries;
  if (limit == 0) return entries;
  absl::Status status;
  const ReaderEpochs::Scope scope(store.readers());
  const Key first(std::max(from.v, kDirhashVisible));  // below lies the inode index of a PFS root
  H2_RETURN_IF_ERROR(dir.tree().Scan(first, Key(UINT64_MAX), [&](const Blockref& bref) {
    absl::StatusOr<Dirent> entry = ReadEntry(bref, store);
    if (entry.ok()) {
      entries.push_back(*std::move(entry));
    } else if (!absl::IsDataLoss(entry.status())) {
      status = entry.status();
      return false;
    } else if (damaged != nullptr) {
      damaged->push_back(WithoutName(bref));
    }
    return entries.size() < limit;
  }));
  if (!status.ok()) return status;
  return entries;
}

absl::StatusOr<Key> FreeDirentKey(ChainTree& tree, absl::string_view name) {
  const Key hash = Dirhash(name);
  uint64_t key = hash.v;
  bool hole = false;
  H2_RETURN_IF_ERROR(tree.Scan(hash, BucketEnd(hash), [&](const Blockref& bref) {
    hole = bref.key.v != key;
    if (!hole) ++key;
    return !hole;
  }));
  if (hole) return Key(key);
  // The reference leaves one key out behind the last entry; the last key of a bucket is free all
  // the same.
  const Key end = BucketEnd(hash);
  if (key > end.v || key == 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("all ", kDirhashLoMask + 1, " keys for the hash of the name are taken"));
  }
  return Key(std::min(key + 1, end.v));
}

absl::Status InsertDirent(Inode& dir, BlockStore& store, absl::string_view name, Inum inum,
                          ObjectType type, const FlushTids& tids) {
  H2_ASSERT(!name.empty() && name.size() <= kNameMax);
  H2_ASSIGN_OR_RETURN(const std::optional<Dirent> old, FindDirent(dir, store, name));
  if (old.has_value()) {
    return absl::AlreadyExistsError(
        absl::StrCat("name \"", name, "\" is taken by inode ", old->inum.v));
  }
  H2_ASSIGN_OR_RETURN(const Key key, FreeDirentKey(dir.tree(), name));
  H2_ASSIGN_OR_RETURN(const Blockref bref, StoreDirent(dir, store, key, name, inum, type, tids));
  const absl::Status put = dir.tree().Put(bref);
  if (!put.ok() && bref.data_off.radix() != 0) store.allocator().Undo(bref.data_off, bref.type);
  return put;
}

absl::Status EraseDirent(Inode& dir, BlockStore& store, absl::string_view name) {
  H2_ASSIGN_OR_RETURN(const std::optional<Dirent> entry, FindDirent(dir, store, name));
  if (!entry.has_value()) return absl::NotFoundError(absl::StrCat("no name \"", name, "\""));
  return dir.tree().Erase(entry->key).status();
}

absl::Status RelinkDirent(Inode& dir, BlockStore& store, absl::string_view name, Inum inum,
                          const FlushTids& tids) {
  H2_ASSIGN_OR_RETURN(const std::optional<Dirent> entry, FindDirent(dir, store, name));
  if (!entry.has_value()) return absl::NotFoundError(absl::StrCat("no name \"", name, "\""));
  H2_ASSIGN_OR_RETURN(const std::optional<Blockref> leaf, dir.tree().Find(entry->key));
  if (!leaf.has_value() || leaf->type != BrefType::kDirent) {
    return absl::FailedPreconditionError(
        absl::StrCat("\"", name, "\" is an inode that is its own entry (an old format)"));
  }
  Blockref bref = *leaf;
  bref.set_dirent(inum, bref.dirent_namlen(), static_cast<uint8_t>(ObjectType::kRegfile));
  // The block of a long name stays, and with it the ids of who wrote it; the id of the change goes
  // up with the table.
  if (bref.data_off.radix() == 0) {
    bref.mirror_tid = tids.mirror_tid;
    bref.modify_tid = tids.modify_tid;
  }
  return dir.tree().Put(bref);
}

}  // namespace h2bd
