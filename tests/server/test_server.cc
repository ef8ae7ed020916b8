#include "tests/server/test_server.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

constexpr uint64_t kVolumeBytes = 8 * kGiB;  // sparse, with all four header slots

SparseImage NewImage() {
  absl::StatusOr<SparseImage> image = FormattedImage(kVolumeBytes);
  EXPECT_TRUE(image.ok()) << image.status();
  return *std::move(image);
}

}  // namespace

void BarrierDevice::Hold(bool hold) {
  absl::MutexLock lock(&mu_);
  held_ = hold;
}

void BarrierDevice::Break() {
  absl::MutexLock lock(&mu_);
  broken_ = true;
}

absl::Status BarrierDevice::Sync() {
  {
    absl::MutexLock lock(&mu_);
    const auto released = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return !held_; };
    mu_.Await(absl::Condition(&released));
    if (broken_) return absl::UnavailableError("injected: the barrier failed");
  }
  return inner_.Sync();
}

TestServer::TestServer(const std::function<void(ServerConfig&)>& adjust)
    : memory_(NewImage()), device_(memory_) {
  config_.listen.port = 0;
  config_.metrics.port = 0;
  config_.volume = {"memory"};
  if (adjust) adjust(config_);
  absl::StatusOr<std::unique_ptr<Volume>> volume = OpenOn(device_, config_.options);
  if (!volume.ok()) ADD_FAILURE() << volume.status();
  volume_ = *std::move(volume);
  absl::StatusOr<std::unique_ptr<Server>> server =
      Server::Start(config_, *volume_, SystemClock(), NullLogger());
  if (!server.ok()) ADD_FAILURE() << server.status();
  server_ = *std::move(server);
  channel_ = Connect();
  disks_ = v1::DiskService::NewStub(channel_);
  io_ = v1::IoService::NewStub(channel_);
  transactions_ = v1::TransactionService::NewStub(channel_);
  volumes_ = v1::VolumeService::NewStub(channel_);
}

TestServer::~TestServer() {
  // A test that failed early must not hang here.
  device_.Hold(false);
  server_.reset();
  volume_.reset();
  ExpectClean(memory_);
}

std::string TestServer::address() const {
  return config_.listen.unix_socket ? config_.listen.ToString()
                                    : absl::StrCat("127.0.0.1:", server_->grpc_port());
}

std::shared_ptr<grpc::Channel> TestServer::Connect() const {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(64 << 20);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address(), grpc::InsecureChannelCredentials(), arguments);
}

std::string TestServer::CreateDisk(const std::string& id, uint64_t size_bytes) {
  grpc::ClientContext context;
  v1::CreateDiskRequest request;
  v1::CreateDiskResponse response;
  request.set_parent("pfs/-");
  request.set_disk_id(id);
  request.set_size_bytes(size_bytes);
  const grpc::Status status = disks_->CreateDisk(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response.disk().name();
}

void TestServer::Write(const std::string& disk, uint64_t offset, const std::string& data) {
  grpc::ClientContext context;
  v1::WriteResponse response;
  const grpc::Status status = io_->Write(&context, NewWrite(disk, offset, data), &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

std::string TestServer::Read(const std::string& disk, uint64_t offset, uint64_t length) {
  grpc::ClientContext context;
  v1::ReadResponse response;
  const grpc::Status status = io_->Read(&context, NewRead(disk, offset, length), &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response.data();
}

std::pair<int, std::string> TestServer::Get(const std::string& path) const {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(server_->metrics_port()));
  EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  const std::string request = absl::StrCat("GET ", path, " HTTP/1.0\r\n\r\n");
  EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
  std::string reply;
  char buffer[4096];
  for (ssize_t n = 0; (n = read(fd, buffer, sizeof buffer)) > 0;) {
    reply.append(buffer, static_cast<size_t>(n));
  }
  close(fd);
  const size_t body = reply.find("\r\n\r\n");
  EXPECT_NE(body, std::string::npos) << reply;
  if (body == std::string::npos) return {0, reply};
  return {std::stoi(reply.substr(reply.find(' ') + 1)), reply.substr(body + 4)};
}

std::optional<v1::ChannelResponse> TestChannel::Receive() {
  v1::ChannelResponse response;
  if (!stream_->Read(&response)) return std::nullopt;
  return response;
}

v1::ChannelResponse TestChannel::Call(const v1::ChannelRequest& request) {
  EXPECT_TRUE(Send(request));
  std::optional<v1::ChannelResponse> response = Receive();
  EXPECT_TRUE(response.has_value()) << "the stream has ended";
  if (!response.has_value()) return {};
  EXPECT_EQ(response->id(), request.id());
  return *std::move(response);
}

uint32_t TestChannel::Open(const std::string& disk) {
  v1::ChannelRequest request;
  request.set_id(next_id_++);
  request.set_op(v1::CHANNEL_OP_OPEN);
  request.set_disk(disk);
  const v1::ChannelResponse response = Call(request);
  EXPECT_EQ(response.code(), 0) << response.message();
  EXPECT_NE(response.handle(), 0u);
  return response.handle();
}

grpc::Status TestChannel::Finish() {
  stream_->WritesDone();
  while (Receive().has_value()) {
  }
  return stream_->Finish();
}

v1::ChannelRequest PlainFrame(uint64_t id, v1::ChannelOp op, uint32_t handle) {
  v1::ChannelRequest request;
  request.set_id(id);
  request.set_op(op);
  request.set_handle(handle);
  return request;
}

v1::WriteRequest NewWrite(const std::string& disk, uint64_t offset, const std::string& data) {
  v1::WriteRequest request;
  request.set_disk(disk);
  request.set_offset(offset);
  request.set_data(data);
  return request;
}

v1::ReadRequest NewRead(const std::string& disk, uint64_t offset, uint64_t length) {
  v1::ReadRequest request;
  request.set_disk(disk);
  request.set_offset(offset);
  request.set_length(length);
  return request;
}

v1::ChannelRequest WriteFrame(uint64_t id, uint32_t handle, uint64_t offset,
                              const std::string& data) {
  v1::ChannelRequest request = PlainFrame(id, v1::CHANNEL_OP_WRITE, handle);
  request.set_offset(offset);
  request.set_data(data);
  return request;
}

v1::ChannelRequest ReadFrame(uint64_t id, uint32_t handle, uint64_t offset, uint64_t length) {
  v1::ChannelRequest request = PlainFrame(id, v1::CHANNEL_OP_READ, handle);
  request.set_offset(offset);
  request.set_length(length);
  return request;
}

std::string ReasonOf(const grpc::Status& status) {
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  if (!details.ParseFromString(status.error_details()) || details.details_size() != 1 ||
      !details.details(0).UnpackTo(&info)) {
    return "";
  }
  EXPECT_EQ(info.domain(), "h2bd");
  return info.reason();
}

bool TestServer::NextWriteWaits(uint64_t bytes) {
  const VolumeStatus status = volume().GetStatus();
  return status.dirty_bytes + bytes + 2 * kLogicalBytes > status.dirty_limit_bytes;
}

}  // namespace h2bd
