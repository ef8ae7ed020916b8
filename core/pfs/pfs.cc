#include "core/pfs/pfs.h"

#include <algorithm>
#include <optional>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/media/decode.h"
#include "core/media/dirhash.h"

namespace h2bd {
namespace {

// Above it the counter could reach the names' half of the key space; no volume comes near by
// itself.
constexpr uint64_t kPfsInumLimit = uint64_t{1} << 62;
constexpr size_t kLabelsInMessage = 8;

absl::Status CheckRoot(const InodeMeta& meta) {
  if (meta.pfs_inum < kPfsInumLimit) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrFormat("pfs_inum is 0x%x, legal: below 0x%x", meta.pfs_inum, kPfsInumLimit));
}

// A real check for everything that inherits from `check_algo` (F-147).
uint8_t RealCheckAlgo(const InodeMeta& parent) {
  const CheckMethod method = parent.check_method();
  const bool known = method <= CheckMethod::kSha192;
  return static_cast<uint8_t>(RealCheckMethod(known ? method : CheckMethod::kNone));
}

}  // namespace

// --- one PFS
// --------------------------------------------------------------------------------------

Pfs::Pfs(std::shared_ptr<Inode> root, BlockStore& store, ChainCache& cache, DirtyPfses& dirty)
    : store_(store),
      cache_(cache),
      dirty_(dirty),
      root_(std::move(root)),
      label_(root_->filename()),
      key_(root_->bref().key),
      snapshot_(root_->meta().pfs_subtype != 0),  // 1 by hand, 2 automatic
      next_inum_(std::max(root_->meta().pfs_inum + 1, kInodeStart)),
      stored_inum_(next_inum_) {}

absl::StatusOr<std::shared_ptr<Inode>> Pfs::GetInode(Inum inum) {
  if (inum == kInumPfsRoot) return root_;
  const ReaderEpochs::Scope scope(store_.readers());
  std::shared_ptr<Inode> loaded;
  for (;;) {
    uint64_t seen = 0;
    {
      absl::MutexLock lock(&mu_);
      const auto it = inodes_.find(inum.v);
      if (it != inodes_.end()) return it->second;
      seen = index_edits_;
    }
    H2_ASSIGN_OR_RETURN(const Blockref bref, FindIndex(inum));
    if (loaded == nullptr || loaded->bref() != bref) {
      absl::StatusOr<std::shared_ptr<Inode>> inode =
          Inode::Load(bref, /*indexed=*/true, store_, cache_, root_->horizon());
      if (!inode.ok()) {
        absl::MutexLock lock(&mu_);
        if (index_edits_ != seen) continue;  // the block may be given away by now
        return Annotate(inode.status(), absl::StrCat("PFS ", label_, ", inode ", inum.v));
      }
      loaded = *std::move(inode);
    }
    absl::MutexLock lock(&mu_);
    const auto it = inodes_.find(inum.v);
    if (it != inodes_.end()) return it->second;
    // An inode that was flushed since and forgotten again would come back in its old state.
    if (index_edits_ != seen) continue;
    inodes_.emplace(inum.v, loaded);
    NoteIfCrowded();
    return loaded;
  }
}

absl::StatusOr<Blockref> Pfs::FindIndex(Inum inum) {
  const auto not_found = [&] {
    return absl::NotFoundError(absl::StrCat("PFS ", label_, " has no inode ", inum.v));
  };
  if ((inum.v & kDirhashVisible) != 0) return not_found();  // there the names begin
  absl::StatusOr<std::optional<Blockref>> leaf = root_->tree().Find(Key(inum.v));
  if (!leaf.ok()) return Annotate(leaf.status(), absl::StrCat("inode index of PFS ", label_));
  if (!leaf->has_value()) return not_found();
  if ((*leaf)->type == BrefType::kInode) return **leaf;
  return absl::DataLossError(
      absl::StrCat("inode index of PFS ", label_, ": ", Describe(**leaf), ", legal: an inode"));
}

void Pfs::NoteChange(OpSeq seq) {
  uint64_t last = last_opseq_.load(std::memory_order_relaxed);
  while (last < seq.v && !last_opseq_.compare_exchange_weak(last, seq.v, std::memory_order_release,
                                                            std::memory_order_relaxed)) {
  }
}

Inum Pfs::NewInum() {
  absl::MutexLock lock(&mu_);
  return Inum(next_inum_++);
}

void Pfs::Adopt(Inum inum, std::shared_ptr<Inode> inode) {
  absl::MutexLock lock(&mu_);
  inodes_[inum.v] = std::move(inode);
  NoteIfCrowded();
}

void Pfs::NoteIfCrowded() {
  if (inodes_.size() > kInodesKept) dirty_.NoteCrowded(key_, *this);
}

void Pfs::Forget(Inum inum) {
  absl::MutexLock lock(&mu_);
  inodes_.erase(inum.v);
}

bool Pfs::Knows(Inum inum, const Inode& inode) const {
  if (inum == kInumPfsRoot) return &inode == root_.get();
  absl::MutexLock lock(&mu_);
  const auto it = inodes_.find(inum.v);
  return it != inodes_.end() && it->second.get() == &inode;
}

absl::Status Pfs::PutIndex(const Blockref& bref) {
  H2_ASSERT(bref.type == BrefType::kInode && (bref.key.v & kDirhashVisible) == 0);
  const absl::Status status = root_->tree().Put(bref);
  MarkDirty();
  absl::MutexLock lock(&mu_);
  ++index_edits_;
  return status;
}

absl::Status Pfs::EraseIndex(Inum inum) {
  const absl::Status status = root_->tree().Erase(Key(inum.v)).status();
  MarkDirty();
  absl::MutexLock lock(&mu_);
  ++index_edits_;
  return status;
}

absl::Status Pfs::RemoveInode(Inum inum, Inode& inode) {
  H2_RETURN_IF_ERROR(EraseIndex(inum));
  // A header without the index entry is one without what it led to.
  root_->tree().AdoptDrops(inode.DropAll());
  Forget(inum);
  return absl::OkStatus();
}

void Pfs::Share(Tid upto) {
  InodeMeta meta = root_->meta();
  if (meta.pfs_lsnap_tid < upto) {  // it never goes back (R9)
    meta.pfs_lsnap_tid = upto;
    root_->set_meta(meta);
    MarkDirty();
  }
  root_->horizon()->Raise(upto);
}

DropList Pfs::DropAll() {
  std::vector<std::pair<uint64_t, std::shared_ptr<Inode>>> inodes;
  {
    absl::MutexLock lock(&mu_);
    inodes.assign(inodes_.begin(), inodes_.end());
  }
  for (const auto& [inum, inode] : inodes) {
    // Of the others the index leads to all that they name.
    if (!inode->AheadOfIndex()) continue;
    // What the index cannot be asked about is left to bulkfree.
    if (!EraseIndex(Inum(inum)).ok()) continue;
    root_->tree().AdoptDrops(inode->DropAll());
  }
  return root_->DropAll();
}

absl::StatusOr<Inode::Flushed> Pfs::Flush(const FlushTids& tids, Executor& executor) {
  uint64_t counter = 0;
  bool issued = false;
  {
    absl::MutexLock lock(&mu_);
    counter = next_inum_;
    issued = counter != stored_inum_;
  }
  if (issued || root_->modified()) {
    InodeMeta meta = root_->meta();
    meta.pfs_inum = counter;
    root_->set_meta(meta);
  }
  absl::StatusOr<Inode::Flushed> flushed = root_->Flush(tids, executor);
  if (!flushed.ok()) return Annotate(flushed.status(), absl::StrCat("root of PFS ", label_));
  absl::MutexLock lock(&mu_);
  stored_inum_ = counter;
  return flushed;
}

void Pfs::TrimInodes(size_t keep) {
  std::vector<std::shared_ptr<Inode>> dropped;  // freed without the lock
  absl::MutexLock lock(&mu_);
  for (auto it = inodes_.begin(); it != inodes_.end() && inodes_.size() > keep;) {
    // New holders come through the map only, so a count of one stays one.
    if (it->second.use_count() > 1 || it->second->modified()) {
      ++it;
      continue;
    }
    dropped.push_back(std::move(it->second));
    inodes_.erase(it++);
  }
  NoteIfCrowded();
}

// --- all PFSs
// -------------------------------------------------------------------------------------

absl::StatusOr<std::unique_ptr<PfsTable>> PfsTable::Open(const VolumeData& header,
                                                         BlockStore& store, ChainCache& cache,
                                                         Logger& logger) {
  const auto* raw = reinterpret_cast<const std::byte*>(header.sroot_blockset.data());
  H2_ASSIGN_OR_RETURN(const std::vector<Blockref> anchor,
                      DecodeTable(ConstByteSpan(raw, sizeof header.sroot_blockset),
                                  TableKind::kSuperRootSet, Key(0), 64, store.total_size()));
  absl::StatusOr<std::shared_ptr<Inode>> super_root =
      Inode::Load(anchor.front(), /*indexed=*/false, store, cache);
  if (!super_root.ok()) return Annotate(super_root.status(), "super-root");
  std::unique_ptr<PfsTable> table(new PfsTable(*std::move(super_root), store, cache));
  H2_RETURN_IF_ERROR(table->LoadRoots(logger));
  return table;
}

absl::Status PfsTable::LoadRoots(Logger& logger) {
  std::map<Key, std::unique_ptr<Pfs>> loaded;
  std::map<Uuid, std::string> clids;
  absl::Status unread;
  const auto load = [&](const Blockref& bref) {
    absl::StatusOr<std::shared_ptr<Inode>> root =
        Inode::Load(bref, /*indexed=*/false, store_, cache_);
    const absl::Status status = root.ok() ? CheckRoot((*root)->meta()) : root.status();
    if (absl::IsUnavailable(status)) {
      unread = status;  // the device fails, which may pass: nothing is given up for that
      return false;
    }
    if (!status.ok()) {
      damaged_.store(true, std::memory_order_relaxed);
      logger.Error("a PFS root cannot be used; the PFS is left out",
                   {{"blockref", Describe(bref)}, {"error", std::string(status.message())}});
      return true;
    }
    auto pfs = std::make_unique<Pfs>(*std::move(root), store_, cache_, dirty_);
    const auto [clid, unique] = clids.emplace(pfs->root().meta().pfs_clid, pfs->label());
    if (!unique) {
      logger.Warning("two PFSs have one pfs_clid; others take them for one cluster (R11)",
                     {{"pfs", pfs->label()}, {"other", clid->second}});
    }
    if ((bref.flags & kBrefFlagPfsroot) == 0) pfs->MarkDirty();  // R17
    loaded.emplace(bref.key, std::move(pfs));
    return true;
  };
  const absl::Status status = super_root_->tree().Scan(Key(0), Key(UINT64_MAX), load);
  if (!status.ok()) return Annotate(status, "super-root");
  if (!unread.ok()) return Annotate(unread, "PFS root");
  absl::MutexLock lock(&mu_);
  pfses_ = std::move(loaded);
  return absl::OkStatus();
}

absl::StatusOr<Pfs*> PfsTable::Find(absl::string_view label) {
  absl::MutexLock lock(&mu_);
  Pfs* const found = InBucket(label);
  if (found != nullptr && !found->removing()) return found;
  std::vector<absl::string_view> labels;
  for (const auto& [key, pfs] : pfses_) {
    if (pfs->removing()) continue;
    if (pfs->label() == label) return pfs.get();
    labels.push_back(pfs->label());
  }
  std::sort(labels.begin(), labels.end());
  const bool shortened = labels.size() > kLabelsInMessage;
  if (shortened) labels.resize(kLabelsInMessage);
  return absl::NotFoundError(absl::StrCat(
      "no PFS \"", label, "\", there is: ", absl::StrJoin(labels, ", "), shortened ? ", …" : ""));
}

Pfs* PfsTable::InBucket(absl::string_view label) const {
  const Key end(Dirhash(label).v | kDirhashLoMask);
  for (auto it = pfses_.lower_bound(Dirhash(label)); it != pfses_.end() && it->first <= end; ++it) {
    if (it->second->label() == label) return it->second.get();
  }
  return nullptr;
}

std::vector<PfsInfo> PfsTable::List() const {
  std::vector<PfsInfo> list;
  {
    absl::MutexLock lock(&mu_);
    for (const auto& [key, pfs] : pfses_) {
      if (pfs->removing()) continue;
      const InodeMeta meta = pfs->root().meta();
      list.push_back(PfsInfo{.label = pfs->label(),
                             .key = key,
                             .type = meta.pfs_type,
                             .subtype = meta.pfs_subtype,
                             .clid = meta.pfs_clid,
                             .fsid = meta.pfs_fsid});
    }
  }
  std::sort(list.begin(), list.end(),
            [](const PfsInfo& a, const PfsInfo& b) { return a.label < b.label; });
  return list;
}

Tid PfsTable::HighestModifyTid() const {
  // The reference lets a root fall behind the entries of its own table (spec 04 section 5.3).
  Tid highest = std::max(super_root_->bref().modify_tid, super_root_->tree().highest_modify_tid());
  absl::MutexLock lock(&mu_);
  for (const auto& [key, pfs] : pfses_) {
    Inode& root = pfs->root();
    highest = std::max({highest, root.bref().modify_tid, root.meta().pfs_lsnap_tid,
                        root.tree().highest_modify_tid()});
  }
  return highest;
}

absl::Status PfsTable::Reserve(const std::string& label) {
  absl::MutexLock lock(&mu_);
  if (InBucket(label) != nullptr || !reserved_.insert(label).second) {
    return absl::AlreadyExistsError(absl::StrCat("there is a PFS \"", label, "\""));
  }
  return absl::OkStatus();
}

void PfsTable::Release(const std::string& label) {
  absl::MutexLock lock(&mu_);
  reserved_.erase(label);
}

absl::StatusOr<Key> PfsTable::FreeKey(absl::string_view label, const Pfs* replaced,
                                      std::span<const Key> besides) {
  const Key end(Dirhash(label).v | kDirhashLoMask);
  bool exists = false;
  // What was added but not flushed, and what was removed since the open, has a key that the tree
  // does not know.
  std::set<Key> taken(besides.begin(), besides.end());
  {
    absl::MutexLock lock(&mu_);
    const Pfs* const known = InBucket(label);
    exists = known != nullptr && known != replaced;
    for (const auto* pfses : {&pfses_, &removed_}) {
      for (auto it = pfses->lower_bound(Dirhash(label)); it != pfses->end() && it->first <= end;
           ++it) {
        taken.insert(it->first);
      }
    }
  }
  if (replaced == nullptr && !exists) {
    absl::StatusOr<std::optional<Dirent>> stored = FindDirent(*super_root_, store_, label);
    if (!stored.ok()) return Annotate(stored.status(), "super-root");
    exists = stored->has_value();
  }
  if (exists) return absl::AlreadyExistsError(absl::StrCat("there is a PFS \"", label, "\""));
  H2_ASSIGN_OR_RETURN(const Key first, FreeDirentKey(super_root_->tree(), label));
  for (uint64_t key = first.v; key <= end.v && key != 0; ++key) {
    if (taken.contains(Key(key))) continue;
    H2_ASSIGN_OR_RETURN(const std::optional<Blockref> leaf, super_root_->tree().Find(Key(key)));
    if (!leaf.has_value()) return Key(key);
  }
  return absl::ResourceExhaustedError(
      absl::StrCat("no key is left for the PFS label ", label,
                   " (those of PFSs that were removed come back when the volume is opened again)"));
}

Blockref PfsTable::NewRootBref(Key key) const {
  Blockref bref;
  bref.type = BrefType::kInode;
  bref.key = key;
  bref.methods = super_root_->bref().methods;
  bref.flags = kBrefFlagPfsroot;
  return bref;
}

Pfs& PfsTable::Add(std::shared_ptr<Inode> root) {
  auto pfs = std::make_unique<Pfs>(std::move(root), store_, cache_, dirty_);
  Pfs& added = *pfs;
  added.MarkDirty();
  absl::MutexLock lock(&mu_);
  const bool unique = pfses_.emplace(added.key(), std::move(pfs)).second;
  H2_ASSERT(unique);
  return added;
}

void PfsTable::NoteNamed(Key key) {
  std::shared_ptr<Inode> root;
  {
    absl::MutexLock lock(&mu_);
    const auto it = pfses_.find(key);
    if (it != pfses_.end()) root = it->second->shared_root();
  }
  if (root != nullptr) root->Named();
}

absl::Status PfsTable::Remove(Key key) {
  H2_RETURN_IF_ERROR(super_root_->tree().Erase(key).status());
  Pfs* removed = nullptr;
  {
    absl::MutexLock lock(&mu_);
    const auto it = pfses_.find(key);
    if (it == pfses_.end()) return absl::OkStatus();
    removed = it->second.get();
    removed_.emplace(key, std::move(it->second));
    pfses_.erase(it);
  }
  super_root_->tree().AdoptDrops(removed->DropAll());
  removed->root().tree().Abandon();
  removed->set_gone();
  dirty_.Forget(key);
  return absl::OkStatus();
}

absl::StatusOr<std::array<Blockref, 4>> PfsTable::FlushSuperRoot(
    const FlushTids& tids, const std::vector<Blockref>& changed, Executor& executor) {
  for (Blockref bref : changed) {
    H2_ASSERT(bref.type == BrefType::kInode);
    bref.flags |= kBrefFlagPfsroot;
    const absl::Status put = super_root_->tree().Put(bref);
    if (!put.ok()) return Annotate(put, "super-root");
    NoteNamed(bref.key);
  }
  const Blockref before = super_root_->bref();
  absl::StatusOr<Inode::Flushed> flushed = super_root_->Flush(tids, executor);
  if (!flushed.ok()) return Annotate(flushed.status(), "super-root");
  // No table names the super-root, so nobody else drops its old block: every header to come has the
  // new one.
  if (flushed->changed) {
    super_root_->tree().Drop(before);
    super_root_->Named();
    store_.metrics().parent_updates.Add();  // the header's entry
  }
  return std::array<Blockref, 4>{flushed->bref};
}

std::vector<Pfs*> PfsTable::all() {
  absl::MutexLock lock(&mu_);
  std::vector<Pfs*> pfses;
  for (const auto& [key, pfs] : pfses_) pfses.push_back(pfs.get());
  return pfses;
}

void PfsTable::ForgetClean() {
  for (Pfs* pfs : dirty()) {
    if (!pfs->root().AheadOfIndex()) dirty_.Forget(pfs->key());
  }
}

void PfsTable::TrimInodes() {
  for (Pfs* pfs : dirty_.TakeCrowded()) pfs->TrimInodes(Pfs::kInodesKept);
}

// --- new inodes
// -----------------------------------------------------------------------------------

InodeData NewDiskInode(Inum inum, const InodeMeta& parent, uint64_t size, absl::Time now) {
  InodeData inode;
  InodeMeta& meta = inode.meta;
  meta.type = ObjectType::kRegfile;
  meta.ctime = meta.mtime = meta.btime = ToMediaTime(now);
  meta.uid = parent.uid;
  meta.gid = parent.gid;
  meta.mode = 0600;
  meta.inum = inum;
  meta.size = size;
  meta.nlinks = 1;
  meta.iparent = parent.inum;
  meta.name_key = Key(inum.v);
  meta.comp_algo = parent.comp_algo;
  meta.check_algo = RealCheckAlgo(parent);
  inode.set_name(InodeFilename(inum));
  return inode;
}

InodeData NewPfsRootInode(absl::string_view label, Key key, absl::Time now, RandomSource& random) {
  InodeData inode;
  InodeMeta& meta = inode.meta;
  meta.type = ObjectType::kDirectory;
  meta.op_flags = kOpFlagPfsroot;
  meta.ctime = meta.mtime = meta.btime = ToMediaTime(now);
  meta.mode = 0755;
  meta.inum = kInumPfsRoot;
  meta.nlinks = 1;
  meta.iparent = kInumPfsRoot;
  meta.name_key = key;
  // Boot loaders know no LZ4.
  meta.comp_algo = static_cast<uint8_t>(
      absl::EqualsIgnoreCase(label, "boot") ? CompMethod::kAutozero : CompMethod::kLz4);
  meta.check_algo = static_cast<uint8_t>(CheckMethod::kXxhash64);
  meta.pfs_type = kPfsTypeMaster;
  meta.pfs_clid = NewUuid(random);
  meta.pfs_fsid = NewUuid(random);
  inode.set_name(label);
  return inode;
}

}  // namespace h2bd
