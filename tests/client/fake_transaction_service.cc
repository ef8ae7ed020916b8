#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "h2bd/v1/transaction_service.grpc.pb.h"
#include "tests/client/fake_server_state.h"

namespace h2bd {
namespace {

class FakeTransactionService final : public v1::TransactionService::Service {
 public:
  explicit FakeTransactionService(FakeState* state) : s_(*state) {}

  grpc::Status BeginTransaction(grpc::ServerContext* context,
                                const v1::BeginTransactionRequest* request,
                                v1::BeginTransactionResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    s_.request_ids.push_back(request->request_id());
    if (grpc::Status status = s_.Begin(context, "BeginTransaction"); !status.ok()) return status;
    const std::string name = absl::StrCat("transactions/", s_.next_transaction++);
    s_.transactions[name].durability = request->durability();
    Fill(name, s_.transactions[name], response->mutable_transaction());
    return grpc::Status::OK;
  }
  grpc::Status CommitTransaction(grpc::ServerContext* context,
                                 const v1::CommitTransactionRequest* request,
                                 v1::CommitTransactionResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "CommitTransaction"); !status.ok()) return status;
    const auto found = s_.transactions.find(request->name());
    if (found == s_.transactions.end()) return {grpc::StatusCode::NOT_FOUND, "no transaction"};
    for (const FakeStagedChange& write : found->second.writes) {
      if (write.new_size.has_value()) {
        s_.disks[FakeState::Resolve(write.disk)].resize(*write.new_size);
        continue;
      }
      const grpc::Status status = s_.Apply(write.disk, write.offset, write.bytes);
      if (!status.ok()) return status;
    }
    found->second.state = v1::TRANSACTION_STATE_APPLIED;
    const v1::Durability durability = request->durability() != v1::DURABILITY_UNSPECIFIED
                                          ? request->durability()
                                          : found->second.durability;
    if (durability == v1::DURABILITY_DURABLE) {
      s_.durable = s_.disks;
      found->second.state = v1::TRANSACTION_STATE_DURABLE;
    }
    Fill(request->name(), found->second, response->mutable_transaction());
    return s_.End("CommitTransaction");
  }
  grpc::Status AbortTransaction(grpc::ServerContext* context,
                                const v1::AbortTransactionRequest* request,
                                v1::AbortTransactionResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "AbortTransaction"); !status.ok()) return status;
    const auto found = s_.transactions.find(request->name());
    if (found == s_.transactions.end()) return {grpc::StatusCode::NOT_FOUND, "no transaction"};
    if (found->second.state != v1::TRANSACTION_STATE_OPEN) {
      return {grpc::StatusCode::FAILED_PRECONDITION, "committed"};
    }
    found->second.state = v1::TRANSACTION_STATE_ABORTED;
    Fill(request->name(), found->second, response->mutable_transaction());
    return grpc::Status::OK;
  }
  grpc::Status GetTransaction(grpc::ServerContext* context,
                              const v1::GetTransactionRequest* request,
                              v1::GetTransactionResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "GetTransaction"); !status.ok()) return status;
    const auto found = s_.transactions.find(request->name());
    if (found == s_.transactions.end()) return {grpc::StatusCode::NOT_FOUND, "no transaction"};
    Fill(request->name(), found->second, response->mutable_transaction());
    return grpc::Status::OK;
  }

 private:
  void Fill(const std::string& name, const FakeTransaction& txn, v1::Transaction* into)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(s_.mu) {
    into->set_name(name);
    into->set_state(txn.state);
    into->set_seq(s_.seq);
    into->set_writes(static_cast<uint32_t>(txn.writes.size()));
  }
  FakeState& s_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeFakeTransactionService(FakeState* state) {
  return std::make_unique<FakeTransactionService>(state);
}

}  // namespace h2bd
