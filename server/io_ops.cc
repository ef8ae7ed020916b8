#include "server/io_ops.h"

#include <grpc/slice.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/resource_names.h"

namespace h2bd {
namespace {

constexpr absl::Duration kCancellationCheck = absl::Seconds(1);

absl::StatusOr<OpSeq> Stage(Volume& volume, const Change& change, const IoOptions& options) {
  // A discarded range reads as zeros, and so does a staged one.
  const absl::Status status =
      change.kind == ChangeKind::kWrite
          ? volume.TxnWrite(*change.transaction, change.disk, change.offset, change.pieces, options)
          : volume.TxnWriteZeroes(*change.transaction, change.disk, change.offset, change.length,
                                  options);
  if (!status.ok()) return status;
  return OpSeq(0);
}

}  // namespace

uint64_t MaxIoBytes(const LimitsConfig& limits) {
  return std::min(Volume::kMaxIoBytes, limits.max_message_bytes - kMessageOverheadBytes);
}

absl::Status CheckIoLength(uint64_t length, const LimitsConfig& limits) {
  if (length <= MaxIoBytes(limits)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("length: ", length, " bytes in one call; legal: at most ", MaxIoBytes(limits)));
}

absl::Status CheckDurability(int durability, bool in_transaction) {
  if (!v1::Durability_IsValid(durability)) {
    return absl::InvalidArgumentError(absl::StrCat("durability: ", durability, "; legal: 0 to 2"));
  }
  if (in_transaction && durability == v1::DURABILITY_DURABLE) {
    return absl::InvalidArgumentError(
        "durability: DURABLE within a transaction; legal: with CommitTransaction");
  }
  return absl::OkStatus();
}

absl::StatusOr<OpSeq> Apply(Volume& volume, const Change& change, const IoOptions& options) {
  if (change.transaction.has_value()) return Stage(volume, change, options);
  switch (change.kind) {
    case ChangeKind::kWrite:
      return volume.Write(change.disk, change.offset, change.pieces, options);
    case ChangeKind::kWriteZeroes:
      return volume.WriteZeroes(change.disk, change.offset, change.length, options);
    case ChangeKind::kDiscard:
      return volume.Discard(change.disk, change.offset, change.length, options);
  }
  return absl::InternalError("unknown kind of change");
}

absl::StatusOr<grpc::Slice> ReadSlice(Volume& volume, const DiskRef& disk,
                                      std::optional<TxnId> transaction, uint64_t offset,
                                      uint64_t length, const IoOptions& options) {
  grpc::Slice slice(grpc_slice_malloc(length), grpc::Slice::STEAL_REF);
  // Nobody else has the slice yet, so it may be written.
  const ByteSpan into(reinterpret_cast<std::byte*>(const_cast<uint8_t*>(slice.begin())), length);
  H2_RETURN_IF_ERROR(transaction.has_value()
                         ? volume.TxnRead(*transaction, disk, offset, into, options)
                         : volume.Read(disk, offset, into, options));
  return slice;
}

absl::StatusOr<OpSeq> ApplyUnlessCancelled(Volume& volume, const Change& change,
                                           absl::Time deadline,
                                           absl::FunctionRef<bool()> cancelled) {
  for (;;) {
    if (cancelled()) return absl::CancelledError("cancelled by the client");
    const absl::Time next_check = absl::Now() + kCancellationCheck;
    absl::StatusOr<OpSeq> seq = Apply(volume, change, {.deadline = std::min(deadline, next_check)});
    if (!absl::IsDeadlineExceeded(seq.status()) || deadline <= next_check) return seq;
  }
}

absl::StatusOr<std::optional<TxnId>> TransactionOf(const std::string& name) {
  if (name.empty()) return std::optional<TxnId>();
  H2_ASSIGN_OR_RETURN(const TxnId id, ParseTransactionName(name));
  return std::optional<TxnId>(id);
}

}  // namespace h2bd
