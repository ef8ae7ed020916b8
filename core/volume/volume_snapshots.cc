// Snapshots, clones, rollback (spec 03 sections 11.6 and 11.7).
#include <algorithm>
#include <set>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "core/media/dirhash.h"
#include "core/volume/volume_pfs.h"

namespace h2bd {
namespace {

absl::Status CheckSnapshotName(const SnapshotName& name) {
  H2_RETURN_IF_ERROR(CheckName(name.name, "snapshot name"));
  if (name.name.find('@') != std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("snapshot name ", name.name, " has an '@', which stands before it"));
  }
  return CheckName(name.Label(), "label of the snapshot (PFS@NAME)");
}

SnapshotInfo SnapshotInfoOf(Pfs& pfs) {
  const InodeMeta meta = pfs.root().meta();
  SnapshotInfo info;
  info.name = SnapshotName::OfLabel(pfs.label());
  info.fsid = meta.pfs_fsid;
  info.time = FromMediaTime(meta.btime != 0 ? meta.btime : meta.ctime);
  info.tid = meta.pfs_lsnap_tid;
  info.held = (meta.uflags & kUflagHeld) != 0;
  info.automatic = meta.pfs_subtype == kPfsSubtypeAutomatic;
  info.referenced_bytes = pfs.root().bref().data_count();
  return info;
}

}  // namespace

SnapshotName SnapshotName::OfLabel(const std::string& label) {
  const size_t at = label.rfind('@');
  if (at == std::string::npos || at == 0) return {"", label};
  return {label.substr(0, at), label.substr(at + 1)};
}

absl::StatusOr<Volume::Impl::Queued> Volume::Impl::QueueSnapshots(
    const std::vector<SnapshotName>& names_wanted, const SnapshotOptions& options_in,
    absl::Time deadline, SnapshotsDone done) {
  H2_RETURN_IF_ERROR(CheckWritable());
  if (names_wanted.empty() || names_wanted.size() > kSnapshotsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(names_wanted.size(), " snapshots in one call, legal: 1 to ", kSnapshotsMax));
  }
  Admission admission(*this);
  H2_RETURN_IF_ERROR(
      AdmitChange(admission, 2 * names_wanted.size(), deadline, /*frees_space=*/false));
  absl::MutexLock one_change(&names_mu);
  SnapshotPfses args;
  args.subtype = options_in.automatic ? kPfsSubtypeAutomatic : kPfsSubtypeSnapshot;
  args.held = options_in.held;
  std::vector<std::string> reserved;
  auto release = [this](const std::vector<std::string>& labels) {
    for (const std::string& label : labels) pfses->Release(label);
  };
  absl::Cleanup give_back = [&] { release(reserved); };
  for (SnapshotName name : names_wanted) {
    H2_ASSIGN_OR_RETURN(Pfs* const pfs, FindPfs(name.pfs));
    H2_RETURN_IF_ERROR(CheckNotSnapshot(*pfs));
    name.pfs = pfs->label();
    H2_RETURN_IF_ERROR(CheckSnapshotName(name));
    H2_RETURN_IF_ERROR(pfses->Reserve(name.Label()));
    reserved.push_back(name.Label());
    args.of.push_back({pfs, name.Label(), NewUuid(*env.random), NewUuid(*env.random)});
  }
  std::move(give_back).Cancel();
  return Enqueue(std::move(args), admission,
                 {.clean = [release, reserved](const absl::Status&) { release(reserved); },
                  .done =
                      [done = std::move(done)](const PfsChangeOutcome& outcome) mutable {
                        if (!outcome.status.ok()) {
                          std::move(done)(outcome.status);
                          return;
                        }
                        std::vector<SnapshotInfo> made;
                        for (Pfs* pfs : outcome.made) {
                          made.push_back(SnapshotInfoOf(*pfs));
                          made.back().seq = outcome.seq;
                        }
                        std::move(done)(std::move(made));
                      }});
}

absl::StatusOr<std::vector<SnapshotInfo>> Volume::CreateSnapshots(
    const std::vector<SnapshotName>& snapshots, const SnapshotOptions& options,
    const IoOptions& io) {
  return impl_->WaitForChange<std::vector<SnapshotInfo>>(
      [&](SnapshotsDone done) {
        return impl_->QueueSnapshots(snapshots, options, io.deadline, std::move(done));
      },
      io.deadline);
}

void Volume::CreateSnapshotsAsync(const std::vector<SnapshotName>& snapshots,
                                  const SnapshotOptions& options, SnapshotsDone done) {
  impl_->RunChange<std::vector<SnapshotInfo>>(std::move(done), [&](SnapshotsDone answer) {
    return impl_->QueueSnapshots(snapshots, options, absl::InfinitePast(), std::move(answer));
  });
}

absl::StatusOr<std::vector<SnapshotInfo>> Volume::ListSnapshots(
    const std::optional<std::string>& pfs_label) {
  Impl& v = *impl_;
  H2_RETURN_IF_ERROR(v.CheckOpen());
  std::optional<std::string> of;
  if (pfs_label.has_value()) {
    H2_ASSIGN_OR_RETURN(const Pfs* const pfs, v.FindPfs(*pfs_label));
    of = pfs->label();
  }
  std::vector<SnapshotInfo> snapshots;
  for (Pfs* pfs : v.pfses->all()) {
    if (!pfs->snapshot() || pfs->removing()) continue;
    SnapshotInfo info = SnapshotInfoOf(*pfs);
    if (!of.has_value() || info.name.pfs == *of) snapshots.push_back(std::move(info));
  }
  std::sort(snapshots.begin(), snapshots.end(), [](const SnapshotInfo& a, const SnapshotInfo& b) {
    return std::tie(a.name.pfs, a.time, a.name.name) < std::tie(b.name.pfs, b.time, b.name.name);
  });
  return snapshots;
}

absl::StatusOr<ChangeInfo> Volume::DeleteSnapshot(const SnapshotName& snapshot,
                                                  const IoOptions& io) {
  return impl_->WaitForChange<ChangeInfo>(
      [&](ChangeDone done) {
        return impl_->QueueDeletePfs(snapshot.Label(), {.snapshot = true}, io.deadline,
                                     std::move(done));
      },
      io.deadline);
}

void Volume::DeleteSnapshotAsync(const SnapshotName& snapshot, ChangeDone done) {
  impl_->RunChange<ChangeInfo>(std::move(done), [&](ChangeDone answer) {
    return impl_->QueueDeletePfs(snapshot.Label(), {.snapshot = true}, absl::InfinitePast(),
                                 std::move(answer));
  });
}

absl::StatusOr<ChangeInfo> Volume::HoldSnapshot(const SnapshotName& snapshot, bool held,
                                                const IoOptions& io) {
  return impl_->WaitForChange<ChangeInfo>(
      [&](ChangeDone done) {
        return impl_->QueueSettings(snapshot.Label(), io.deadline, std::move(done),
                                    [&](const Pfs& pfs) -> absl::StatusOr<ChangeSettings> {
                                      if (pfs.snapshot()) return ChangeSettings{.held = held};
                                      return absl::InvalidArgumentError(
                                          absl::StrCat("PFS ", pfs.label(), " is not a snapshot"));
                                    });
      },
      io.deadline);
}

// --- clone and rollback of a disk
// ---------------------------------------------------------------------

absl::StatusOr<Volume::Impl::Queued> Volume::Impl::QueueClone(const DiskName& source,
                                                              const DiskName& target,
                                                              absl::Time deadline,
                                                              ChangeDone done) {
  H2_RETURN_IF_ERROR(CheckWritable());
  H2_RETURN_IF_ERROR(Annotate(CheckName(target.path, "disk name"), target.ToString()));
  Admission admission(*this);
  H2_RETURN_IF_ERROR(AdmitChange(admission, 3, deadline, /*frees_space=*/false));
  absl::MutexLock one_change(&names_mu);
  H2_ASSIGN_OR_RETURN(Pfs* const from, FindPfs(source.pfs));
  H2_ASSIGN_OR_RETURN(const Dirent entry, Resolve(*from, source.path));
  H2_ASSIGN_OR_RETURN(Pfs* const to, FindPfs(target.pfs));
  H2_RETURN_IF_ERROR(CheckNotSnapshot(*to));
  H2_ASSIGN_OR_RETURN(const std::optional<Dirent> taken, names->Lookup(*to, target.path));
  if (taken.has_value()) {
    return absl::AlreadyExistsError(absl::StrCat(to->label(), "/", target.path, " exists already"));
  }
  H2_RETURN_IF_ERROR(names->Reserve(*to, target.path));
  return Enqueue(
      DiskClone{.from = from, .inum = entry.inum, .to = to, .name = target.path}, admission,
      {.clean = [this, to, name = target.path](const absl::Status&) { names->Release(*to, name); },
       .done = AnswerInfo(std::move(done))});
}

absl::StatusOr<Volume::Impl::Queued> Volume::Impl::QueueRollbackDisk(const DiskName& source,
                                                                     const DiskName& target,
                                                                     absl::Time deadline,
                                                                     ChangeDone done) {
  H2_RETURN_IF_ERROR(CheckWritable());
  H2_RETURN_IF_ERROR(Annotate(CheckName(target.path, "disk name"), target.ToString()));
  Admission admission(*this);
  H2_RETURN_IF_ERROR(AdmitChange(admission, 3, deadline, /*frees_space=*/true));
  absl::MutexLock one_change(&names_mu);
  H2_ASSIGN_OR_RETURN(Pfs* const from, FindPfs(source.pfs));
  H2_ASSIGN_OR_RETURN(const Dirent entry, Resolve(*from, source.path));
  H2_ASSIGN_OR_RETURN(Pfs* const to, FindPfs(target.pfs));
  H2_RETURN_IF_ERROR(CheckNotSnapshot(*to));
  H2_ASSIGN_OR_RETURN(const Dirent replaced, Resolve(*to, target.path));
  if (from == to && entry.inum == replaced.inum) {
    return absl::InvalidArgumentError(
        absl::StrCat(source.ToString(), " cannot be rolled back to itself"));
  }
  const DiskId id{to->key(), replaced.inum};
  if (transactions->HasStaging(id)) {
    return WithReason(absl::FailedPreconditionError(absl::StrCat(
                          target.ToString(), " has staged changes of an open transaction")),
                      kReasonOpenTransaction);
  }
  const absl::StatusOr<DiskRef> disk = DiskOf(*to, replaced.inum);
  // One whose inode is damaged can be replaced all the same.
  if (absl::IsUnavailable(disk.status())) return disk.status();
  H2_RETURN_IF_ERROR(names->Reserve(*to, target.path));
  const DiskRef old = disk.ok() ? *disk : nullptr;
  return Enqueue(DiskClone{.from = from,
                           .inum = entry.inum,
                           .to = to,
                           .name = target.path,
                           .replaces = replaced.inum},
                 admission,
                 {.mark =
                      [old] {
                        if (old == nullptr) return;
                        absl::MutexLock lock(&old->mu());
                        old->MarkDeleted();
                      },
                  .clean =
                      [this, to, name = target.path, old](const absl::Status& status) {
                        if (!status.ok() && old != nullptr) old->UnmarkDeleted();
                        names->Release(*to, name);
                      },
                  .done = AnswerInfo(std::move(done))});
}

absl::StatusOr<Volume::Impl::Queued> Volume::Impl::QueueRollbackPfs(const SnapshotName& snapshot,
                                                                    absl::Time deadline,
                                                                    ChangeDone done) {
  H2_RETURN_IF_ERROR(CheckWritable());
  Admission admission(*this);
  H2_RETURN_IF_ERROR(AdmitChange(admission, 2, deadline, /*frees_space=*/true));
  absl::MutexLock one_change(&names_mu);
  H2_ASSIGN_OR_RETURN(Pfs* const source, pfses->Find(snapshot.Label()));
  if (!source->snapshot()) {
    return absl::InvalidArgumentError(absl::StrCat("PFS ", source->label(), " is not a snapshot"));
  }
  if (snapshot.pfs.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "snapshot ", snapshot.name, " does not say of which PFS it is; clone its disks"));
  }
  H2_ASSIGN_OR_RETURN(Pfs* const pfs, pfses->Find(snapshot.pfs));
  H2_RETURN_IF_ERROR(CheckNoStaging(*pfs));
  return Enqueue(PfsRollback{pfs, source}, admission,
                 RemovalHooks(*pfs, AnswerInfo(std::move(done))));
}

absl::StatusOr<ChangeInfo> Volume::CloneDisk(const DiskName& source, const DiskName& target,
                                             const IoOptions& io) {
  return impl_->WaitForChange<ChangeInfo>(
      [&](ChangeDone done) {
        return impl_->QueueClone(source, target, io.deadline, std::move(done));
      },
      io.deadline);
}

void Volume::CloneDiskAsync(const DiskName& source, const DiskName& target, ChangeDone done) {
  impl_->RunChange<ChangeInfo>(std::move(done), [&](ChangeDone answer) {
    return impl_->QueueClone(source, target, absl::InfinitePast(), std::move(answer));
  });
}

absl::StatusOr<ChangeInfo> Volume::RollbackDisk(const DiskName& source, const DiskName& disk,
                                                const IoOptions& io) {
  return impl_->WaitForChange<ChangeInfo>(
      [&](ChangeDone done) {
        return impl_->QueueRollbackDisk(source, disk, io.deadline, std::move(done));
      },
      io.deadline);
}

void Volume::RollbackDiskAsync(const DiskName& source, const DiskName& disk, ChangeDone done) {
  impl_->RunChange<ChangeInfo>(std::move(done), [&](ChangeDone answer) {
    return impl_->QueueRollbackDisk(source, disk, absl::InfinitePast(), std::move(answer));
  });
}

absl::StatusOr<ChangeInfo> Volume::RollbackPfs(const SnapshotName& snapshot, const IoOptions& io) {
  return impl_->WaitForChange<ChangeInfo>(
      [&](ChangeDone done) {
        return impl_->QueueRollbackPfs(snapshot, io.deadline, std::move(done));
      },
      io.deadline);
}

void Volume::RollbackPfsAsync(const SnapshotName& snapshot, ChangeDone done) {
  impl_->RunChange<ChangeInfo>(std::move(done), [&](ChangeDone answer) {
    return impl_->QueueRollbackPfs(snapshot, absl::InfinitePast(), std::move(answer));
  });
}

}  // namespace h2bd
