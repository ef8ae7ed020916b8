#include "server/transaction_service.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/io_ops.h"
#include "server/proto_time.h"
#include "server/resource_names.h"

namespace h2bd {
namespace {

constexpr int64_t kMaxTimeoutSeconds = 365 * 86400;
constexpr int32_t kNanosPerSecond = 1'000'000'000;

v1::TransactionState ToProto(TxnState state) {
  switch (state) {
    case TxnState::kOpen:
      return v1::TRANSACTION_STATE_OPEN;
    case TxnState::kPreparing:
      return v1::TRANSACTION_STATE_PREPARING;
    case TxnState::kApplied:
      return v1::TRANSACTION_STATE_APPLIED;
    case TxnState::kDurable:
      return v1::TRANSACTION_STATE_DURABLE;
    case TxnState::kAborted:
      return v1::TRANSACTION_STATE_ABORTED;
    case TxnState::kExpired:
      return v1::TRANSACTION_STATE_EXPIRED;
  }
  return v1::TRANSACTION_STATE_UNSPECIFIED;
}

absl::Status Begin(Volume& volume, const v1::BeginTransactionRequest& request,
                   const std::string& peer, v1::BeginTransactionResponse& response) {
  TxnOptions options;
  if (request.has_timeout()) {
    H2_ASSIGN_OR_RETURN(options.timeout, TimeoutFromProto(request.timeout()));
  }
  options.label = request.label();
  options.session = SessionOf(peer);
  options.exclusive = request.exclusive();
  H2_RETURN_IF_ERROR(CheckDurability(request.durability(), /*in_transaction=*/false));
  options.durable = request.durability() == v1::DURABILITY_DURABLE;
  H2_ASSIGN_OR_RETURN(const TxnInfo info, volume.Begin(options));
  ToProto(info, *response.mutable_transaction());
  return absl::OkStatus();
}

// Abort and Get.
template <class Response>
absl::Status Ask(const std::string& name, Response& response,
                 absl::FunctionRef<absl::StatusOr<TxnInfo>(TxnId)> ask) {
  H2_ASSIGN_OR_RETURN(const TxnId id, ParseTransactionName(name));
  H2_ASSIGN_OR_RETURN(const TxnInfo info, ask(id));
  ToProto(info, *response.mutable_transaction());
  return absl::OkStatus();
}

absl::StatusOr<TxnInfo> Commit(Volume& volume, const v1::CommitTransactionRequest& request,
                               absl::Time deadline) {
  H2_ASSIGN_OR_RETURN(const TxnId id, ParseTransactionName(request.name()));
  H2_RETURN_IF_ERROR(CheckDurability(request.durability(), /*in_transaction=*/false));
  return volume.Commit(id, {.deadline = deadline});
}

bool IsToBeDurable(v1::Durability asked, const TxnInfo& info) {
  return asked == v1::DURABILITY_UNSPECIFIED ? info.durable_by_default
                                             : asked == v1::DURABILITY_DURABLE;
}

}  // namespace

void ToProto(const TxnInfo& info, v1::Transaction& transaction) {
  transaction.set_name(FormatTransactionName(info.id));
  transaction.set_state(ToProto(info.state));
  transaction.set_seq(info.seq.v);
  transaction.set_staged_bytes(info.staged_bytes);
  transaction.set_writes(info.writes);
  transaction.set_durability(info.durable_by_default ? v1::DURABILITY_DURABLE
                                                     : v1::DURABILITY_ACCEPTED);
  if (info.state == TxnState::kOpen) {
    ToProto(info.expires_in, *transaction.mutable_expires_in());
  }
}

std::string SessionOf(const std::string& peer) {
  return absl::StartsWith(peer, "unix") ? "" : peer;
}

absl::StatusOr<absl::Duration> TimeoutFromProto(const google::protobuf::Duration& timeout) {
  const bool legal = timeout.seconds() >= 0 && timeout.seconds() <= kMaxTimeoutSeconds &&
                     timeout.nanos() >= 0 && timeout.nanos() < kNanosPerSecond &&
                     (timeout.seconds() > 0 || timeout.nanos() > 0);
  if (legal) return absl::Seconds(timeout.seconds()) + absl::Nanoseconds(timeout.nanos());
  return absl::InvalidArgumentError(
      absl::StrCat("timeout: ", timeout.seconds(), " s and ", timeout.nanos(),
                   " ns; legal: more than 0, at most the server's limit"));
}

grpc::ServerUnaryReactor* TransactionServiceImpl::BeginTransaction(
    grpc::CallbackServerContext* context, const v1::BeginTransactionRequest* request,
    v1::BeginTransactionResponse* response) {
  return RunOnce(env_, Method::kBeginTransaction, *context, *request, *response,
                 [this, request, response, peer = context->peer()] {
                   return Begin(env_.volume, *request, peer, *response);
                 });
}

grpc::ServerUnaryReactor* TransactionServiceImpl::CommitTransaction(
    grpc::CallbackServerContext* context, const v1::CommitTransactionRequest* request,
    v1::CommitTransactionResponse* response) {
  return UnaryCall::Start(
      env_, Method::kCommitTransaction, *context, 0, env_.writers,
      [this, request, response](UnaryCall& call) {
        const absl::StatusOr<TxnInfo> info = Commit(env_.volume, *request, call.deadline());
        if (!info.ok()) return call.Finish(info.status());
        ToProto(*info, *response->mutable_transaction());
        if (!IsToBeDurable(request->durability(), *info)) return call.Finish(absl::OkStatus());
        env_.volume.SyncToAsync(
            info->seq, {.disks = info->disks},
            [&call, response](absl::StatusOr<SyncResult> result) {
              response->mutable_transaction()->set_state(v1::TRANSACTION_STATE_DURABLE);
              call.Finish(result.status());
            });
      });
}

grpc::ServerUnaryReactor* TransactionServiceImpl::AbortTransaction(
    grpc::CallbackServerContext* context, const v1::AbortTransactionRequest* request,
    v1::AbortTransactionResponse* response) {
  return RunUnary(env_, Method::kAbortTransaction, *context, [this, request, response](UnaryCall&) {
    return Ask(request->name(), *response, [this](TxnId id) { return env_.volume.Abort(id); });
  });
}

grpc::ServerUnaryReactor* TransactionServiceImpl::GetTransaction(
    grpc::CallbackServerContext* context, const v1::GetTransactionRequest* request,
    v1::GetTransactionResponse* response) {
  return RunUnary(env_, Method::kGetTransaction, *context, [this, request, response](UnaryCall&) {
    return Ask(request->name(), *response,
               [this](TxnId id) { return env_.volume.GetTransaction(id); });
  });
}

}  // namespace h2bd
