// Reads, writes, zeroes and Sync.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/volume/volume_impl.h"

namespace h2bd {
namespace {

// Part of the dirty limit that a held disk may fill.
constexpr uint64_t kHeldDiskShare = 16;

SyncScope ScopeOf(const DiskRef& disk) {
  SyncScope scope;
  if (disk != nullptr) scope.disks.push_back(disk->id());
  return scope;
}

}  // namespace

Volume::Impl::Admission::~Admission() {
  if (memory_ > 0) volume_.budget->Release(static_cast<uint64_t>(memory_));
  if (space_ > 0) volume_.freemap->Unreserve(space_);
}

absl::Status Volume::Impl::Admission::Admit(const Disk::Cost& bound, const Disk* disk,
                                            absl::Time deadline, Privileges privileges) {
  const auto memory = static_cast<uint64_t>(bound.memory_bytes);
  if (privileges.memory_reserve) {
    volume_.budget->ChargeUnchecked(memory);
  } else {
    H2_RETURN_IF_ERROR(volume_.budget->Charge(memory, deadline,
                                              disk == nullptr ? nullptr : &disk->memory_account()));
  }
  memory_ = bound.memory_bytes;
  H2_RETURN_IF_ERROR(ReserveSpace(bound.reserved_bytes, deadline, privileges.space_reserve));
  space_ = bound.reserved_bytes;
  return absl::OkStatus();
}

absl::Status Volume::Impl::Admission::ReserveSpace(uint64_t bytes, absl::Time deadline,
                                                   bool from_reserve) {
  // Promises to unflushed writes are worst cases; a cycle turns them into what was really needed.
  // One that is running already does, too.
  constexpr int kCyclesMax = 3;
  for (int cycles = 0; !volume_.freemap->TryReserve(bytes, from_reserve); ++cycles) {
    const OpSeq applied = volume_.gate->opseq();
    // Where cycles are run by hand nobody would run the one to wait for.
    const bool by_hand = volume_.options.manual_cycles && !volume_.options.sync_runs_cycle;
    if (cycles == kCyclesMax || by_hand || applied <= volume_.commit->durable()) {
      return VolumeIsFull(bytes);
    }
    const absl::Duration began = volume_.env.clock->MonotonicNow();
    const absl::Status relieved = volume_.WaitFor(applied, deadline).status();
    volume_.metrics.space_waits.Observe(volume_.env.clock->MonotonicNow() - began);
    H2_RETURN_IF_ERROR(relieved);
  }
  return absl::OkStatus();
}

absl::Status Volume::Impl::Admission::VolumeIsFull(uint64_t bytes) const {
  const SpaceUsage space = volume_.freemap->usage();
  return absl::ResourceExhaustedError(absl::StrFormat(
      "the volume is full: this change may need %s, %s are free of %s (%s of them promised, and a "
      "reserve is kept for deletes)",
      FormatBytes(bytes), FormatBytes(space.free_bytes), FormatBytes(space.total_bytes),
      FormatBytes(space.reserved_bytes)));
}

void Volume::Impl::Admission::Spend(Disk& disk, const Disk::Cost& cost) {
  volume_.budget->Attribute(disk.memory_account(), cost.memory_bytes);
  memory_ -= cost.memory_bytes;
  H2_ASSERT(cost.reserved_bytes <= space_);
  space_ -= cost.reserved_bytes;
}

void Volume::Impl::Admission::Finish() {
  H2_ASSERT(memory_ >= 0);
  volume_.budget->Release(static_cast<uint64_t>(std::exchange(memory_, 0)));
  volume_.freemap->Unreserve(std::exchange(space_, 0));
}

absl::Status Volume::Impl::CheckLength(uint64_t length) const {
  if (length <= kMaxIoBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("length %d is not legal; legal are 0 to %d", length, kMaxIoBytes));
}

absl::Status Volume::Impl::CheckNotSnapshot(const Pfs& pfs) const {
  if (!pfs.snapshot()) return absl::OkStatus();
  return WithReason(absl::FailedPreconditionError(
                        absl::StrCat("PFS ", pfs.label(), " is a snapshot and does not change")),
                    kReasonReadOnly);
}

absl::Status Volume::Impl::CheckChange(const Disk& disk, uint64_t offset, uint64_t length) const {
  H2_RETURN_IF_ERROR(CheckAccepts(disk, offset, length));
  absl::ReaderMutexLock lock(&disk.mu());
  return disk.CheckRange(offset, length);
}

absl::Status Volume::Impl::CheckAccepts(const Disk& disk, uint64_t offset, uint64_t length) const {
  H2_RETURN_IF_ERROR(CheckWritable());
  H2_RETURN_IF_ERROR(CheckNotSnapshot(disk.pfs()));
  // What a held disk takes stays in memory until it is repaired. It must not take all of it.
  const bool repairs = offset % kLogicalBytes == 0 && length % kLogicalBytes == 0;
  if (!repairs && disk.dirty_bytes() + length > budget->limit() / kHeldDiskShare) {
    H2_RETURN_IF_ERROR(
        Annotate(HeldIn({.disks = {disk.id()}}, gate->opseq()),
                 "the disk is held, has taken what fits, and takes only whole 64 KiB blocks now"));
  }
  return absl::OkStatus();
}

absl::StatusOr<OpSeq> Volume::Write(const DiskRef& disk, uint64_t offset,
                                    std::span<const ConstByteSpan> pieces,
                                    const IoOptions& options) {
  Impl& v = *impl_;
  const absl::Duration began = v.env.clock->MonotonicNow();
  uint64_t length = 0;
  for (const ConstByteSpan piece : pieces) length += piece.size();
  H2_RETURN_IF_ERROR(v.CheckLength(length));
  H2_RETURN_IF_ERROR(v.CheckChange(*disk, offset, length));
  if (length == 0) return disk->last_opseq();
  H2_RETURN_IF_ERROR(v.transactions->CheckPlainChange(disk->id(), offset, length));
  Impl::Admission admission(v);
  const uint64_t bound_size = disk->size_bytes();
  H2_RETURN_IF_ERROR(
      admission.Admit(Disk::WriteBound(offset, length, bound_size), disk.get(), options.deadline));
  PreparedWrite write(offset, pieces);
  OpSeq seq;
  {
    TransGate::Apply apply(*v.gate);
    H2_RETURN_IF_ERROR(v.CheckOpen());
    absl::MutexLock lock(&disk->mu());
    // Again: it may have been deleted or shrunk while this call waited, or staged on.
    H2_RETURN_IF_ERROR(disk->CheckRange(offset, length));
    H2_RETURN_IF_ERROR(v.transactions->CheckPlainChange(disk->id(), offset, length));
    admission.Spend(
        *disk, disk->ApplyWrite(apply.generation(), write, bound_size, v.env.clock->WallNow()));
    seq = apply.Number();
    disk->set_last_opseq(seq);
  }
  admission.Finish();
  v.metrics.write_ops.Add();
  v.metrics.write_bytes.Add(length);
  v.metrics.write_latency.Observe(v.env.clock->MonotonicNow() - began);
  return seq;
}

bool Volume::WouldWait(const DiskRef& disk, uint64_t bytes) const {
  return impl_->budget->WouldWait(bytes + 2 * kLogicalBytes, &disk->memory_account());
}

absl::StatusOr<OpSeq> Volume::WriteZeroes(const DiskRef& disk, uint64_t offset, uint64_t length,
                                          const IoOptions& options) {
  Impl& v = *impl_;
  H2_RETURN_IF_ERROR(v.CheckChange(*disk, offset, length));
  if (length == 0) return disk->last_opseq();
  H2_RETURN_IF_ERROR(v.transactions->CheckPlainChange(disk->id(), offset, length));
  Impl::Admission admission(v);
  const uint64_t bound_size = disk->size_bytes();
  H2_RETURN_IF_ERROR(admission.Admit(Disk::ZeroesBound(bound_size), disk.get(), options.deadline,
                                     {.space_reserve = true,
                                      // What may heal a held disk must not wait for what it holds.
                                      .memory_reserve = v.flusher->held().contains(disk->id())}));
  TransGate::Apply apply(*v.gate);
  H2_RETURN_IF_ERROR(v.CheckOpen());
  absl::MutexLock lock(&disk->mu());
  H2_RETURN_IF_ERROR(disk->CheckRange(offset, length));
  H2_RETURN_IF_ERROR(v.transactions->CheckPlainChange(disk->id(), offset, length));
  admission.Spend(*disk, disk->ApplyZeroes(apply.generation(), offset, length, bound_size,
                                           v.env.clock->WallNow()));
  admission.Finish();
  const OpSeq seq = apply.Number();
  disk->set_last_opseq(seq);
  v.metrics.zero_ops.Add();
  return seq;
}

absl::StatusOr<OpSeq> Volume::Discard(const DiskRef& disk, uint64_t offset, uint64_t length,
                                      const IoOptions& options) {
  return WriteZeroes(disk, offset, length, options);
}

absl::Status Volume::Read(const DiskRef& disk, uint64_t offset, ByteSpan into,
                          const IoOptions& options) {
  Impl& v = *impl_;
  const absl::Duration began = v.env.clock->MonotonicNow();
  H2_RETURN_IF_ERROR(v.CheckOpen());
  H2_RETURN_IF_ERROR(v.CheckLength(into.size()));
  if (v.env.clock->WallNow() >= options.deadline) {
    return absl::DeadlineExceededError("the deadline passed before the read began");
  }
  v.metrics.reads_running.Add(1);
  const absl::Status read = disk->Read(offset, into);
  v.metrics.reads_running.Add(-1);
  H2_RETURN_IF_ERROR(Annotate(
      read, absl::StrFormat("disk inode %d of PFS %s", disk->id().inum.v, disk->pfs().label())));
  v.metrics.read_ops.Add();
  v.metrics.read_bytes.Add(into.size());
  v.metrics.read_latency.Observe(v.env.clock->MonotonicNow() - began);
  return absl::OkStatus();
}

OpSeq Volume::Impl::SyncTarget(const DiskRef& disk) const {
  return disk != nullptr ? disk->last_opseq() : gate->opseq();
}

absl::StatusOr<SyncResult> Volume::Impl::WaitFor(OpSeq target, absl::Time deadline, bool fresh) {
  // Outlives this call when the deadline passes: the cycle goes on and answers into it.
  struct Answer {
    absl::Mutex mu;
    std::optional<absl::StatusOr<SyncResult>> result ABSL_GUARDED_BY(mu);
  };
  auto answer = std::make_shared<Answer>();
  const auto done = [answer](absl::StatusOr<SyncResult> result) {
    absl::MutexLock lock(&answer->mu);
    answer->result = std::move(result);
  };
  commit->SyncTo(target, done, fresh);
  absl::MutexLock lock(&answer->mu);
  const bool answered = answer->mu.AwaitWithDeadline(
      absl::Condition(
          +[](Answer* a) ABSL_EXCLUSIVE_LOCKS_REQUIRED(a->mu) { return a->result.has_value(); },
          answer.get()),
      deadline);
  if (!answered) {
    return absl::DeadlineExceededError(
        "the deadline passed before the data was durable; the cycle goes on");
  }
  return *std::move(answer->result);
}

absl::Status Volume::Impl::HeldIn(const SyncScope& scope, OpSeq seq) const {
  const HeldDisks& held = flusher->held();
  if (!scope.disks.empty()) return held.WhyAmong(scope.disks, seq);
  return scope.pfs.has_value() ? held.WhyIn(*scope.pfs, seq) : held.WhyAny(seq);
}

absl::StatusOr<SyncResult> Volume::Impl::SyncAndWait(OpSeq target, const SyncScope& scope,
                                                     absl::Time deadline) {
  H2_RETURN_IF_ERROR(CheckSyncs());
  const bool held = !HeldIn(scope, target).ok();
  H2_ASSIGN_OR_RETURN(const SyncResult result, WaitFor(target, deadline, /*fresh=*/held));
  H2_RETURN_IF_ERROR(HeldIn(scope, target));
  return result;
}

absl::StatusOr<SyncResult> Volume::Sync(const DiskRef& disk, const IoOptions& options) {
  return impl_->SyncAndWait(impl_->SyncTarget(disk), ScopeOf(disk), options.deadline);
}

absl::StatusOr<SyncResult> Volume::SyncTo(OpSeq seq, const IoOptions& options) {
  return impl_->SyncAndWait(std::min(seq, impl_->gate->opseq()), {}, options.deadline);
}

void Volume::SyncAsync(const DiskRef& disk, SyncDone done) {
  SyncToAsync(impl_->SyncTarget(disk), ScopeOf(disk), std::move(done));
}

void Volume::SyncPfsAsync(const std::string& pfs_label, SyncDone done) {
  const absl::StatusOr<Pfs*> pfs = impl_->FindPfs(pfs_label);
  if (!pfs.ok()) {
    std::move(done)(pfs.status());
    return;
  }
  SyncToAsync((*pfs)->last_opseq(), {.pfs = (*pfs)->key()}, std::move(done));
}

void Volume::SyncToAsync(OpSeq seq, SyncScope scope, SyncDone done) {
  const absl::Status syncs = impl_->CheckSyncs();
  if (!syncs.ok()) {
    std::move(done)(syncs);
    return;
  }
  const OpSeq target = std::min(seq, impl_->gate->opseq());
  const bool held = !impl_->HeldIn(scope, target).ok();
  impl_->commit->SyncTo(
      target,
      [this, target, scope = std::move(scope),
       done = std::move(done)](absl::StatusOr<SyncResult> result) mutable {
        const absl::Status why = result.ok() ? impl_->HeldIn(scope, target) : absl::OkStatus();
        if (why.ok()) {
          std::move(done)(std::move(result));
        } else {
          std::move(done)(why);
        }
      },
      /*fresh=*/held);
}

}  // namespace h2bd
