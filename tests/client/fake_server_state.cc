#include "tests/client/fake_server_state.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace h2bd {
namespace {

const grpc::Status kLost(grpc::StatusCode::UNAVAILABLE, "the answer was lost");

}  // namespace

grpc::Status FakeState::Begin(grpc::ServerContext* context, const std::string& method) {
  ++calls[method];
  if (send_instance) {
    context->AddInitialMetadata("h2bd-instance", absl::StrCat("instance-", instance));
  }
  std::vector<grpc::Status>& planned = failures[method];
  if (planned.empty()) return grpc::Status::OK;
  grpc::Status status = planned.back();
  planned.pop_back();
  return status;
}

grpc::Status FakeState::End(const std::string& method) {
  int& n = lost[method];
  return n > 0 && n-- > 0 ? kLost : grpc::Status::OK;
}

std::string FakeState::Resolve(const std::string& name) {
  absl::string_view rest = name;
  if (absl::ConsumePrefix(&rest, "pfs/-/")) return absl::StrCat("pfs/DATA/", rest);
  return name;
}

grpc::Status FakeState::Apply(const std::string& name, uint64_t offset, const std::string& bytes) {
  const auto disk = disks.find(Resolve(name));
  if (disk == disks.end()) return {grpc::StatusCode::NOT_FOUND, absl::StrCat("no disk ", name)};
  if (offset > disk->second.size() || bytes.size() > disk->second.size() - offset) {
    return {grpc::StatusCode::OUT_OF_RANGE, "beyond the end of the disk"};
  }
  disk->second.replace(offset, bytes.size(), bytes);
  ++seq;
  return grpc::Status::OK;
}

}  // namespace h2bd
