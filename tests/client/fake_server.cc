#include "tests/client/fake_server.h"

#include <grpcpp/impl/service_type.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tests/client/fake_server_state.h"

namespace h2bd {

grpc::Status ErrorWithReason(grpc::StatusCode code, const std::string& message,
                             const std::string& reason) {
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("h2bd");
  google::rpc::Status details;
  details.set_code(code);
  details.set_message(message);
  details.add_details()->PackFrom(info);
  return grpc::Status(code, message, details.SerializeAsString());
}

FakeServer::FakeServer() : state_(std::make_unique<FakeState>()) {
  for (const auto make : {MakeFakeDiskService, MakeFakeIoService, MakeFakeTransactionService,
                          MakeFakeVolumeService}) {
    services_.push_back(make(state_.get()));
  }
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.SetMaxReceiveMessageSize(-1);
  for (const auto& service : services_) builder.RegisterService(service.get());
  server_ = builder.BuildAndStart();
  address_ = absl::StrCat("127.0.0.1:", port);
}

FakeServer::~FakeServer() { server_->Shutdown(std::chrono::system_clock::now()); }

void FakeServer::AddDisk(const std::string& path, uint64_t size_bytes) {
  absl::MutexLock lock(&state_->mu);
  const std::string name = absl::StrCat("pfs/DATA/disks/", path);
  state_->disks[name] = state_->durable[name] = std::string(size_bytes, '\0');
}

std::string FakeServer::Content(const std::string& path) {
  absl::MutexLock lock(&state_->mu);
  return state_->disks[absl::StrCat("pfs/DATA/disks/", path)];
}

std::string FakeServer::DurableContent(const std::string& path) {
  absl::MutexLock lock(&state_->mu);
  return state_->durable[absl::StrCat("pfs/DATA/disks/", path)];
}

void FakeServer::FailNext(const std::string& method, int times, grpc::Status status) {
  absl::MutexLock lock(&state_->mu);
  state_->failures[method].assign(static_cast<size_t>(times), status);
}

void FakeServer::LoseNextAnswer(const std::string& method) {
  absl::MutexLock lock(&state_->mu);
  state_->lost[method] = 1;
}

void FakeServer::BreakNextChannel(int frames, int unanswered) {
  absl::MutexLock lock(&state_->mu);
  state_->break_after = frames;
  state_->break_unanswered = unanswered;
}

void FakeServer::FailFramesAt(uint64_t offset, int times, grpc::Status status,
                              const std::string& reason) {
  absl::MutexLock lock(&state_->mu);
  state_->frame_faults[offset] = {times, std::move(status), reason};
}

void FakeServer::AnswerCumulatively(int count) {
  absl::MutexLock lock(&state_->mu);
  state_->cumulative = count;
}

void FakeServer::ApplyInAnyOrder(uint64_t seed) {
  absl::MutexLock lock(&state_->mu);
  state_->order_seed = seed;
}

void FakeServer::Restart() {
  absl::MutexLock lock(&state_->mu);
  state_->disks = state_->durable;
  state_->transactions.clear();
  state_->seq = 0;
  ++state_->instance;
}

void FakeServer::SendInstance(bool yes) {
  absl::MutexLock lock(&state_->mu);
  state_->send_instance = yes;
}

int FakeServer::calls(const std::string& method) {
  absl::MutexLock lock(&state_->mu);
  return state_->calls[method];
}

std::vector<std::string> FakeServer::request_ids() {
  absl::MutexLock lock(&state_->mu);
  return state_->request_ids;
}

std::vector<v1::ChannelRequest> FakeServer::frames() {
  absl::MutexLock lock(&state_->mu);
  return state_->frames;
}

}  // namespace h2bd
