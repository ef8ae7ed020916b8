#include "server/unary_call.h"

#include "server/status_map.h"

namespace h2bd {

absl::Time DeadlineOf(const grpc::ServerContextBase& context) {
  const std::chrono::system_clock::time_point deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return absl::InfiniteFuture();
  return absl::FromChrono(deadline);
}

UnaryCall::UnaryCall(ServiceEnv& env, Method method, absl::Time deadline, uint64_t payload_bytes)
    : env_(env),
      scope_(env.metrics.of(method), env.clock),
      deadline_(deadline),
      payload_bytes_(payload_bytes) {}

grpc::ServerUnaryReactor* UnaryCall::Start(ServiceEnv& env, Method method,
                                           grpc::CallbackServerContext& context,
                                           uint64_t payload_bytes, Executor& executor, Work work) {
  context.AddInitialMetadata(kInstanceKey, env.instance);
  // Before the call is counted as being in flight: what the metric shows holds its place.
  const absl::Status admission = env.gate.EnterCall(payload_bytes);
  // Owned by gRPC until OnDone.
  auto* call = new UnaryCall(env, method, DeadlineOf(context), payload_bytes);
  if (!admission.ok()) {
    env.metrics.refused_calls.Add();
    call->Finish(admission);
    return call;
  }
  call->admitted_ = true;
  executor.Schedule([call, work = std::move(work)]() mutable {
    if (call->cancelled()) return call->Finish(absl::CancelledError("cancelled by the client"));
    if (absl::Now() >= call->deadline_) {
      return call->Finish(
          absl::DeadlineExceededError("the deadline passed before the call's turn"));
    }
    work(*call);
  });
  return call;
}

void UnaryCall::Finish(const absl::Status& status) {
  scope_.Finish(status);
  ServerUnaryReactor::Finish(ToGrpcStatus(status));
}

void UnaryCall::OnDone() {
  if (admitted_) env_.gate.LeaveCall(payload_bytes_);
  delete this;
}

}  // namespace h2bd
