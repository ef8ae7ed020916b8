// h2bd.v1.DiskService: translates and calls core/volume.
#pragma once

#include "h2bd/v1/disk_service.grpc.pb.h"
#include "server/unary_call.h"

namespace h2bd {

class DiskServiceImpl final : public v1::DiskService::CallbackService {
 public:
  explicit DiskServiceImpl(ServiceEnv& env) : env_(env) {}

  grpc::ServerUnaryReactor* CreateDisk(grpc::CallbackServerContext* context,
                                       const v1::CreateDiskRequest* request,
                                       v1::CreateDiskResponse* response) override;
  grpc::ServerUnaryReactor* GetDisk(grpc::CallbackServerContext* context,
                                    const v1::GetDiskRequest* request,
                                    v1::GetDiskResponse* response) override;
  grpc::ServerUnaryReactor* ListDisks(grpc::CallbackServerContext* context,
                                      const v1::ListDisksRequest* request,
                                      v1::ListDisksResponse* response) override;
  grpc::ServerUnaryReactor* ResizeDisk(grpc::CallbackServerContext* context,
                                       const v1::ResizeDiskRequest* request,
                                       v1::ResizeDiskResponse* response) override;
  grpc::ServerUnaryReactor* RenameDisk(grpc::CallbackServerContext* context,
                                       const v1::RenameDiskRequest* request,
                                       v1::RenameDiskResponse* response) override;
  grpc::ServerUnaryReactor* DeleteDisk(grpc::CallbackServerContext* context,
                                       const v1::DeleteDiskRequest* request,
                                       v1::DeleteDiskResponse* response) override;

 private:
  ServiceEnv& env_;
};

// The disk as the wire shows it.
void ToProto(const DiskInfo& info, v1::Disk& disk);

// Page tokens: core's token bound to its parent, as text. kInvalidArgument for what FormatPageToken
// did not make, or made for another parent.
std::string FormatPageToken(const std::string& parent, const std::string& core_token);
absl::StatusOr<std::string> ParsePageToken(const std::string& parent, const std::string& token);

}  // namespace h2bd
