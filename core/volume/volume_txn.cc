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
  H2_RETURN_IF_ERROR(v.CheckChange(*disk, offset, length));
  AlignedBuffer bytes(length);
  size_t at = 0;
  for (const ConstByteSpan piece : pieces) {
    if (!piece.empty()) std::memcpy(bytes.data() + at, piece.data(), piece.size());
    at += piece.size();
  }
  // Under the lock a plain change is either before the staging or sees it.
  absl::MutexLock lock(&disk->mu());
  return v.transactions->Stage(
      id, StagedWrite{disk->id(), offset, length,
                      std::make_shared<const AlignedBuffer>(std::move(bytes))});
}

absl::Status Volume::TxnWriteZeroes(TxnId id, const DiskRef& disk, uint64_t offset, uint64_t length,
                                    const IoOptions&) {
  Impl& v = *impl_;
  H2_RETURN_IF_ERROR(v.CheckChange(*disk, offset, length));
  absl::MutexLock lock(&disk->mu());
  return v.transactions->Stage(id, StagedWrite{disk->id(), offset, length, nullptr});
}

absl::Status Volume::TxnRead(TxnId id, const DiskRef& disk, uint64_t offset, ByteSpan into,
                             const IoOptions& options) {
  H2_ASSIGN_OR_RETURN(const std::vector<StagedWrite> staged,
                      impl_->transactions->StagedOn(id, disk->id(), offset, into.size()));
  H2_RETURN_IF_ERROR(Read(disk, offset, into, options));
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
  for (const StagedWrite& write : writes) {
    H2_RETURN_IF_ERROR(by_id.at(write.disk).ref->CheckRange(write.offset, write.length));
  }
  // From here on nothing can fail.
  const absl::Time now = env.clock->WallNow();
  size_t next_prepared = 0;
  for (const StagedWrite& write : writes) {
    const TxnDisk& disk = by_id.at(write.disk);
    admission.Spend(*disk.ref,
                    write.bytes != nullptr
                        ? disk.ref->ApplyWrite(apply.generation(), prepared[next_prepared++],
                                               disk.bound_size, now)
                        : disk.ref->ApplyZeroes(apply.generation(), write.offset, write.length,
                                                disk.bound_size, now));
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

absl::StatusOr<OpSeq> Volume::Impl::CommitStaged(const std::vector<StagedWrite>& writes,
                                                 absl::Time deadline) {
  H2_RETURN_IF_ERROR(CheckWritable());
  if (writes.empty()) return gate->opseq();
  const absl::Duration began = env.clock->MonotonicNow();
  TxnDisks by_id;  // in the order of locking
  std::map<DiskId, DiskBound> bounds;
  std::vector<PreparedWrite> prepared;
  for (const StagedWrite& write : writes) {
    TxnDisk& disk = by_id[write.disk];
    if (disk.ref == nullptr) {
      H2_ASSIGN_OR_RETURN(disk.ref, DiskById(write.disk));
      disk.bound_size = disk.ref->size_bytes();
    }
    bounds.try_emplace(write.disk, disk.bound_size).first->second.Add(write);
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
