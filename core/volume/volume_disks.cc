// Disks by name: create, find, list, resize, rename, delete.
#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "core/media/dirhash.h"
#include "core/volume/volume_impl.h"

namespace h2bd {
namespace {

// Disks that nobody holds are kept up to this many, for their read-ahead state and to save
// look-ups.
constexpr size_t kIdleDisks = 4096;
constexpr int kPageSizeMax = 1000;

// Disks are made, renamed and removed in the root directory of a PFS only.
absl::Status CheckRootName(const DiskName& name) {
  return Annotate(CheckName(name.path, "disk name"), name.ToString());
}

absl::Status NoDisk(const std::string& what) {
  return absl::NotFoundError(absl::StrCat("there is no disk ", what));
}

absl::Status HasOpenTransaction(const DiskName& name) {
  return absl::FailedPreconditionError(absl::StrCat(
      name.ToString(), " has staged changes of an open transaction; commit or abort it first"));
}

}  // namespace

absl::Status CheckDiskSize(uint64_t size) {
  if (size <= kMaxDiskBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("disk size %d is not legal; legal are 0 to 2^62 (%d)", size, kMaxDiskBytes));
}

absl::StatusOr<DiskName> DiskName::Parse(absl::string_view text) {
  DiskName name;
  const size_t slash = text.find('/');
  if (slash == absl::string_view::npos) {
    name.path = std::string(text);
  } else {
    name.pfs = std::string(text.substr(0, slash));
    name.path = std::string(text.substr(slash + 1));
    H2_RETURN_IF_ERROR(CheckName(name.pfs, "PFS label"));
  }
  for (const absl::string_view component : absl::StrSplit(name.path, '/')) {
    H2_RETURN_IF_ERROR(CheckName(component, "disk name"));
  }
  return name;
}

std::string DiskName::ToString() const { return pfs.empty() ? path : absl::StrCat(pfs, "/", path); }

absl::StatusOr<Pfs*> Volume::Impl::FindPfs(const std::string& label) {
  const std::string& wanted = label.empty() ? default_pfs : label;
  if (!wanted.empty()) {
    const absl::StatusOr<Pfs*> found = pfses->Find(wanted);
    if (found.ok() || !pfses->has_damaged()) return found;
    return absl::DataLossError(absl::StrCat(
        found.status().message(), "; a damaged PFS root was left out, it may be this one"));
  }
  if (pfses->has_damaged()) {
    return absl::DataLossError(
        "the volume has no default PFS that can be read: a damaged PFS root was left out");
  }
  return absl::InvalidArgumentError(
      "the volume has no default PFS; name the disk PFS/NAME, or set a default");
}

absl::Status Volume::Impl::CheckStays(const Pfs& pfs) const {
  if (!pfs.removing()) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("PFS ", pfs.label(), " is being removed or rolled back"));
}

absl::StatusOr<Dirent> Volume::Impl::Resolve(Pfs& pfs, const std::string& path) {
  const std::vector<std::string> components = absl::StrSplit(path, '/');
  const std::string shown = absl::StrCat(pfs.label(), "/", path);
  std::optional<Dirent> entry;
  for (size_t i = 0; i < components.size(); ++i) {
    H2_RETURN_IF_ERROR(CheckName(components[i], "disk name"));
    if (i == 0) {
      H2_ASSIGN_OR_RETURN(entry, names->Lookup(pfs, components[i]));
    } else {
      if (entry->type != ObjectType::kDirectory) return NoDisk(shown);
      H2_ASSIGN_OR_RETURN(const std::shared_ptr<Inode> dir, pfs.GetInode(entry->inum));
      H2_ASSIGN_OR_RETURN(entry, FindDirent(*dir, *store, components[i]));
    }
    if (!entry.has_value()) return NoDisk(shown);
  }
  if (entry->type != ObjectType::kRegfile) {
    return absl::InvalidArgumentError(absl::StrCat(shown, " is a ", std::string(Name(entry->type)),
                                                   ", not a disk; disks are regular files"));
  }
  return *std::move(entry);
}

absl::StatusOr<DiskRef> Volume::Impl::DiskOf(Pfs& pfs, Inum inum) {
  const DiskId id{pfs.key(), inum};
  const auto no_disk = [&] { return NoDisk(absl::StrFormat("with inode %d", inum.v)); };
  {
    absl::MutexLock lock(&disks_mu);
    const auto it = disks.find(id);
    if (it != disks.end()) {
      if (it->second->deleted()) return no_disk();
      return it->second;
    }
  }
  H2_ASSIGN_OR_RETURN(std::shared_ptr<Inode> inode, pfs.GetInode(inum));
  absl::MutexLock lock(&disks_mu);
  if (pfs.removing()) return no_disk();
  const auto known = disks.find(id);
  // Deleted meanwhile; the inode of a second Disk would come back with its first change.
  if (known != disks.end() ? known->second->deleted() : !pfs.Knows(inum, *inode)) return no_disk();
  DiskRef& disk = disks[id];
  if (disk == nullptr) disk = std::make_shared<Disk>(id, pfs, std::move(inode), *context);
  const DiskRef found = disk;
  if (disks.size() > kIdleDisks) {
    // A disk with changes is held by the dirty registry or the flusher, too.
    absl::erase_if(disks, [](const auto& entry) { return entry.second.use_count() == 1; });
  }
  return found;
}

absl::StatusOr<DiskRef> Volume::Impl::DiskById(const DiskId& id) {
  for (Pfs* pfs : pfses->all()) {
    if (pfs->key() == id.pfs) return DiskOf(*pfs, id.inum);
  }
  return NoDisk(absl::StrFormat("with inode %d", id.inum.v));
}

absl::StatusOr<DiskRef> Volume::Impl::OpenDisk(const DiskName& name) {
  H2_RETURN_IF_ERROR(CheckOpen());
  H2_ASSIGN_OR_RETURN(Pfs* const pfs, FindPfs(name.pfs));
  H2_ASSIGN_OR_RETURN(const Dirent entry, Resolve(*pfs, name.path));
  return DiskOf(*pfs, entry.inum);
}

DiskInfo Volume::Impl::InfoOf(Disk& disk, const std::string& path) {
  const InodeMeta meta = disk.inode().meta();
  DiskInfo info;
  info.name = {disk.pfs().label(), path};
  info.inum = disk.id().inum;
  info.size_bytes = disk.size_bytes();
  info.stored_bytes = disk.inode().bref().data_count();
  // Older engines leave btime 0.
  info.create_time = FromMediaTime(meta.btime != 0 ? meta.btime : meta.ctime);
  info.modify_time = disk.modify_time();
  info.comp = meta.comp_method();
  info.check = meta.check_method();
  info.damaged = flusher != nullptr && flusher->held().contains(disk.id());
  return info;
}

DiskInfo Volume::Impl::InfoOf(Pfs& pfs, const Dirent& entry) {
  if (!entry.name.empty()) {
    const absl::StatusOr<DiskRef> disk = DiskOf(pfs, entry.inum);
    if (disk.ok()) return InfoOf(**disk, entry.name);
  }
  // The key tells entries without names apart.
  const std::string shown =
      entry.name.empty() ? absl::StrFormat("?unreadable-name-%016x", entry.key.v) : entry.name;
  return {.name = {pfs.label(), shown}, .inum = entry.inum, .damaged = true};
}

absl::StatusOr<DiskRef> Volume::OpenDisk(const DiskName& name) { return impl_->OpenDisk(name); }

absl::StatusOr<DiskInfo> Volume::GetDisk(const DiskName& name) {
  H2_ASSIGN_OR_RETURN(const DiskRef disk, impl_->OpenDisk(name));
  return impl_->InfoOf(*disk, name.path);
}

absl::StatusOr<DiskList> Volume::ListDisks(const std::string& pfs_label, int page_size,
                                           const std::string& page_token) {
  H2_RETURN_IF_ERROR(impl_->CheckOpen());
  if (page_size < 1 || page_size > kPageSizeMax) {
    return absl::InvalidArgumentError(
        absl::StrFormat("page size %d is not legal; legal are 1 to %d", page_size, kPageSizeMax));
  }
  uint64_t from = kDirhashVisible;
  if (!page_token.empty() && (page_token.size() != 16 || !absl::SimpleHexAtoi(page_token, &from))) {
    return absl::InvalidArgumentError("the page token was not made by ListDisks");
  }
  H2_ASSIGN_OR_RETURN(Pfs* const pfs, impl_->FindPfs(pfs_label));
  DiskList list;
  const auto wanted = static_cast<size_t>(page_size);
  while (list.disks.size() < wanted) {
    H2_ASSIGN_OR_RETURN(const std::vector<Dirent> entries,
                        impl_->names->List(*pfs, Key(from), wanted - list.disks.size()));
    for (const Dirent& entry : entries) {
      const bool unknown = entry.name.empty() && entry.type == ObjectType::kUnknown;
      if (entry.type != ObjectType::kRegfile && !unknown) continue;
      list.disks.push_back(impl_->InfoOf(*pfs, entry));
    }
    if (entries.empty() || entries.back().key.v == UINT64_MAX) return list;
    from = entries.back().key.v + 1;
  }
  H2_ASSIGN_OR_RETURN(const std::vector<Dirent> more, impl_->names->List(*pfs, Key(from), 1));
  if (!more.empty()) list.next_page_token = absl::StrFormat("%016x", from);
  return list;
}

absl::StatusOr<DiskInfo> Volume::CreateDisk(const DiskName& name, const CreateDiskOptions& options,
                                            const IoOptions& io) {
  Impl& v = *impl_;
  H2_RETURN_IF_ERROR(v.CheckWritable());
  H2_RETURN_IF_ERROR(CheckRootName(name));
  H2_RETURN_IF_ERROR(CheckDiskSize(options.size_bytes));
  H2_ASSIGN_OR_RETURN(Pfs* const pfs, v.FindPfs(name.pfs));
  H2_RETURN_IF_ERROR(v.CheckNotSnapshot(*pfs));
  Impl::Admission admission(v);
  H2_RETURN_IF_ERROR(admission.Admit(Disk::TouchBound(), nullptr, io.deadline));

  absl::MutexLock one_change(&v.names_mu);
  H2_RETURN_IF_ERROR(v.CheckStays(*pfs));
  H2_RETURN_IF_ERROR(v.names->CheckNotReserved(*pfs, name.path));
  H2_ASSIGN_OR_RETURN(const std::optional<Dirent> taken, v.names->Lookup(*pfs, name.path));
  if (taken.has_value()) {
    return absl::AlreadyExistsError(absl::StrCat(pfs->label(), "/", name.path, " exists already"));
  }
  const Inum inum = pfs->NewInum();
  // A damaged table on the way to its place in the index is told now, not to every cycle.
  H2_RETURN_IF_ERROR(pfs->root().tree().Find(Key(inum.v)).status());
  const absl::Time now = v.env.clock->WallNow();
  const InodeMeta parent = pfs->root().meta();
  const InodeData data = NewDiskInode(inum, parent, options.size_bytes, now);
  Blockref bref;
  bref.type = BrefType::kInode;
  bref.key = Key(inum.v);
  bref.set_methods(RealCheckMethod(parent.check_method()), parent.comp_method());
  pfs->Adopt(inum, Inode::Create(data, bref, *v.store, *v.chains, pfs->root().horizon()));
  H2_ASSIGN_OR_RETURN(const DiskRef disk, v.DiskOf(*pfs, inum));
  {
    TransGate::Apply apply(*v.gate);
    H2_RETURN_IF_ERROR(v.CheckOpen());
    absl::MutexLock lock(&disk->mu());
    v.names->Create(apply.generation(), *pfs, name.path, inum, ObjectType::kRegfile);
    admission.Spend(
        *disk, disk->ApplySize(apply.generation(), options.size_bytes, options.size_bytes, now));
    admission.Finish();
    disk->set_last_opseq(apply.Number());
  }
  v.flusher->metrics().inodes_created.Add();
  return v.InfoOf(*disk, name.path);
}

absl::StatusOr<DiskInfo> Volume::ResizeDisk(const DiskName& name, uint64_t size_bytes,
                                            const IoOptions& io) {
  Impl& v = *impl_;
  H2_RETURN_IF_ERROR(v.CheckWritable());
  H2_RETURN_IF_ERROR(CheckDiskSize(size_bytes));
  H2_ASSIGN_OR_RETURN(const DiskRef disk, v.OpenDisk(name));
  H2_RETURN_IF_ERROR(v.CheckNotSnapshot(disk->pfs()));
  if (v.transactions->HasStaging(disk->id())) return HasOpenTransaction(name);
  const uint64_t bound_size = disk->size_bytes();
  const bool shrinks = size_bytes < bound_size;
  Impl::Admission admission(v);
  H2_RETURN_IF_ERROR(admission.Admit(Disk::ZeroesBound(bound_size), disk.get(), io.deadline,
                                     {.space_reserve = shrinks}));
  {
    TransGate::Apply apply(*v.gate);
    H2_RETURN_IF_ERROR(v.CheckOpen());
    absl::MutexLock lock(&disk->mu());
    H2_RETURN_IF_ERROR(disk->CheckRange(0, 0));
    // Again: it may have been staged on while this call waited.
    if (v.transactions->HasStaging(disk->id())) return HasOpenTransaction(name);
    admission.Spend(
        *disk, disk->ApplySize(apply.generation(), size_bytes, bound_size, v.env.clock->WallNow()));
    admission.Finish();
    disk->set_last_opseq(apply.Number());
  }
  return v.InfoOf(*disk, name.path);
}

absl::StatusOr<DiskInfo> Volume::RenameDisk(const DiskName& from, const DiskName& to,
                                            const IoOptions& io) {
  Impl& v = *impl_;
  H2_RETURN_IF_ERROR(v.CheckWritable());
  H2_RETURN_IF_ERROR(CheckRootName(from));
  H2_RETURN_IF_ERROR(CheckRootName(to));
  H2_ASSIGN_OR_RETURN(Pfs* const pfs, v.FindPfs(from.pfs));
  H2_ASSIGN_OR_RETURN(const Pfs* const target, v.FindPfs(to.pfs));
  H2_RETURN_IF_ERROR(v.CheckNotSnapshot(*pfs));
  if (pfs != target) {
    return absl::InvalidArgumentError(absl::StrCat("cannot rename ", from.ToString(), " to ",
                                                   to.ToString(), ": a disk stays in its PFS"));
  }
  Impl::Admission admission(v);
  H2_RETURN_IF_ERROR(admission.Admit(Disk::TouchBound(), nullptr, io.deadline));
  absl::MutexLock one_change(&v.names_mu);
  H2_RETURN_IF_ERROR(v.CheckStays(*pfs));
  for (const DiskName& name : {from, to}) {
    H2_RETURN_IF_ERROR(v.names->CheckNotReserved(*pfs, name.path));
  }
  H2_ASSIGN_OR_RETURN(const Dirent entry, v.Resolve(*pfs, from.path));
  H2_ASSIGN_OR_RETURN(const std::optional<Dirent> taken, v.names->Lookup(*pfs, to.path));
  if (taken.has_value()) {
    return absl::AlreadyExistsError(absl::StrCat(pfs->label(), "/", to.path, " exists already"));
  }
  H2_ASSIGN_OR_RETURN(const DiskRef disk, v.DiskOf(*pfs, entry.inum));
  {
    TransGate::Apply apply(*v.gate);
    H2_RETURN_IF_ERROR(v.CheckOpen());
    absl::MutexLock lock(&disk->mu());
    v.names->Rename(apply.generation(), *pfs, entry, to.path);
    admission.Spend(*disk, disk->Touch(apply.generation()));
    admission.Finish();
    disk->set_last_opseq(apply.Number());
  }
  return v.InfoOf(*disk, to.path);
}

absl::Status Volume::DeleteDisk(const DiskName& name, const IoOptions& io) {
  Impl& v = *impl_;
  H2_RETURN_IF_ERROR(v.CheckWritable());
  H2_RETURN_IF_ERROR(CheckRootName(name));
  H2_ASSIGN_OR_RETURN(Pfs* const pfs, v.FindPfs(name.pfs));
  H2_RETURN_IF_ERROR(v.CheckNotSnapshot(*pfs));
  Impl::Admission admission(v);
  H2_RETURN_IF_ERROR(admission.Admit(Disk::TouchBound(), nullptr, io.deadline,
                                     {.space_reserve = true, .memory_reserve = true}));
  absl::MutexLock one_change(&v.names_mu);
  H2_RETURN_IF_ERROR(v.CheckStays(*pfs));
  H2_RETURN_IF_ERROR(v.names->CheckNotReserved(*pfs, name.path));
  H2_ASSIGN_OR_RETURN(const Dirent entry, v.Resolve(*pfs, name.path));
  const DiskId id{pfs->key(), entry.inum};
  if (v.transactions->HasStaging(id)) return HasOpenTransaction(name);
  const absl::StatusOr<DiskRef> disk = v.DiskOf(*pfs, entry.inum);
  // A disk whose inode is damaged can be deleted all the same.
  if (absl::IsUnavailable(disk.status())) return disk.status();
  TransGate::Apply apply(*v.gate);
  H2_RETURN_IF_ERROR(v.CheckOpen());
  v.names->Remove(apply.generation(), *pfs, entry);
  if (!disk.ok()) {
    pfs->NoteChange(apply.Number());
    v.commit->Request();
    return absl::OkStatus();
  }
  absl::MutexLock lock(&(*disk)->mu());
  // The deleted disk stays in the table while a cycle has its inode to remove: whoever resolved the
  // name before must not get a second Disk for it.
  if (v.names->LosesLastLink(*pfs, (*disk)->inode())) (*disk)->MarkDeleted();
  admission.Spend(**disk, (*disk)->Touch(apply.generation()));
  admission.Finish();
  (*disk)->set_last_opseq(apply.Number());
  return absl::OkStatus();
}

}  // namespace h2bd
