// Long operations of a volume.
#include "core/volume/volume_impl.h"

namespace h2bd {

bool Volume::Impl::ClientsWait() const {
  const auto flush_start = static_cast<uint64_t>(static_cast<double>(options.dirty_limit_bytes) *
                                                 options.flush_start_fraction);
  return budget->used() > flush_start || budget->has_waiters() || metrics.reads_running.value() > 0;
}

void Volume::Impl::StartOperations() {
  operations = std::make_unique<Operations>(
      *env.clock, *env.logger,
      OperationsOptions{.manual = options.manual_cycles,
                        .clients_wait = [this] { return ClientsWait(); }});
}

std::string Volume::Impl::NameOfDisk(const std::string& pfs, Inum inum) {
  const absl::StatusOr<Pfs*> found = FindPfs(pfs);
  if (!found.ok()) return "";
  constexpr size_t kAtOnce = 256;
  for (Key from(0);;) {
    // A directory that cannot be read names nothing.
    const auto entries = ListDirents((*found)->root(), *store, from, kAtOnce);
    if (!entries.ok()) return "";
    for (const Dirent& entry : *entries) {
      if (entry.inum == inum) return entry.name;
    }
    if (entries->size() < kAtOnce || entries->back().key.v == UINT64_MAX) return "";
    from = Key(entries->back().key.v + 1);
  }
}

absl::StatusOr<uint64_t> Volume::StartScrub(OperationPace pace) {
  Impl& v = *impl_;
  H2_RETURN_IF_ERROR(v.CheckOpen());
  ScrubParts parts{
      *v.set.devices,  *v.store,
      v.freemap.get(), v.scrub_log,
      *v.env.clock,    [&v](const std::string& pfs, Inum inum) { return v.NameOfDisk(pfs, inum); }};
  return v.operations->Start(std::make_unique<Scrub>(std::move(parts)), pace);
}

ScrubReport Volume::LastScrub() const { return impl_->scrub_log.report(); }

std::vector<OperationInfo> Volume::ListOperations() const { return impl_->operations->List(); }

absl::StatusOr<OperationInfo> Volume::GetOperation(uint64_t id) const {
  return impl_->operations->Get(id);
}

absl::Status Volume::CancelOperation(uint64_t id) { return impl_->operations->Cancel(id); }

absl::Status Volume::SetOperationPace(uint64_t id, OperationPace pace) {
  return impl_->operations->SetPace(id, pace);
}

absl::StatusOr<OperationInfo> Volume::WaitOperation(uint64_t id, const IoOptions& io) {
  return impl_->operations->Wait(id, io.deadline);
}

bool Volume::RunBackgroundStep() { return impl_->operations->RunStep(); }

}  // namespace h2bd
