// The operations of a Channel: what each frame makes core do, and who runs it.
#include <limits>

#include "absl/strings/str_cat.h"
#include "server/channel_server.h"
#include "server/resource_names.h"
#include "server/status_map.h"

namespace h2bd {

void ChannelStream::Carry(ChannelFrame frame, Op op) {
  switch (frame.op) {
    case v1::CHANNEL_OP_OPEN:
      return Open(frame, std::move(op));
    case v1::CHANNEL_OP_CLOSE:
      return Close(frame, std::move(op));
    case v1::CHANNEL_OP_READ:
      return Read(std::move(frame), std::move(op));
    case v1::CHANNEL_OP_SYNC:
      return Sync(frame, std::move(op));
    default:
      return Write(std::move(frame), std::move(op));
  }
}

absl::StatusOr<DiskRef> ChannelStream::DiskOf(uint64_t handle) {
  absl::MutexLock lock(&mu_);
  const auto it = handle > std::numeric_limits<uint32_t>::max()
                      ? handles_.end()
                      : handles_.find(static_cast<uint32_t>(handle));
  if (it != handles_.end()) return it->second;
  return absl::InvalidArgumentError(
      absl::StrCat("handle: ", handle, " is not open on this stream"));
}

void ChannelStream::Open(const ChannelFrame& frame, Op op) {
  env_.readers.Schedule([this, name = frame.disk, op = std::move(op)]() mutable {
    const auto open = [&]() -> absl::StatusOr<ChannelAnswer> {
      H2_ASSIGN_OR_RETURN(const DiskName disk, ParseDiskName(name));
      H2_ASSIGN_OR_RETURN(DiskRef ref, env_.volume.OpenDisk(disk));
      const uint64_t size = ref->size_bytes();
      absl::MutexLock lock(&mu_);
      if (handles_.size() >= kMaxHandles) {
        return WithReason(absl::ResourceExhaustedError(absl::StrCat("the stream has ", kMaxHandles,
                                                                    " open handles, the limit")),
                          kReasonTooManyHandles);
      }
      while (next_handle_ == 0 || handles_.contains(next_handle_)) ++next_handle_;
      handles_[next_handle_] = std::move(ref);
      return ChannelAnswer{.handle = next_handle_++, .size_bytes = size};
    };
    absl::StatusOr<ChannelAnswer> answer = open();
    if (!answer.ok()) return Fail(std::move(op), answer.status());
    Answer(std::move(op), *std::move(answer), /*plain=*/false);
  });
}

void ChannelStream::Close(const ChannelFrame& frame, Op op) {
  const absl::StatusOr<DiskRef> disk = DiskOf(frame.handle);
  if (!disk.ok()) return Fail(std::move(op), disk.status());
  {
    absl::MutexLock lock(&mu_);
    handles_.erase(static_cast<uint32_t>(frame.handle));
  }
  Answer(std::move(op), {}, /*plain=*/true);
}

void ChannelStream::Read(ChannelFrame frame, Op op) {
  const absl::StatusOr<DiskRef> disk = DiskOf(frame.handle);
  const absl::Status legal = disk.ok() ? CheckIoLength(frame.length, env_.limits) : disk.status();
  if (!legal.ok()) return Fail(std::move(op), legal);
  env_.readers.Schedule([this, frame = std::move(frame), disk = *disk,
                         op = std::move(op)]() mutable {
    if (cancelled()) return Fail(std::move(op), absl::CancelledError("cancelled by the client"));
    const auto read = [&]() -> absl::StatusOr<grpc::Slice> {
      H2_ASSIGN_OR_RETURN(const std::optional<TxnId> transaction, TransactionOf(frame.transaction));
      return ReadSlice(env_.volume, disk, transaction, frame.offset, frame.length,
                       {.deadline = deadline_});
    };
    absl::StatusOr<grpc::Slice> data = read();
    if (!data.ok()) return Fail(std::move(op), data.status());
    Answer(std::move(op), {.data = *std::move(data)}, /*plain=*/false);
  });
}

absl::StatusOr<Change> ChannelStream::ChangeOf(const ChannelFrame& frame) {
  Change change{.offset = frame.offset, .length = frame.length, .pieces = frame.data.pieces};
  if (frame.op == v1::CHANNEL_OP_WRITE) {
    change.kind = ChangeKind::kWrite;
    H2_RETURN_IF_ERROR(CheckIoLength(frame.data.size, env_.limits));
  } else {
    change.kind =
        frame.op == v1::CHANNEL_OP_DISCARD ? ChangeKind::kDiscard : ChangeKind::kWriteZeroes;
  }
  H2_ASSIGN_OR_RETURN(change.transaction, TransactionOf(frame.transaction));
  H2_RETURN_IF_ERROR(CheckDurability(frame.durability, change.transaction.has_value()));
  H2_ASSIGN_OR_RETURN(change.disk, DiskOf(frame.handle));
  return change;
}

void ChannelStream::Write(ChannelFrame frame, Op op) {
  absl::StatusOr<Change> change = ChangeOf(frame);
  if (!change.ok()) return Fail(std::move(op), change.status());
  env_.metrics.received_payload_bytes.Add(frame.data.size);
  const bool may_run_here =
      change->kind == ChangeKind::kWrite && !env_.volume.WouldWait(change->disk, frame.data.size);
  if (may_run_here) {
    // The deadline is over already: whoever took the memory in the meantime must not make this
    // thread wait.
    const absl::StatusOr<OpSeq> seq =
        Apply(env_.volume, *change, {.deadline = absl::InfinitePast()});
    if (!absl::IsDeadlineExceeded(seq.status())) {
      env_.metrics.inline_writes.Add();
      return Changed(std::move(op), frame.durability, change->disk->id(), seq);
    }
  }
  env_.metrics.handed_over_writes.Add();
  ChangeOnWorker(std::move(frame), *std::move(change), std::move(op));
}

void ChannelStream::ChangeOnWorker(ChannelFrame frame, Change change, Op op) {
  env_.writers.Schedule(
      [this, frame = std::move(frame), change = std::move(change), op = std::move(op)]() mutable {
        // The pieces lie in memory that moved along with the frame.
        change.pieces = frame.data.pieces;
        const absl::StatusOr<OpSeq> seq =
            ApplyUnlessCancelled(env_.volume, change, deadline_, [this] { return cancelled(); });
        Changed(std::move(op), frame.durability, change.disk->id(), seq);
      });
}

void ChannelStream::Changed(Op op, int durability, const DiskId& disk,
                            const absl::StatusOr<OpSeq>& seq) {
  if (!seq.ok()) return Fail(std::move(op), seq.status());
  if (durability != v1::DURABILITY_DURABLE) {
    return Answer(std::move(op), {.seq = seq->v}, /*plain=*/true);
  }
  env_.volume.SyncToAsync(
      *seq, {.disks = {disk}},
      [this, seq = *seq, op = std::move(op)](absl::StatusOr<SyncResult> result) mutable {
        if (!result.ok()) return Fail(std::move(op), result.status());
        Answer(std::move(op), {.seq = seq.v}, /*plain=*/true);
      });
}

void ChannelStream::Sync(const ChannelFrame& frame, Op op) {
  DiskRef disk;  // none: the whole volume
  if (frame.handle != 0) {
    absl::StatusOr<DiskRef> found = DiskOf(frame.handle);
    if (!found.ok()) return Fail(std::move(op), found.status());
    disk = *std::move(found);
  }
  env_.volume.SyncAsync(disk,
                        [this, op = std::move(op)](absl::StatusOr<SyncResult> result) mutable {
                          if (!result.ok()) return Fail(std::move(op), result.status());
                          Answer(std::move(op), {.seq = result->durable_opseq.v}, /*plain=*/false);
                        });
}

}  // namespace h2bd
