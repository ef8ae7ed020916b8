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
