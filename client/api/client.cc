#include "client/api/client.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/api/connection.h"
#include "client/api/convert.h"
#include "client/api/resource_name.h"
#include "core/base/status.h"

namespace h2bd::client {
namespace {

constexpr int kListPage = 1000;

// The answers that hold a disk have it in the same field.
template <class Response>
absl::StatusOr<DiskInfo> DiskOf(const absl::Status& status, const Response& response) {
  if (!status.ok()) return status;
  return FromProto(response.disk());
}

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(const ConnectOptions& options) {
  H2_ASSIGN_OR_RETURN(std::shared_ptr<Connection> connection, MakeConnection(options));
  return std::unique_ptr<Client>(new Client(std::move(connection)));
}

Client::Client(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}
Client::~Client() = default;

absl::StatusOr<DiskInfo> Client::CreateDisk(const DiskName& name, uint64_t size_bytes,
                                            const CallOptions& options) {
  v1::CreateDiskRequest request;
  request.set_parent(PfsResource(name.pfs));
  request.set_disk_id(EscapeSegment(name.path));
  request.set_size_bytes(size_bytes);
  request.set_request_id(NewRequestId(*connection_));
  v1::CreateDiskResponse response;
  return DiskOf(Call(*connection_, *connection_->disks, &v1::DiskService::StubInterface::CreateDisk,
                     request, &response, options, Repeat::kWhenUnavailable,
                     absl::StrCat("create disk ", name.ToString())),
                response);
}

absl::StatusOr<DiskInfo> Client::GetDisk(const DiskName& name, const CallOptions& options) {
  v1::GetDiskRequest request;
  request.set_name(name.ToResource());
  v1::GetDiskResponse response;
  return DiskOf(
      Call(*connection_, *connection_->disks, &v1::DiskService::StubInterface::GetDisk, request,
           &response, options, Repeat::kWhenUnavailable, absl::StrCat("disk ", name.ToString())),
      response);
}

absl::StatusOr<std::vector<DiskInfo>> Client::ListDisks(const std::string& pfs,
                                                        const CallOptions& options) {
  std::vector<DiskInfo> disks;
  v1::ListDisksRequest request;
  request.set_parent(PfsResource(pfs));
  request.set_page_size(kListPage);
  do {
    v1::ListDisksResponse response;
    H2_RETURN_IF_ERROR(Call(*connection_, *connection_->disks,
                            &v1::DiskService::StubInterface::ListDisks, request, &response, options,
                            Repeat::kWhenUnavailable,
                            absl::StrCat("list disks", pfs.empty() ? "" : " of PFS ", pfs)));
    for (const v1::Disk& disk : response.disks()) {
      H2_ASSIGN_OR_RETURN(disks.emplace_back(), FromProto(disk));
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  std::sort(disks.begin(), disks.end(),
            [](const DiskInfo& a, const DiskInfo& b) { return a.name.path < b.name.path; });
  return disks;
}

absl::StatusOr<DiskInfo> Client::ResizeDisk(const DiskName& name, uint64_t size_bytes,
                                            const CallOptions& options) {
  v1::ResizeDiskRequest request;
  request.set_name(name.ToResource());
  request.set_size_bytes(size_bytes);
  request.set_request_id(NewRequestId(*connection_));
  v1::ResizeDiskResponse response;
  return DiskOf(Call(*connection_, *connection_->disks, &v1::DiskService::StubInterface::ResizeDisk,
                     request, &response, options, Repeat::kWhenUnavailable,
                     absl::StrCat("resize disk ", name.ToString())),
                response);
}

absl::StatusOr<DiskInfo> Client::RenameDisk(const DiskName& name, const std::string& new_path,
                                            const CallOptions& options) {
  v1::RenameDiskRequest request;
  request.set_name(name.ToResource());
  request.set_new_disk_id(EscapeSegment(new_path));
  request.set_request_id(NewRequestId(*connection_));
  v1::RenameDiskResponse response;
  return DiskOf(Call(*connection_, *connection_->disks, &v1::DiskService::StubInterface::RenameDisk,
                     request, &response, options, Repeat::kWhenUnavailable,
                     absl::StrCat("rename disk ", name.ToString())),
                response);
}

absl::Status Client::DeleteDisk(const DiskName& name, const CallOptions& options) {
  v1::DeleteDiskRequest request;
  request.set_name(name.ToResource());
  request.set_request_id(NewRequestId(*connection_));
  v1::DeleteDiskResponse response;
  return Call(*connection_, *connection_->disks, &v1::DiskService::StubInterface::DeleteDisk,
              request, &response, options, Repeat::kWhenUnavailable,
              absl::StrCat("delete disk ", name.ToString()));
}

std::unique_ptr<DiskWriter> Client::OpenWriter(const DiskName& disk, const WriterOptions& options) {
  return std::make_unique<DiskWriter>(connection_, disk, options);
}

std::unique_ptr<DiskReader> Client::OpenReader(const DiskName& disk, const ReaderOptions& options) {
  return std::make_unique<DiskReader>(connection_, disk, options);
}

absl::StatusOr<Transaction> Client::Begin(const TransactionOptions& transaction,
                                          const CallOptions& options) {
  v1::BeginTransactionRequest request;
  if (transaction.timeout.has_value()) {
    const absl::Duration timeout = *transaction.timeout;
    const int64_t seconds = absl::ToInt64Seconds(timeout);
    request.mutable_timeout()->set_seconds(seconds);
    request.mutable_timeout()->set_nanos(
        static_cast<int32_t>(absl::ToInt64Nanoseconds(timeout - absl::Seconds(seconds))));
  }
  request.set_label(transaction.label);
  request.set_exclusive(transaction.exclusive);
  request.set_durability(ToProto(transaction.durability));
  request.set_request_id(NewRequestId(*connection_));
  v1::BeginTransactionResponse response;
  H2_RETURN_IF_ERROR(Call(*connection_, *connection_->transactions,
                          &v1::TransactionService::StubInterface::BeginTransaction, request,
                          &response, options, Repeat::kWhenUnavailable, "begin transaction"));
  H2_ASSIGN_OR_RETURN(TransactionInfo info, FromProto(response.transaction()));
  return Transaction(connection_, std::move(info.id), transaction.durability);
}

absl::StatusOr<VolumeInfo> Client::GetVolume(const CallOptions& options) {
  v1::GetVolumeResponse response;
  H2_RETURN_IF_ERROR(Call(*connection_, *connection_->volume,
                          &v1::VolumeService::StubInterface::GetVolume, v1::GetVolumeRequest(),
                          &response, options, Repeat::kWhenUnavailable, "volume status"));
  return FromProto(response.volume());
}

absl::StatusOr<std::vector<PfsInfo>> Client::ListPfs(const CallOptions& options) {
  v1::ListPfsResponse response;
  H2_RETURN_IF_ERROR(Call(*connection_, *connection_->volume,
                          &v1::VolumeService::StubInterface::ListPfs, v1::ListPfsRequest(),
                          &response, options, Repeat::kWhenUnavailable, "list PFSs"));
  std::vector<PfsInfo> all;
  for (const v1::Pfs& pfs : response.pfs()) {
    H2_ASSIGN_OR_RETURN(all.emplace_back(), FromProto(pfs));
  }
  return all;
}

absl::StatusOr<std::vector<FlushCycleInfo>> Client::ListFlushCycles(uint32_t limit,
                                                                    const CallOptions& options) {
  v1::ListFlushCyclesRequest request;
  request.set_limit(limit);
  v1::ListFlushCyclesResponse response;
  H2_RETURN_IF_ERROR(Call(*connection_, *connection_->volume,
                          &v1::VolumeService::StubInterface::ListFlushCycles, request, &response,
                          options, Repeat::kWhenUnavailable, "list flush cycles"));
  std::vector<FlushCycleInfo> cycles;
  for (const v1::FlushCycle& cycle : response.cycles()) cycles.push_back(FromProto(cycle));
  return cycles;
}

}  // namespace h2bd::client
