#include "tests/support/fault_device.h"

#include "absl/strings/str_cat.h"

namespace h2bd {
namespace {

absl::Status Injected(const BlockDevice& device, absl::string_view call) {
  return absl::UnavailableError(absl::StrCat(device.name(), ": injected fault in ", call));
}

}  // namespace

bool FaultPoint::CountLocked() {
  ++calls_;
  return plan_.fail_at != 0 && (plan_.sticky ? calls_ >= plan_.fail_at : calls_ == plan_.fail_at);
}

bool FaultPoint::HitTransfer(bool write, ByteOff off, uint64_t bytes) {
  absl::MutexLock lock(&mu_);
  const bool chosen =
      (write ? plan_.writes : plan_.reads) && off.v < plan_.end && off.v + bytes > plan_.begin;
  return chosen && CountLocked();
}

bool FaultPoint::HitSync() {
  absl::MutexLock lock(&mu_);
  return plan_.syncs && CountLocked();
}

bool FaultPoint::reached() const {
  absl::MutexLock lock(&mu_);
  return plan_.fail_at != 0 && calls_ >= plan_.fail_at;
}

uint64_t FaultPoint::calls() const {
  absl::MutexLock lock(&mu_);
  return calls_;
}

void FaultPoint::Reset(const FaultPlan& plan) {
  absl::MutexLock lock(&mu_);
  plan_ = plan;
  calls_ = 0;
}

FaultPlan::Effect FaultPoint::effect() const {
  absl::MutexLock lock(&mu_);
  return plan_.effect;
}

absl::Status FaultDevice::Read(ByteOff off, ByteSpan into) {
  if (!point_.HitTransfer(/*write=*/false, off, into.size())) return inner_.Read(off, into);
  return Injected(inner_, "Read");
}

absl::Status FaultDevice::Write(ByteOff off, ConstByteSpan from) {
  if (!point_.HitTransfer(/*write=*/true, off, from.size())) return inner_.Write(off, from);
  uint64_t done = 0;
  switch (point_.effect()) {
    case FaultPlan::Effect::kNothing:
      break;
    case FaultPlan::Effect::kShort:
      done = RoundDown(from.size() / 2, sector_bytes());
      break;
    case FaultPlan::Effect::kWhole:
      done = from.size();
      break;
  }
  if (done > 0) H2_RETURN_IF_ERROR(inner_.Write(off, from.first(done)));
  return Injected(inner_, "Write");
}

absl::Status FaultDevice::Sync() {
  if (!point_.HitSync()) return inner_.Sync();
  if (point_.effect() == FaultPlan::Effect::kWhole) H2_RETURN_IF_ERROR(inner_.Sync());
  return Injected(inner_, "Sync");
}

}  // namespace h2bd
