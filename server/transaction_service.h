// h2bd.v1.TransactionService: translates and calls core/volume.
#pragma once

#include "h2bd/v1/transaction_service.grpc.pb.h"
#include "server/unary_call.h"

namespace h2bd {

class TransactionServiceImpl final : public v1::TransactionService::CallbackService {
 public:
  explicit TransactionServiceImpl(ServiceEnv& env) : env_(env) {}

  grpc::ServerUnaryReactor* BeginTransaction(grpc::CallbackServerContext* context,
                                             const v1::BeginTransactionRequest* request,
                                             v1::BeginTransactionResponse* response) override;
  grpc::ServerUnaryReactor* CommitTransaction(grpc::CallbackServerContext* context,
                                              const v1::CommitTransactionRequest* request,
                                              v1::CommitTransactionResponse* response) override;
  grpc::ServerUnaryReactor* AbortTransaction(grpc::CallbackServerContext* context,
                                             const v1::AbortTransactionRequest* request,
                                             v1::AbortTransactionResponse* response) override;
  grpc::ServerUnaryReactor* GetTransaction(grpc::CallbackServerContext* context,
                                           const v1::GetTransactionRequest* request,
                                           v1::GetTransactionResponse* response) override;

 private:
  ServiceEnv& env_;
};

void ToProto(const TxnInfo& info, v1::Transaction& transaction);

// What one client connection is to the limits of transactions. Peers of unix sockets all look
// alike:
// "", the unknown session.
std::string SessionOf(const std::string& peer);

// kInvalidArgument for a duration that is not legal as such, not positive or not finite.
absl::StatusOr<absl::Duration> TimeoutFromProto(const google::protobuf::Duration& timeout);

}  // namespace h2bd
