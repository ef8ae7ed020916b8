// h2bd.v1.IoService. Read and Write come as raw messages, so that their payload is copied once;
// Channel runs on completion queues (server/channel_server.h).
#pragma once

#include "h2bd/v1/io_service.grpc.pb.h"
#include "server/channel_frame.h"
#include "server/io_ops.h"
#include "server/unary_call.h"

namespace h2bd {

using RawIoService = v1::IoService::WithRawMethod_Channel<
    v1::IoService::WithRawCallbackMethod_Read<v1::IoService::WithRawCallbackMethod_Write<
        v1::IoService::WithCallbackMethod_WriteZeroes<v1::IoService::WithCallbackMethod_Discard<
            v1::IoService::WithCallbackMethod_Sync<v1::IoService::Service>>>>>>;

class IoServiceImpl final : public RawIoService {
 public:
  explicit IoServiceImpl(ServiceEnv& env) : env_(env) {}

  grpc::ServerUnaryReactor* Read(grpc::CallbackServerContext* context,
                                 const grpc::ByteBuffer* request,
                                 grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* Write(grpc::CallbackServerContext* context,
                                  const grpc::ByteBuffer* request,
                                  grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* WriteZeroes(grpc::CallbackServerContext* context,
                                        const v1::WriteZeroesRequest* request,
                                        v1::WriteZeroesResponse* response) override;
  grpc::ServerUnaryReactor* Discard(grpc::CallbackServerContext* context,
                                    const v1::DiscardRequest* request,
                                    v1::DiscardResponse* response) override;
  grpc::ServerUnaryReactor* Sync(grpc::CallbackServerContext* context,
                                 const v1::SyncRequest* request,
                                 v1::SyncResponse* response) override;

 private:
  // The names in a request that changes a disk.
  struct Target {
    const std::string& disk;
    const std::string& transaction;
    int durability;
  };
  // Resolves `target` into `change`, applies it, makes it durable if asked to, and finishes the
  // call; `done` puts the number of the change into the response.
  void ApplyAndFinish(UnaryCall& call, const Target& target, Change change,
                      absl::AnyInvocable<void(OpSeq)> done);
  absl::StatusOr<DiskRef> OpenDisk(const std::string& name);

  ServiceEnv& env_;
};

}  // namespace h2bd
