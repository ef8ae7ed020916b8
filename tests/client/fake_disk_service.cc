#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "h2bd/v1/disk_service.grpc.pb.h"
#include "tests/client/fake_server.h"
#include "tests/client/fake_server_state.h"

namespace h2bd {
namespace {

class FakeDiskService final : public v1::DiskService::Service {
 public:
  explicit FakeDiskService(FakeState* state) : s_(*state) {}

  grpc::Status CreateDisk(grpc::ServerContext* context, const v1::CreateDiskRequest* request,
                          v1::CreateDiskResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    s_.request_ids.push_back(request->request_id());
    if (grpc::Status status = s_.Begin(context, "CreateDisk"); !status.ok()) return status;
    const std::string name =
        FakeState::Resolve(absl::StrCat(request->parent(), "/disks/", request->disk_id()));
    std::string& creator = s_.created_by[request->request_id()];
    if (creator != name && s_.disks.contains(name)) {
      return ErrorWithReason(grpc::StatusCode::ALREADY_EXISTS, "the name is taken",
                             "ALREADY_EXISTS");
    }
    creator = name;
    s_.disks[name].resize(request->size_bytes());
    Fill(name, response->mutable_disk());
    return s_.End("CreateDisk");
  }
  grpc::Status GetDisk(grpc::ServerContext* context, const v1::GetDiskRequest* request,
                       v1::GetDiskResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "GetDisk"); !status.ok()) return status;
    const std::string name = FakeState::Resolve(request->name());
    if (!s_.disks.contains(name)) return {grpc::StatusCode::NOT_FOUND, "no such disk"};
    Fill(name, response->mutable_disk());
    return grpc::Status::OK;
  }
  // Pages of two, whatever is asked for.
  grpc::Status ListDisks(grpc::ServerContext* context, const v1::ListDisksRequest* request,
                         v1::ListDisksResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "ListDisks"); !status.ok()) return status;
    for (auto disk = s_.disks.upper_bound(request->page_token()); disk != s_.disks.end(); ++disk) {
      if (response->disks_size() == 2) {
        response->set_next_page_token(response->disks(1).name());
        break;
      }
      Fill(disk->first, response->add_disks());
    }
    return grpc::Status::OK;
  }
  grpc::Status ResizeDisk(grpc::ServerContext* context, const v1::ResizeDiskRequest* request,
                          v1::ResizeDiskResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    s_.request_ids.push_back(request->request_id());
    if (grpc::Status status = s_.Begin(context, "ResizeDisk"); !status.ok()) return status;
    const std::string name = FakeState::Resolve(request->name());
    if (!s_.disks.contains(name)) return {grpc::StatusCode::NOT_FOUND, "no such disk"};
    if (!request->transaction().empty()) {
      const auto found = s_.transactions.find(request->transaction());
      if (found == s_.transactions.end()) {
        return {grpc::StatusCode::NOT_FOUND, "no such transaction"};
      }
      found->second.writes.push_back({.disk = name, .new_size = request->size_bytes()});
      Fill(name, response->mutable_disk());
      return grpc::Status::OK;
    }
    s_.disks[name].resize(request->size_bytes());
    Fill(name, response->mutable_disk());
    return grpc::Status::OK;
  }
  grpc::Status RenameDisk(grpc::ServerContext* context, const v1::RenameDiskRequest* request,
                          v1::RenameDiskResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "RenameDisk"); !status.ok()) return status;
    auto node = s_.disks.extract(FakeState::Resolve(request->name()));
    if (node.empty()) return {grpc::StatusCode::NOT_FOUND, "no such disk"};
    node.key() = absl::StrCat("pfs/DATA/disks/", request->new_disk_id());
    const std::string name = node.key();
    s_.disks.insert(std::move(node));
    Fill(name, response->mutable_disk());
    return grpc::Status::OK;
  }
  grpc::Status DeleteDisk(grpc::ServerContext* context, const v1::DeleteDiskRequest* request,
                          v1::DeleteDiskResponse*) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "DeleteDisk"); !status.ok()) return status;
    if (s_.disks.erase(FakeState::Resolve(request->name())) == 0) {
      return {grpc::StatusCode::NOT_FOUND, "no such disk"};
    }
    return grpc::Status::OK;
  }

 private:
  void Fill(const std::string& name, v1::Disk* disk) ABSL_EXCLUSIVE_LOCKS_REQUIRED(s_.mu) {
    disk->set_name(name);
    disk->set_size_bytes(s_.disks[name].size());
    disk->set_stored_bytes(s_.disks[name].size() / 2);
    disk->mutable_create_time()->set_seconds(1'700'000'000);
    disk->set_compression(v1::COMPRESSION_LZ4);
    disk->set_check_code(v1::CHECK_CODE_XXHASH64);
    disk->set_inode_number(7);
  }

  FakeState& s_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeFakeDiskService(FakeState* state) {
  return std::make_unique<FakeDiskService>(state);
}

}  // namespace h2bd
