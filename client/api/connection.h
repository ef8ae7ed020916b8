// What all parts of the client share: the channel, how to call it, and how its answers become
// Statuses. Not for users of the library.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/api/restart_watch.h"
#include "client/api/types.h"
#include "core/base/status.h"
#include "h2bd/v1/disk_service.grpc.pb.h"
#include "h2bd/v1/io_service.grpc.pb.h"
#include "h2bd/v1/transaction_service.grpc.pb.h"
#include "h2bd/v1/volume_service.grpc.pb.h"

namespace h2bd::client {

struct Connection {
  ConnectOptions options;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::DiskService::StubInterface> disks;
  std::unique_ptr<v1::IoService::StubInterface> io;
  std::unique_ptr<v1::TransactionService::StubInterface> transactions;
  std::unique_ptr<v1::VolumeService::StubInterface> volume;
  RestartWatch restarts;
};

absl::StatusOr<std::shared_ptr<Connection>> MakeConnection(const ConnectOptions& options);

// The code, the message, and as reason that of the google.rpc.ErrorInfo in the details.
absl::Status FromGrpc(const grpc::Status& status);

// The text that the answering server process has sent as kInstanceKey, "" without. Only after the
// call, or for a stream after its first answer.
std::string InstanceOf(const grpc::ClientContext& context);

absl::Time DeadlineOf(const Connection& connection, const CallOptions& options);

// A fresh request id.
std::string NewRequestId(const Connection& connection);

enum class Repeat { kNever, kWhenUnavailable };

// One unary call with its repetitions. `what` leads the message of an error. `instance`, where
// given, gets InstanceOf the answer.
template <class Stub, class Request, class Response>
absl::Status Call(const Connection& connection, Stub& stub,
                  grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                  const Request& request, Response* response, const CallOptions& options,
                  Repeat repeat, absl::string_view what, std::string* instance = nullptr) {
  const absl::Time deadline = DeadlineOf(connection, options);
  RetryPolicy policy = connection.options.retry;
  if (repeat == Repeat::kNever) policy.attempts_max = 1;
  const absl::Status status = Retry(policy, connection.options.env, deadline, [&] {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(deadline));
    const grpc::Status got = (stub.*method)(&context, request, response);
    if (got.ok() && instance != nullptr) *instance = InstanceOf(context);
    return FromGrpc(got);
  });
  return status.ok() ? status : Annotate(status, what);
}

}  // namespace h2bd::client
