// Client-visible transactions: staging is core/trans, this is where they meet the disks.
#include <algorithm>
#include <map>

#include "core/volume/volume_impl.h"

namespace h2bd {
namespace {

// What the writes of a transaction to one disk may cost together. Blocks and pages count once,
// however many writes touch them.
class DiskBound {
 public:
  explicit DiskBound(uint64_t disk_size) : disk_size_(disk_size) {}

  void Add(const StagedWrite& write) {
    // A change of the size zeroes what it cuts off.
    if (write.bytes == nullptr) {
      // What is zeroed and written again takes its space again.
      Settle();
      cost_ += Disk::ZeroesBound(disk_size_);
      return;
    }
    const uint64_t end = write.offset + write.length;
    pages_.Add(write.offset / DirtyBlock::kPageBytes, (end - 1) / DirtyBlock::kPageBytes + 1);
    blocks_.Add(write.offset >> kLogicalRadix, ((end - 1) >> kLogicalRadix) + 1);
  }
  Disk::Cost Total() {
    Settle();
    cost_ += Disk::TouchBound();
    return cost_;
  }

 private:
  static uint64_t Count(const IntervalSet& set) {
    uint64_t n = 0;
    for (const auto& [first, last] : set.intervals()) n += last - first;
    return n;
  }
  void Settle() {
    cost_ += Disk::BlocksBound(Count(blocks_), Count(pages_), disk_size_);
    pages_.Clear();
    blocks_.Clear();
  }
  const uint64_t disk_size_;
  IntervalSet pages_, blocks_;
  Disk::Cost cost_;
};

}  // namespace

absl::StatusOr<TxnInfo> Volume::Begin(const TxnOptions& options) {
  H2_RETURN_IF_ERROR(impl_->CheckWritable());
  return impl_->transactions->Begin(options);
}

absl::Status Volume::TxnWrite(TxnId id, const DiskRef& disk, uint64_t offset,
                              std::span<const ConstByteSpan> pieces, const IoOptions&) {
  Impl& v = *impl_;
  uint64_t length = 0;
  for (const ConstByteSpan piece : pieces) length += piece.size();
  H2_RETURN_IF_ERROR(v.CheckLength(length));
  H2_RETURN_IF_ERROR(v.CheckAccepts(*disk, offset, length));
  AlignedBuffer bytes(length);
  size_t at = 0;
  for (const ConstByteSpan piece : pieces) {
    if (!piece.empty()) std::memcpy(bytes.data() + at, piece.data(), piece.size());
    at += piece.size();
  }
  return v.StageWrite(
      id, *disk,
      {disk->id(), offset, length, std::make_shared<const AlignedBuffer>(std::move(bytes))});
}

absl::Status Volume::TxnWriteZeroes(TxnId id, const DiskRef& disk, uint64_t offset, uint64_t length,
                                    const IoOptions&) {
  Impl& v = *impl_;
  H2_RETURN_IF_ERROR(v.CheckAccepts(*disk, offset, length));
  return v.StageWrite(id, *disk, {disk->id(), offset, length, nullptr});
}

absl::Status Volume::Impl::StageWrite(TxnId id, const Disk& disk, StagedWrite write) {
  // Under the lock a plain change is either before the staging or sees it.
  absl::MutexLock lock(&disk.mu());
  H2_ASSIGN_OR_RETURN(const std::optional<uint64_t> size, transactions->StagedSize(id, disk.id()));
  H2_RETURN_IF_ERROR(
      disk.CheckRangeIn(size.value_or(disk.SizeLocked()), write.offset, write.length));
  return transactions->Stage(id, std::move(write));
}

absl::Status Volume::TxnResize(TxnId id, const DiskRef& disk, uint64_t size_bytes,
                               const IoOptions&) {
  Impl& v = *impl_;
  H2_RETURN_IF_ERROR(v.CheckWritable());
  H2_RETURN_IF_ERROR(v.CheckNotSnapshot(disk->pfs()));
  H2_RETURN_IF_ERROR(CheckDiskSize(size_bytes));
  absl::MutexLock lock(&disk->mu());
  H2_RETURN_IF_ERROR(disk->CheckRange(0, 0));
  return v.transactions->StageSize(id, disk->id(), disk->SizeLocked(), size_bytes);
}

absl::Status Volume::TxnRead(TxnId id, const DiskRef& disk, uint64_t offset, ByteSpan into,
                             const IoOptions& options) {
  Impl& v = *impl_;
  H2_RETURN_IF_ERROR(v.CheckLength(into.size()));
  std::vector<StagedWrite> staged;
  uint64_t from = offset;
  ByteSpan committed = into;  // the part that lies in the disk as others see it
  {
    absl::ReaderMutexLock lock(&disk->mu());
    H2_ASSIGN_OR_RETURN(const std::optional<uint64_t> size,
                        v.transactions->StagedSize(id, disk->id()));
    if (size.has_value()) {
      H2_RETURN_IF_ERROR(disk->CheckRangeIn(*size, offset, into.size()));
      from = std::min(offset, disk->SizeLocked());
      committed = into.first(std::min<uint64_t>(into.size(), disk->SizeLocked() - from));
    }
    H2_ASSIGN_OR_RETURN(staged, v.transactions->StagedOn(id, disk->id(), offset, into.size()));
  }
  H2_RETURN_IF_ERROR(Read(disk, from, committed, options));
  // Growth reads as zeroes, as the staged change of the size says.
  const uint64_t end = offset + into.size();
  for (const StagedWrite& write : staged) {
    const uint64_t first = std::max(offset, write.offset);
    const uint64_t last = std::min(end, write.offset + write.length);
    if (first >= last) continue;
    std::byte* const to = into.data() + (first - offset);
    if (write.bytes == nullptr) {
      std::memset(to, 0, last - first);
    } else {
      std::memcpy(to, write.bytes->data() + (first - write.offset), last - first);
    }
  }
  return absl::OkStatus();
}

// Whether each change fits the size that its disk has when its turn comes. The disks are locked.
absl::Status Volume::Impl::CheckInTurn(const std::vector<StagedWrite>& writes,
                                       const TxnDisks& by_id) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  std::map<DiskId, uint64_t> sizes;
  for (const StagedWrite& write : writes) {
    const Disk& disk = *by_id.at(write.disk).ref;
    uint64_t& size = sizes.try_emplace(write.disk, disk.SizeLocked()).first->second;
    if (write.new_size.has_value()) {
      H2_RETURN_IF_ERROR(disk.CheckRangeIn(size, 0, 0));
      size = *write.new_size;
    } else {
      H2_RETURN_IF_ERROR(disk.CheckRangeIn(size, write.offset, write.length));
    }
  }
  return absl::OkStatus();
}

// The locks of several disks are held at once, which the analysis cannot follow.
absl::StatusOr<OpSeq> Volume::Impl::ApplyAll(const std::vector<StagedWrite>& writes,
                                             const TxnDisks& by_id,
                                             std::vector<PreparedWrite>& prepared,
                                             Admission& admission) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  const absl::Duration began = env.clock->MonotonicNow();
  TransGate::Apply apply(*gate);
  H2_RETURN_IF_ERROR(CheckOpen());
  std::vector<std::unique_ptr<absl::MutexLock>> locks;
  for (const auto& [id, disk] : by_id) {
    locks.push_back(std::make_unique<absl::MutexLock>(&disk.ref->mu()));
  }
  const absl::Duration locked = env.clock->MonotonicNow();
  metrics.txn_lock.Observe(locked - began);
  H2_RETURN_IF_ERROR(CheckInTurn(writes, by_id));
  // From here on nothing can fail.
  const absl::Time now = env.clock->WallNow();
  size_t next_prepared = 0;
  for (const StagedWrite& write : writes) {
    const TxnDisk& to = by_id.at(write.disk);
    Disk& disk = *to.ref;
    const Generation generation = apply.generation();
    if (write.new_size.has_value()) {
      admission.Spend(disk, disk.ApplySize(generation, *write.new_size, to.bound_size, now));
    } else if (write.bytes == nullptr) {
      admission.Spend(disk,
                      disk.ApplyZeroes(generation, write.offset, write.length, to.bound_size, now));
    } else {
      admission.Spend(disk,
                      disk.ApplyWrite(generation, prepared[next_prepared++], to.bound_size, now));
    }
  }
  admission.Finish();
  if (by_id.size() > 1) {
    DiskGroup group;
    for (const auto& [id, disk] : by_id) group.push_back(id);
    dirty->Join(apply.generation(), std::move(group));
  }
  const OpSeq seq = apply.Number();
  for (const auto& [id, disk] : by_id) disk.ref->set_last_opseq(seq);
  metrics.txn_apply.Observe(env.clock->MonotonicNow() - locked);
  return seq;
}

absl::StatusOr<Volume::Impl::TxnDisks> Volume::Impl::DisksOf(
    const std::vector<StagedWrite>& writes) {
  TxnDisks by_id;
  for (const StagedWrite& write : writes) {
    TxnDisk& disk = by_id[write.disk];
    if (disk.ref == nullptr) {
      H2_ASSIGN_OR_RETURN(disk.ref, DiskById(write.disk));
      disk.bound_size = disk.ref->size_bytes();
    }
    disk.bound_size = std::max(disk.bound_size, write.new_size.value_or(0));
  }
  return by_id;
}

absl::StatusOr<OpSeq> Volume::Impl::CommitStaged(const std::vector<StagedWrite>& writes,
                                                 absl::Time deadline) {
  H2_RETURN_IF_ERROR(CheckWritable());
  if (writes.empty()) return gate->opseq();
  const absl::Duration began = env.clock->MonotonicNow();
  H2_ASSIGN_OR_RETURN(const TxnDisks by_id, DisksOf(writes));
  std::map<DiskId, DiskBound> bounds;
  std::vector<PreparedWrite> prepared;
  for (const StagedWrite& write : writes) {
    const uint64_t bound_size = by_id.at(write.disk).bound_size;
    bounds.try_emplace(write.disk, bound_size).first->second.Add(write);
  }
  Disk::Cost bound;
  for (auto& [id, of_disk] : bounds) bound += of_disk.Total();
  Admission admission(*this);
  H2_RETURN_IF_ERROR(admission.Admit(bound, /*disk=*/nullptr, deadline));
  for (const StagedWrite& write : writes) {
    if (write.bytes == nullptr) continue;
    const ConstByteSpan bytes = write.bytes->span();
    prepared.emplace_back(write.offset, std::span<const ConstByteSpan>(&bytes, 1));
  }
  metrics.txn_prepare.Observe(env.clock->MonotonicNow() - began);
  return ApplyAll(writes, by_id, prepared, admission);
}

absl::StatusOr<TxnInfo> Volume::Commit(TxnId id, const IoOptions& options) {
  Impl& v = *impl_;
  H2_ASSIGN_OR_RETURN(const std::vector<StagedWrite> writes, v.transactions->Prepare(id));
  const absl::StatusOr<OpSeq> seq = v.CommitStaged(writes, options.deadline);
  if (seq.ok()) return v.transactions->Applied(id, *seq);
  v.transactions->Failed(id);
  return Annotate(seq.status(), "transaction not applied, nothing of it is visible");
}

absl::StatusOr<TxnInfo> Volume::Abort(TxnId id) { return impl_->transactions->Abort(id); }

absl::StatusOr<TxnInfo> Volume::GetTransaction(TxnId id) {
  Impl& v = *impl_;
  H2_ASSIGN_OR_RETURN(
      TxnInfo info, v.transactions->Get(id, v.commit != nullptr ? v.commit->durable() : OpSeq(0)));
  // What is held has missed its cycle.
  if (info.state == TxnState::kDurable && !v.HeldIn({.disks = info.disks}, info.seq).ok()) {
    info.state = TxnState::kApplied;
  }
  return info;
}

}  // namespace h2bd
