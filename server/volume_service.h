// h2bd.v1.VolumeService: translates and calls core/volume.
#pragma once

#include "h2bd/v1/volume_service.grpc.pb.h"
#include "server/unary_call.h"

namespace h2bd {

class VolumeServiceImpl final : public v1::VolumeService::CallbackService {
 public:
  explicit VolumeServiceImpl(ServiceEnv& env) : env_(env) {}

  grpc::ServerUnaryReactor* GetVolume(grpc::CallbackServerContext* context,
                                      const v1::GetVolumeRequest* request,
                                      v1::GetVolumeResponse* response) override;
  grpc::ServerUnaryReactor* ListPfs(grpc::CallbackServerContext* context,
                                    const v1::ListPfsRequest* request,
                                    v1::ListPfsResponse* response) override;
  grpc::ServerUnaryReactor* ListFlushCycles(grpc::CallbackServerContext* context,
                                            const v1::ListFlushCyclesRequest* request,
                                            v1::ListFlushCyclesResponse* response) override;

 private:
  ServiceEnv& env_;
};

void ToProto(const VolumeStatus& status, v1::Volume& volume);
void ToProto(const PfsInfo& info, v1::Pfs& pfs);
void ToProto(const CycleRecord& record, v1::FlushCycle& cycle);

}  // namespace h2bd
