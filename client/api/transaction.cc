#include <utility>

#include "absl/strings/str_cat.h"
#include "client/api/client.h"
#include "client/api/connection.h"
#include "client/api/convert.h"
#include "client/api/io.h"
#include "client/api/resource_name.h"
#include "core/base/status.h"

namespace h2bd::client {
namespace {

std::string What(absl::string_view verb, const std::string& id) {
  return absl::StrCat(verb, " transaction ", id);
}

absl::Status OutcomeUnknown(const std::string& id, const absl::Status& lost) {
  return WithReason(absl::UnknownError(absl::StrCat("commit of transaction ", id,
                                                    ": the answer was lost (", lost.message(),
                                                    "); it was applied as a whole or not at all")),
                    kReasonOutcomeUnknown);
}

}  // namespace

Transaction::~Transaction() {
  if (connection_ == nullptr || ended_) return;
  // The server ends it by itself once it is idle for too long.
  Abort().IgnoreError();
}

std::string Transaction::resource() const { return TransactionResource(id_); }

absl::Status Transaction::Staged(absl::Status status) {
  if (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status)) doubtful_ = true;
  return status;
}

absl::Status Transaction::Write(const DiskName& disk, uint64_t offset, ConstByteSpan bytes,
                                const CallOptions& options) {
  return Staged(CallWrite(*connection_, {.disk = disk, .offset = offset, .transaction = resource()},
                          bytes, options)
                    .status());
}

absl::Status Transaction::WriteZeroes(const DiskName& disk, uint64_t offset, uint64_t length,
                                      const CallOptions& options) {
  return Staged(CallWriteZeroes(*connection_,
                                {.disk = disk, .offset = offset, .transaction = resource()}, length,
                                options)
                    .status());
}

absl::Status Transaction::Discard(const DiskName& disk, uint64_t offset, uint64_t length,
                                  const CallOptions& options) {
  return Staged(CallDiscard(*connection_,
                            {.disk = disk, .offset = offset, .transaction = resource()}, length,
                            options)
                    .status());
}

absl::Status Transaction::Resize(const DiskName& disk, uint64_t size_bytes,
                                 const CallOptions& options) {
  v1::ResizeDiskRequest request;
  request.set_name(disk.ToResource());
  request.set_size_bytes(size_bytes);
  request.set_transaction(resource());
  v1::ResizeDiskResponse response;
  return Staged(Call(*connection_, *connection_->disks, &v1::DiskService::StubInterface::ResizeDisk,
                     request, &response, options, Repeat::kNever,
                     absl::StrCat("resize disk ", disk.ToString(), " in transaction ", id_)));
}

absl::Status Transaction::Read(const DiskName& disk, uint64_t offset, ByteSpan into,
                               const CallOptions& options) {
  return CallRead(*connection_, {.disk = disk, .offset = offset, .transaction = resource()}, into,
                  options);
}

absl::StatusOr<TransactionInfo> Transaction::Commit(std::optional<Durability> durability,
                                                    const CallOptions& options) {
  if (doubtful_) {
    return absl::AbortedError(
        absl::StrCat(What("commit", id_), ": a staged change was lost on its way"));
  }
  v1::CommitTransactionRequest request;
  request.set_name(resource());
  // Otherwise the server does what Begin has told it.
  if (durability.has_value()) request.set_durability(ToProto(*durability));
  v1::CommitTransactionResponse response;
  const absl::Status status =
      Call(*connection_, *connection_->transactions,
           &v1::TransactionService::StubInterface::CommitTransaction, request, &response, options,
           Repeat::kNever, What("commit", id_));
  if (absl::IsUnavailable(status)) {
    return LostCommit(durability.value_or(durability_), status, options);
  }
  H2_RETURN_IF_ERROR(status);
  ended_ = true;
  return FromProto(response.transaction());
}

// The server may have applied it, or may never have heard of it. An OPEN transaction is not
// committed a second time: the first request could still be under way.
absl::StatusOr<TransactionInfo> Transaction::LostCommit(Durability durability,
                                                        const absl::Status& lost,
                                                        const CallOptions& options) {
  absl::StatusOr<TransactionInfo> info = Get(options);
  if (absl::IsNotFound(info.status())) ended_ = true;
  if (!info.ok()) return OutcomeUnknown(id_, lost);
  switch (info->state) {
    case TransactionState::kDurable:
      ended_ = true;
      return info;
    case TransactionState::kApplied:
      ended_ = true;
      if (durability == Durability::kDurable) {
        H2_RETURN_IF_ERROR(CallSync(*connection_, {.seq = info->seq}, options).status());
        info->state = TransactionState::kDurable;
      }
      return info;
    case TransactionState::kOpen:
    case TransactionState::kAborted:
    case TransactionState::kExpired: {
      // Abort decides the race with a request that may still arrive: after it the transaction
      // cannot be applied.
      const absl::Status aborted = Abort(options);
      if (!aborted.ok()) return OutcomeUnknown(id_, lost);
      return absl::AbortedError(
          absl::StrCat(What("commit", id_), ": not applied, ", lost.message()));
    }
    default:
      return OutcomeUnknown(id_, lost);
  }
}

absl::Status Transaction::Abort(const CallOptions& options) {
  v1::AbortTransactionRequest request;
  request.set_name(resource());
  v1::AbortTransactionResponse response;
  H2_RETURN_IF_ERROR(Call(*connection_, *connection_->transactions,
                          &v1::TransactionService::StubInterface::AbortTransaction, request,
                          &response, options, Repeat::kWhenUnavailable, What("abort", id_)));
  ended_ = true;
  return absl::OkStatus();
}

absl::StatusOr<TransactionInfo> Transaction::Get(const CallOptions& options) {
  v1::GetTransactionRequest request;
  request.set_name(resource());
  v1::GetTransactionResponse response;
  H2_RETURN_IF_ERROR(Call(*connection_, *connection_->transactions,
                          &v1::TransactionService::StubInterface::GetTransaction, request,
                          &response, options, Repeat::kWhenUnavailable, What("get", id_)));
  return FromProto(response.transaction());
}

}  // namespace h2bd::client
