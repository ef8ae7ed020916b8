// What IoService's unary calls and its Channel have in common.
#pragma once

#include <grpcpp/support/slice.h>

#include <optional>
#include <span>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "core/volume/volume.h"
#include "h2bd/v1/durability.pb.h"
#include "server/config.h"

namespace h2bd {

// For the fields of a message beside its payload.
inline constexpr uint64_t kMessageOverheadBytes = 64 * kKiB;

// The most that one Read or Write moves.
uint64_t MaxIoBytes(const LimitsConfig& limits);
// kInvalidArgument when `length` is more than that.
absl::Status CheckIoLength(uint64_t length, const LimitsConfig& limits);

// kInvalidArgument for a number that is no Durability, and for DURABLE within a transaction.
absl::Status CheckDurability(int durability, bool in_transaction);

enum class ChangeKind { kWrite, kWriteZeroes, kDiscard };

// One change of a disk, on its own or staged in a transaction.
struct Change {
  ChangeKind kind = ChangeKind::kWrite;
  DiskRef disk;
  std::optional<TxnId> transaction;
  uint64_t offset = 0;
  uint64_t length = 0;                         // kWriteZeroes, kDiscard
  std::span<const ConstByteSpan> pieces = {};  // kWrite
};

// The number of the change; 0 in a transaction. Errors of Volume::Write and its like.
absl::StatusOr<OpSeq> Apply(Volume& volume, const Change& change, const IoOptions& options);

// Reads into a new slice of `length` bytes.
absl::StatusOr<grpc::Slice> ReadSlice(Volume& volume, const DiskRef& disk,
                                      std::optional<TxnId> transaction, uint64_t offset,
                                      uint64_t length, const IoOptions& options);

// Applies with the caller's deadline and looks once a second whether the caller has gone: core
// cannot be woken by a cancellation, but a call of it that timed out has changed nothing.
absl::StatusOr<OpSeq> ApplyUnlessCancelled(Volume& volume, const Change& change,
                                           absl::Time deadline,
                                           absl::FunctionRef<bool()> cancelled);

// The transaction that a request names; none for "".
absl::StatusOr<std::optional<TxnId>> TransactionOf(const std::string& name);

}  // namespace h2bd
