// What all unary handlers share: admission, counting, deadline, cancellation, and the hand-over
// from gRPC's threads to ours, so that no network thread waits for a disk or a lock.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <optional>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/base/executor.h"
#include "core/volume/volume.h"
#include "server/call_gate.h"
#include "server/request_table.h"
#include "server/rpc_metrics.h"

namespace h2bd {

// What the services work with. All of it outlives them.
struct ServiceEnv {
  Volume& volume;
  const Clock& clock;
  const LimitsConfig& limits;
  CallGate& gate;
  ServerMetrics& metrics;
  RequestTable& requests;
  // Separate pools: writers that wait for memory must not keep reads waiting (P7), nor the delete
  // that would make room.
  Executor& control;
  Executor& readers;
  Executor& writers;
  const std::string instance;  // differs between any two server processes
};

// Initial metadata of every answer (proto/h2bd/v1/io_service.proto).
inline constexpr char kInstanceKey[] = "h2bd-instance";

// One call of the callback API; deletes itself when gRPC is done with it.
class UnaryCall final : public grpc::ServerUnaryReactor {
 public:
  // The work of a call. It may be moved to another thread; Finish must follow exactly once.
  using Work = absl::AnyInvocable<void(UnaryCall&)>;

  // Admits the call (`payload_bytes` is what it holds in memory) and schedules `work`; a call that
  // is refused, or that has been cancelled or timed out before its turn, is finished without it.
  static grpc::ServerUnaryReactor* Start(ServiceEnv& env, Method method,
                                         grpc::CallbackServerContext& context,
                                         uint64_t payload_bytes, Executor& executor, Work work);

  void Finish(const absl::Status& status);
  absl::Time deadline() const { return deadline_; }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

  void OnCancel() override { cancelled_.store(true, std::memory_order_relaxed); }
  void OnDone() override;

 private:
  UnaryCall(ServiceEnv& env, Method method, absl::Time deadline, uint64_t payload_bytes);

  ServiceEnv& env_;
  RpcScope scope_;
  const absl::Time deadline_;
  const uint64_t payload_bytes_;
  bool admitted_ = false;
  std::atomic<bool> cancelled_{false};
};

// A handler whose work is one call of core that returns a status.
template <class Body>
grpc::ServerUnaryReactor* RunUnary(ServiceEnv& env, Method method,
                                   grpc::CallbackServerContext& context, Body body) {
  return UnaryCall::Start(
      env, method, context, 0, env.control,
      [body = std::move(body)](UnaryCall& call) mutable { call.Finish(body(call)); });
}

// The same for a mutation that may be repeated: `body` fills the response, which is remembered by
// the request's id.
template <class Request, class Response, class Body>
grpc::ServerUnaryReactor* RunOnce(ServiceEnv& env, Method method,
                                  grpc::CallbackServerContext& context, const Request& request,
                                  Response& response, Body body) {
  return RunUnary(env, method, context, [&env, method, &request, &response, body](UnaryCall& call) {
    if (request.request_id().empty()) return body();
    const std::string what = std::string(Name(method)) + '\0' + request.SerializeAsString();
    const absl::StatusOr<std::string> answer = env.requests.Run(
        request.request_id(), what, call.deadline(), [&]() -> absl::StatusOr<std::string> {
          H2_RETURN_IF_ERROR(body());
          return response.SerializeAsString();
        });
    if (!answer.ok()) return answer.status();
    H2_ASSERT(response.ParseFromString(*answer));
    return absl::OkStatus();
  });
}

// The deadline of a context; infinite when the client gave none.
absl::Time DeadlineOf(const grpc::ServerContextBase& context);

}  // namespace h2bd
