// What the services of FakeServer share, and how it makes them. For FakeServer only.
#pragma once

#include <grpcpp/grpcpp.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "h2bd/v1/io_service.pb.h"
#include "h2bd/v1/transaction_service.pb.h"

namespace h2bd {

struct FakeStagedChange {
  std::string disk;
  uint64_t offset = 0;
  std::string bytes;
  std::optional<uint64_t> new_size = std::nullopt;
};

struct FakeTransaction {
  v1::TransactionState state = v1::TRANSACTION_STATE_OPEN;
  v1::Durability durability = v1::DURABILITY_UNSPECIFIED;
  std::vector<FakeStagedChange> writes;
};

struct FakeFrameFault {
  int times = 0;
  grpc::Status status;
  std::string reason;
};

// All that the services share.
struct FakeState {
  absl::Mutex mu;
  // By resource name.
  std::map<std::string, std::string> disks ABSL_GUARDED_BY(mu);
  std::map<std::string, std::string> durable ABSL_GUARDED_BY(mu);
  std::map<std::string, std::string> created_by ABSL_GUARDED_BY(mu);  // request id -> disk
  std::map<std::string, FakeTransaction> transactions ABSL_GUARDED_BY(mu);
  uint64_t seq ABSL_GUARDED_BY(mu) = 0;
  int instance ABSL_GUARDED_BY(mu) = 1;
  int next_transaction ABSL_GUARDED_BY(mu) = 1;

  // What it was told to do, by the name of the method, or by the offset of a frame.
  std::map<std::string, std::vector<grpc::Status>> failures ABSL_GUARDED_BY(mu);
  std::map<std::string, int> lost ABSL_GUARDED_BY(mu);
  std::map<uint64_t, FakeFrameFault> frame_faults ABSL_GUARDED_BY(mu);
  bool send_instance ABSL_GUARDED_BY(mu) = true;
  std::optional<uint64_t> order_seed ABSL_GUARDED_BY(mu);
  int break_after ABSL_GUARDED_BY(mu) = -1;
  int break_unanswered ABSL_GUARDED_BY(mu) = 0;
  int cumulative ABSL_GUARDED_BY(mu) = 1;

  // What it has seen.
  std::map<std::string, int> calls ABSL_GUARDED_BY(mu);
  std::vector<std::string> request_ids ABSL_GUARDED_BY(mu);
  std::vector<v1::ChannelRequest> frames ABSL_GUARDED_BY(mu);

  // Counts the call; the status that it shall fail with.
  grpc::Status Begin(grpc::ServerContext* context, const std::string& method)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  // How the call ends that has taken effect.
  grpc::Status End(const std::string& method) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  // With the default PFS's name in place of "-".
  static std::string Resolve(const std::string& name);
  grpc::Status Apply(const std::string& name, uint64_t offset, const std::string& bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
};

// Each on `state`, which must outlive it.
std::unique_ptr<grpc::Service> MakeFakeDiskService(FakeState* state);
std::unique_ptr<grpc::Service> MakeFakeIoService(FakeState* state);
std::unique_ptr<grpc::Service> MakeFakeTransactionService(FakeState* state);
std::unique_ptr<grpc::Service> MakeFakeVolumeService(FakeState* state);

}  // namespace h2bd
