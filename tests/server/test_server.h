// A whole server in this process, on a memory device, with stubs that speak to it over TCP.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/volume/volume.h"
#include "h2bd/v1/disk_service.grpc.pb.h"
#include "h2bd/v1/io_service.grpc.pb.h"
#include "h2bd/v1/transaction_service.grpc.pb.h"
#include "h2bd/v1/volume_service.grpc.pb.h"
#include "server/config.h"
#include "server/server.h"
#include "tests/support/memory_device.h"

namespace h2bd {

// Lets a test hold back, or fail, the barriers of a device; reads and writes pass.
class BarrierDevice final : public ForwardingDevice {
 public:
  explicit BarrierDevice(BlockDevice& inner) : ForwardingDevice(inner) {}
  void Hold(bool hold) ABSL_LOCKS_EXCLUDED(mu_);
  void Break() ABSL_LOCKS_EXCLUDED(mu_);

  absl::Status Sync() override ABSL_LOCKS_EXCLUDED(mu_);

 private:
  absl::Mutex mu_;
  bool held_ ABSL_GUARDED_BY(mu_) = false;
  bool broken_ ABSL_GUARDED_BY(mu_) = false;
};

class TestServer {
 public:
  // `adjust` changes the configuration before the start; the ports are free ones of the loopback.
  explicit TestServer(const std::function<void(ServerConfig&)>& adjust = {});
  ~TestServer();

  // Dirty memory is so full that a write of `bytes` waits until a cycle has ended.
  bool NextWriteWaits(uint64_t bytes);
  Volume& volume() { return *volume_; }
  Server& server() { return *server_; }
  BarrierDevice& device() { return device_; }
  const ServerConfig& config() const { return config_; }
  std::string address() const;
  // A connection of its own.
  std::shared_ptr<grpc::Channel> Connect() const;

  v1::DiskService::Stub& disks() { return *disks_; }
  v1::IoService::Stub& io() { return *io_; }
  v1::TransactionService::Stub& transactions() { return *transactions_; }
  v1::VolumeService::Stub& volumes() { return *volumes_; }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

  // What is used by many tests; each fails the test when the call fails.
  std::string CreateDisk(const std::string& id, uint64_t size_bytes);  // gives the name
  void Write(const std::string& disk, uint64_t offset, const std::string& data);
  std::string Read(const std::string& disk, uint64_t offset, uint64_t length);

  // GET of the metrics page: the status line's code, and the body.
  std::pair<int, std::string> Get(const std::string& path) const;

 private:
  ServerConfig config_;
  MemoryDevice memory_;
  BarrierDevice device_;
  std::unique_ptr<Volume> volume_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::DiskService::Stub> disks_;
  std::unique_ptr<v1::IoService::Stub> io_;
  std::unique_ptr<v1::TransactionService::Stub> transactions_;
  std::unique_ptr<v1::VolumeService::Stub> volumes_;
};

// A Channel stream, used from one thread. Answers come back in any order.
class TestChannel {
 public:
  explicit TestChannel(v1::IoService::Stub& stub) : stream_(stub.Channel(&context_)) {}
  // A deadline, or cancellation, is set here before the first use of the stream.
  TestChannel(v1::IoService::Stub& stub, std::chrono::system_clock::time_point deadline)
      : stream_((context_.set_deadline(deadline), stub.Channel(&context_))) {}

  grpc::ClientContext& context() { return context_; }
  bool Send(const v1::ChannelRequest& request) { return stream_->Write(request); }
  // The next frame; nullopt when the stream has ended.
  std::optional<v1::ChannelResponse> Receive();
  // Sends and waits for the answer to this one; nothing else may be in flight.
  v1::ChannelResponse Call(const v1::ChannelRequest& request);
  // Opens a disk and gives the handle.
  uint32_t Open(const std::string& disk);
  // Half-closes, and gives the status with which the server ends the stream.
  grpc::Status Finish();
  // Only the status: after the stream has ended by itself.
  grpc::Status Status() { return stream_->Finish(); }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::ChannelRequest, v1::ChannelResponse>> stream_;
  uint64_t next_id_ = uint64_t{1} << 40;  // for Call and Open: apart from the test's own
};

v1::WriteRequest NewWrite(const std::string& disk, uint64_t offset, const std::string& data);
v1::ReadRequest NewRead(const std::string& disk, uint64_t offset, uint64_t length);

v1::ChannelRequest WriteFrame(uint64_t id, uint32_t handle, uint64_t offset,
                              const std::string& data);
v1::ChannelRequest ReadFrame(uint64_t id, uint32_t handle, uint64_t offset, uint64_t length);
v1::ChannelRequest PlainFrame(uint64_t id, v1::ChannelOp op, uint32_t handle);

// ErrorInfo.reason of a status; "" where there is none.
std::string ReasonOf(const grpc::Status& status);

}  // namespace h2bd
