// Changes of PFSs: how a call enters one, and how it waits for the cycle that applies it. Create,
// delete, settings.
#include "core/volume/volume_pfs.h"

#include "absl/strings/str_cat.h"
#include "core/media/dirhash.h"

namespace h2bd {
namespace {

constexpr char kLocalPfs[] = "LOCAL";  // newfs makes it and others expect it

absl::Status CheckLabel(const std::string& label) {
  H2_RETURN_IF_ERROR(CheckName(label, "PFS label"));
  if (label.find('@') == std::string::npos) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("PFS label ", label, " has an '@', which only snapshots have"));
}

// comp_algo as the inode has it (spec 03 section 9.1).
absl::StatusOr<uint8_t> CompAlgo(CompMethod comp, int level) {
  if (comp > CompMethod::kZlib) {
    return absl::InvalidArgumentError(
        "unknown compression method; legal are none, autozero, lz4 and zlib");
  }
  const bool legal = level == 0 || (comp == CompMethod::kZlib && level >= 6 && level <= 9);
  if (!legal) {
    return absl::InvalidArgumentError(
        absl::StrCat("compression level ", level, " is not legal for ", Name(comp),
                     comp == CompMethod::kZlib ? "; legal are 0 (default) and 6 to 9"
                                               : "; legal is 0 (it has none)"));
  }
  return static_cast<uint8_t>(level << 4 | static_cast<int>(comp));
}

absl::StatusOr<uint8_t> CheckAlgo(CheckMethod check) {
  if (check != CheckMethod::kIscsi32 && check != CheckMethod::kXxhash64 &&
      check != CheckMethod::kSha192) {
    return absl::InvalidArgumentError(
        absl::StrCat("check method ", Name(check),
                     " is not legal for data; legal are iscsi32, xxhash64 and sha192"));
  }
  return static_cast<uint8_t>(check);
}

absl::StatusOr<ChangeSettings> SettingsChange(const PfsSettings& settings, const InodeMeta& now) {
  ChangeSettings change;
  if (settings.comp.has_value() || settings.comp_level.has_value()) {
    const CompMethod comp = settings.comp.value_or(now.comp_method());
    const bool same = comp == now.comp_method();
    H2_ASSIGN_OR_RETURN(change.comp_algo,
                        CompAlgo(comp, settings.comp_level.value_or(same ? now.comp_level() : 0)));
  }
  if (settings.check.has_value()) {
    H2_ASSIGN_OR_RETURN(change.check_algo, CheckAlgo(*settings.check));
  }
  change.quota_bytes = settings.quota_bytes;
  return change;
}

}  // namespace

// --- the way of a change
// ------------------------------------------------------------------------------

absl::StatusOr<Volume::Impl::Queued> Volume::Impl::Enqueue(PfsChange::Args args,
                                                           Admission& admission,
                                                           ChangeHooks hooks) {
  const uint64_t space = admission.Keep();
  auto clean = std::make_shared<absl::AnyInvocable<void(const absl::Status&)>>(
      [this, space, clean = std::move(hooks.clean)](const absl::Status& status) mutable {
        freemap->Unreserve(space);
        if (clean) clean(status);
      });
  TransGate::Apply apply(*gate);
  absl::Status status = CheckOpen();
  if (status.ok()) {
    if (hooks.mark) hooks.mark();
    const absl::StatusOr<uint64_t> id = changes->Push(
        {.generation = apply.generation(),
         .args = std::move(args),
         .done = [clean, done = std::move(hooks.done)](const PfsChangeOutcome& outcome) mutable {
           (*clean)(outcome.status);
           std::move(done)(outcome);
         }});
    if (id.ok()) return Queued{*id, apply.Number()};
    status = id.status();
  }
  (*clean)(status);
  return status;
}

absl::Status Volume::Impl::AdmitChange(Admission& admission, size_t roots, absl::Time deadline,
                                       bool frees_space) {
  const Disk::Cost bound{0, roots * kChangeSpace};
  const absl::Status admitted = admission.Admit(
      bound, nullptr, deadline, {.space_reserve = frees_space, .memory_reserve = true});
  if (deadline != absl::InfinitePast() || !absl::IsDeadlineExceeded(admitted)) return admitted;
  return absl::ResourceExhaustedError(
      "the volume is full but for space that is promised; try again");
}

void Volume::Impl::BeginChange(const Queued& queued) {
  commit->SyncTo(queued.seq, [](const absl::StatusOr<SyncResult>&) {});
}

PfsChangeDone Volume::Impl::AnswerInfo(ChangeDone done) {
  return [done = std::move(done)](const PfsChangeOutcome& outcome) mutable {
    if (outcome.status.ok()) {
      std::move(done)(ChangeInfo{outcome.seq, outcome.mirror_tid});
    } else {
      std::move(done)(outcome.status);
    }
  };
}

std::vector<DiskRef> Volume::Impl::MarkRemoving(Pfs& pfs) {
  pfs.set_removing(true);  // first: DiskOf gives no new ones from here on
  std::vector<DiskRef> marked;
  {
    absl::MutexLock lock(&disks_mu);
    for (const auto& [id, disk] : disks) {
      if (id.pfs == pfs.key() && !disk->deleted()) marked.push_back(disk);
    }
  }
  for (const DiskRef& disk : marked) {
    absl::MutexLock lock(&disk->mu());
    disk->MarkDeleted();
  }
  return marked;
}

Volume::Impl::ChangeHooks Volume::Impl::RemovalHooks(Pfs& pfs, PfsChangeDone done) {
  auto marked = std::make_shared<std::vector<DiskRef>>();
  ChangeHooks hooks;
  hooks.mark = [this, &pfs, marked] { *marked = MarkRemoving(pfs); };
  hooks.clean = [&pfs, marked](const absl::Status& status) {
    if (status.ok()) return;
    for (const DiskRef& disk : *marked) disk->UnmarkDeleted();
    pfs.set_removing(false);
  };
  hooks.done = std::move(done);
  return hooks;
}

absl::Status Volume::Impl::CheckNoStaging(const Pfs& pfs) const {
  if (!transactions->HasStagingIn(pfs.key())) return absl::OkStatus();
  return WithReason(
      absl::FailedPreconditionError(absl::StrCat(
          "PFS ", pfs.label(),
          " has disks with staged changes of an open transaction; commit or abort it first")),
      kReasonOpenTransaction);
}

// --- create, delete, settings
// -------------------------------------------------------------------------

absl::StatusOr<Volume::Impl::Queued> Volume::Impl::QueueCreatePfs(const std::string& label,
                                                                  const PfsSettings& settings,
                                                                  absl::Time deadline,
                                                                  ChangeDone done) {
  H2_RETURN_IF_ERROR(CheckWritable());
  H2_RETURN_IF_ERROR(CheckLabel(label));
  InodeData root = NewPfsRootInode(label, Key(0), env.clock->WallNow(), *env.random);
  H2_ASSIGN_OR_RETURN(const ChangeSettings change, SettingsChange(settings, root.meta));
  root.meta.comp_algo = change.comp_algo.value_or(root.meta.comp_algo);
  root.meta.check_algo = change.check_algo.value_or(root.meta.check_algo);
  root.meta.data_quota = change.quota_bytes.value_or(0);
  Admission admission(*this);
  H2_RETURN_IF_ERROR(AdmitChange(admission, 1, deadline, /*frees_space=*/false));
  absl::MutexLock one_change(&names_mu);
  H2_RETURN_IF_ERROR(pfses->Reserve(label));
  return Enqueue(PfsCreation{root}, admission,
                 {.clean = [this, label](const absl::Status&) { pfses->Release(label); },
                  .done = AnswerInfo(std::move(done))});
}

absl::StatusOr<Volume::Impl::Queued> Volume::Impl::QueueDeletePfs(const std::string& label,
                                                                  const DeletePfsOptions& how,
                                                                  absl::Time deadline,
                                                                  ChangeDone done) {
  H2_RETURN_IF_ERROR(CheckWritable());
  Admission admission(*this);
  H2_RETURN_IF_ERROR(AdmitChange(admission, 1, deadline, /*frees_space=*/true));
  absl::MutexLock one_change(&names_mu);
  H2_ASSIGN_OR_RETURN(Pfs* const pfs, pfses->Find(label));
  if (pfs->snapshot() != how.snapshot) {
    return absl::InvalidArgumentError(
        absl::StrCat("PFS ", label, how.snapshot ? " is not a snapshot" : " is a snapshot"));
  }
  if (label == kLocalPfs || label == default_pfs) {
    return absl::FailedPreconditionError(
        absl::StrCat("PFS ", label, " is needed and cannot be deleted"));
  }
  if ((pfs->root().meta().uflags & kUflagHeld) != 0) {
    return WithReason(
        absl::FailedPreconditionError(absl::StrCat(label, " is held; release it first")),
        kReasonHeld);
  }
  if (pfs->leased()) {
    return WithReason(
        absl::FailedPreconditionError(absl::StrCat(label, " is being read as a whole")),
        kReasonSnapshotInUse);
  }
  H2_RETURN_IF_ERROR(CheckNoStaging(*pfs));
  if (!how.force && !how.snapshot) {
    H2_ASSIGN_OR_RETURN(const std::vector<Dirent> entries, names->List(*pfs, Key(0), 1));
    if (!entries.empty()) {
      return WithReason(absl::FailedPreconditionError(absl::StrCat(
                            "PFS ", label, " is not empty; delete its disks, or force it")),
                        kReasonPfsNotEmpty);
    }
  }
  return Enqueue(PfsRemoval{pfs}, admission, RemovalHooks(*pfs, AnswerInfo(std::move(done))));
}

absl::StatusOr<Volume::Impl::Queued> Volume::Impl::QueueSettings(
    const std::string& label, absl::Time deadline, ChangeDone done,
    absl::FunctionRef<absl::StatusOr<ChangeSettings>(const Pfs&)> make) {
  H2_RETURN_IF_ERROR(CheckWritable());
  Admission admission(*this);
  H2_RETURN_IF_ERROR(AdmitChange(admission, 1, deadline, /*frees_space=*/true));
  absl::MutexLock one_change(&names_mu);
  H2_ASSIGN_OR_RETURN(Pfs* const pfs, FindPfs(label));
  H2_ASSIGN_OR_RETURN(ChangeSettings change, make(*pfs));
  change.pfs = pfs;
  return Enqueue(change, admission, {.done = AnswerInfo(std::move(done))});
}

absl::StatusOr<ChangeInfo> Volume::CreatePfs(const std::string& label, const PfsSettings& settings,
                                             const IoOptions& io) {
  return impl_->WaitForChange<ChangeInfo>(
      [&](ChangeDone done) {
        return impl_->QueueCreatePfs(label, settings, io.deadline, std::move(done));
      },
      io.deadline);
}

absl::StatusOr<ChangeInfo> Volume::DeletePfs(const std::string& label, bool force,
                                             const IoOptions& io) {
  return impl_->WaitForChange<ChangeInfo>(
      [&](ChangeDone done) {
        return impl_->QueueDeletePfs(label, {.force = force}, io.deadline, std::move(done));
      },
      io.deadline);
}

void Volume::CreatePfsAsync(const std::string& label, const PfsSettings& settings,
                            ChangeDone done) {
  impl_->RunChange<ChangeInfo>(std::move(done), [&](ChangeDone answer) {
    return impl_->QueueCreatePfs(label, settings, absl::InfinitePast(), std::move(answer));
  });
}

void Volume::DeletePfsAsync(const std::string& label, bool force, ChangeDone done) {
  impl_->RunChange<ChangeInfo>(std::move(done), [&](ChangeDone answer) {
    return impl_->QueueDeletePfs(label, {.force = force}, absl::InfinitePast(), std::move(answer));
  });
}

absl::StatusOr<ChangeInfo> Volume::SetPfs(const std::string& label, const PfsSettings& settings,
                                          const IoOptions& io) {
  return impl_->WaitForChange<ChangeInfo>(
      [&](ChangeDone done) {
        return impl_->QueueSettings(label, io.deadline, std::move(done),
                                    [&](const Pfs& pfs) -> absl::StatusOr<ChangeSettings> {
                                      H2_RETURN_IF_ERROR(impl_->CheckNotSnapshot(pfs));
                                      return SettingsChange(settings, pfs.root().meta());
                                    });
      },
      io.deadline);
}

}  // namespace h2bd
