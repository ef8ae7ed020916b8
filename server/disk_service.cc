#include "server/disk_service.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/strategy/disk.h"
#include "server/io_ops.h"
#include "server/proto_time.h"
#include "server/resource_names.h"

namespace h2bd {
namespace {

constexpr int kDefaultPageSize = 100;
constexpr int kMaxPageSize = 1000;

v1::Compression ToProto(CompMethod method) {
  switch (method) {
    case CompMethod::kNone:
      return v1::COMPRESSION_NONE;
    case CompMethod::kAutozero:
      return v1::COMPRESSION_AUTOZERO;
    case CompMethod::kLz4:
      return v1::COMPRESSION_LZ4;
    case CompMethod::kZlib:
      return v1::COMPRESSION_ZLIB;
  }
  return v1::COMPRESSION_UNSPECIFIED;
}

v1::CheckCode ToProto(CheckMethod method) {
  switch (method) {
    case CheckMethod::kNone:
      return v1::CHECK_CODE_NONE;
    case CheckMethod::kDisabled:
      return v1::CHECK_CODE_DISABLED;
    case CheckMethod::kIscsi32:
      return v1::CHECK_CODE_ISCSI32;
    case CheckMethod::kXxhash64:
      return v1::CHECK_CODE_XXHASH64;
    case CheckMethod::kSha192:
      return v1::CHECK_CODE_SHA192;
    case CheckMethod::kFreemap:
      return v1::CHECK_CODE_FREEMAP;
  }
  return v1::CHECK_CODE_UNSPECIFIED;
}

// What a mutation gives back.
template <class Response>
absl::Status Fill(const absl::StatusOr<DiskInfo>& info, Response& response) {
  if (!info.ok()) return info.status();
  ToProto(*info, *response.mutable_disk());
  return absl::OkStatus();
}

absl::Status CheckDiskSize(uint64_t size) {
  if (size <= kMaxDiskBytes) return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrCat("size_bytes: ", size, "; legal: 0 to ", kMaxDiskBytes));
}

IoOptions IoUntil(const grpc::CallbackServerContext& context) {
  return {.deadline = DeadlineOf(context)};
}

absl::Status Create(Volume& volume, const v1::CreateDiskRequest& request, const IoOptions& io,
                    v1::CreateDiskResponse& response) {
  DiskName name;
  H2_ASSIGN_OR_RETURN(name.pfs, ParsePfsName(request.parent()));
  H2_ASSIGN_OR_RETURN(name.path, ParseDiskId(request.disk_id()));
  H2_RETURN_IF_ERROR(CheckDiskSize(request.size_bytes()));
  return Fill(volume.CreateDisk(name, {.size_bytes = request.size_bytes()}, io), response);
}

absl::Status List(Volume& volume, const v1::ListDisksRequest& request,
                  v1::ListDisksResponse& response) {
  H2_ASSIGN_OR_RETURN(const std::string pfs, ParsePfsName(request.parent()));
  H2_ASSIGN_OR_RETURN(const std::string token,
                      ParsePageToken(request.parent(), request.page_token()));
  if (request.page_size() < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("page_size: ", request.page_size(), "; legal: 0 and more"));
  }
  const int page_size = request.page_size() == 0 ? kDefaultPageSize
                                                 : std::min<int>(request.page_size(), kMaxPageSize);
  H2_ASSIGN_OR_RETURN(const DiskList list, volume.ListDisks(pfs, page_size, token));
  for (const DiskInfo& info : list.disks) ToProto(info, *response.add_disks());
  if (!list.next_page_token.empty()) {
    response.set_next_page_token(FormatPageToken(request.parent(), list.next_page_token));
  }
  return absl::OkStatus();
}

absl::Status Resize(Volume& volume, const v1::ResizeDiskRequest& request, const IoOptions& io,
                    v1::ResizeDiskResponse& response) {
  H2_ASSIGN_OR_RETURN(const DiskName name, ParseDiskName(request.name()));
  H2_RETURN_IF_ERROR(CheckDiskSize(request.size_bytes()));
  H2_ASSIGN_OR_RETURN(const std::optional<TxnId> transaction, TransactionOf(request.transaction()));
  if (transaction.has_value()) {
    H2_ASSIGN_OR_RETURN(const DiskRef disk, volume.OpenDisk(name));
    H2_RETURN_IF_ERROR(volume.TxnResize(*transaction, disk, request.size_bytes(), io));
    return Fill(volume.GetDisk(name), response);
  }
  return Fill(volume.ResizeDisk(name, request.size_bytes(), io), response);
}

absl::Status Rename(Volume& volume, const v1::RenameDiskRequest& request, const IoOptions& io,
                    v1::RenameDiskResponse& response) {
  H2_ASSIGN_OR_RETURN(const DiskName from, ParseDiskName(request.name()));
  DiskName to{from.pfs, ""};
  H2_ASSIGN_OR_RETURN(to.path, ParseDiskId(request.new_disk_id()));
  return Fill(volume.RenameDisk(from, to, io), response);
}

}  // namespace

void ToProto(const DiskInfo& info, v1::Disk& disk) {
  disk.set_name(FormatDiskName(info.name));
  disk.set_inode_number(info.inum.v);
  disk.set_damaged(info.damaged);
  if (info.damaged) return;
  disk.set_size_bytes(info.size_bytes);
  disk.set_stored_bytes(info.stored_bytes);
  ToProto(info.create_time, *disk.mutable_create_time());
  ToProto(info.modify_time, *disk.mutable_modify_time());
  disk.set_compression(ToProto(info.comp));
  disk.set_check_code(ToProto(info.check));
}

std::string FormatPageToken(const std::string& parent, const std::string& core_token) {
  return absl::WebSafeBase64Escape(absl::StrCat(parent, "\n", core_token));
}

absl::StatusOr<std::string> ParsePageToken(const std::string& parent, const std::string& token) {
  if (token.empty()) return std::string();
  std::string text;
  absl::string_view rest;
  if (absl::WebSafeBase64Unescape(token, &text)) {
    rest = text;
    if (absl::ConsumePrefix(&rest, absl::StrCat(parent, "\n")) && !rest.empty()) {
      return std::string(rest);
    }
  }
  return absl::InvalidArgumentError(
      "page_token: not one that ListDisks gave for this parent; start over without one");
}

grpc::ServerUnaryReactor* DiskServiceImpl::CreateDisk(grpc::CallbackServerContext* context,
                                                      const v1::CreateDiskRequest* request,
                                                      v1::CreateDiskResponse* response) {
  return RunOnce(env_, Method::kCreateDisk, *context, *request, *response,
                 [this, context, request, response] {
                   return Create(env_.volume, *request, IoUntil(*context), *response);
                 });
}

grpc::ServerUnaryReactor* DiskServiceImpl::GetDisk(grpc::CallbackServerContext* context,
                                                   const v1::GetDiskRequest* request,
                                                   v1::GetDiskResponse* response) {
  return RunUnary(env_, Method::kGetDisk, *context, [this, request, response](UnaryCall&) {
    const absl::StatusOr<DiskName> name = ParseDiskName(request->name());
    if (!name.ok()) return name.status();
    return Fill(env_.volume.GetDisk(*name), *response);
  });
}

grpc::ServerUnaryReactor* DiskServiceImpl::ListDisks(grpc::CallbackServerContext* context,
                                                     const v1::ListDisksRequest* request,
                                                     v1::ListDisksResponse* response) {
  return RunUnary(env_, Method::kListDisks, *context, [this, request, response](UnaryCall&) {
    return List(env_.volume, *request, *response);
  });
}

grpc::ServerUnaryReactor* DiskServiceImpl::ResizeDisk(grpc::CallbackServerContext* context,
                                                      const v1::ResizeDiskRequest* request,
                                                      v1::ResizeDiskResponse* response) {
  return RunOnce(env_, Method::kResizeDisk, *context, *request, *response,
                 [this, context, request, response] {
                   return Resize(env_.volume, *request, IoUntil(*context), *response);
                 });
}

grpc::ServerUnaryReactor* DiskServiceImpl::RenameDisk(grpc::CallbackServerContext* context,
                                                      const v1::RenameDiskRequest* request,
                                                      v1::RenameDiskResponse* response) {
  return RunOnce(env_, Method::kRenameDisk, *context, *request, *response,
                 [this, context, request, response] {
                   return Rename(env_.volume, *request, IoUntil(*context), *response);
                 });
}

grpc::ServerUnaryReactor* DiskServiceImpl::DeleteDisk(grpc::CallbackServerContext* context,
                                                      const v1::DeleteDiskRequest* request,
                                                      v1::DeleteDiskResponse* response) {
  return RunOnce(
      env_, Method::kDeleteDisk, *context, *request, *response, [this, context, request] {
        const absl::StatusOr<DiskName> name = ParseDiskName(request->name());
        return name.ok() ? env_.volume.DeleteDisk(*name, IoUntil(*context)) : name.status();
      });
}

}  // namespace h2bd
