// Load on one IoService.Channel stream, the same for h2bd-server and for null_server.
//
//   channel_load --server HOST:PORT --disk RESOURCE --op write|read|sync --io N --bytes N --window
//   N
//     write  sequential writes of --io bytes, --window bytes in flight, then one SYNC; MB/s over
//     all of it read   sequential reads likewise sync   --count times: a write of --io bytes, its
//     answer, a SYNC, its answer; the latency of each pair
//
// Prints one JSON object.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "core/base/clock.h"
#include "core/base/status.h"
#include "core/base/types.h"
#include "tests/bench/channel_wire.h"
#include "tests/bench/payload.h"

namespace h2bd::bench {
namespace {

struct Arguments {
  std::string server = "127.0.0.1:7420", disk, op;
  uint64_t io_bytes = 64 * kKiB, bytes = kGiB, window_bytes = kMiB;
  int count = 500;
};

absl::Status FromGrpc(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

// One stream and its completion queue, driven by the calling thread.
class Stream {
 public:
  explicit Stream(const std::string& server) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    arguments.SetMaxSendMessageSize(-1);
    const std::shared_ptr<grpc::Channel> channel =
        grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(), arguments);
    stub_ = std::make_unique<grpc::GenericStub>(channel);
    call_ = stub_->PrepareCall(&context_, "/h2bd.v1.IoService/Channel", &queue_);
  }
  ~Stream() {
    context_.TryCancel();
    queue_.Shutdown();
    void* tag = nullptr;
    for (bool ok = false; queue_.Next(&tag, &ok);) continue;
  }

  absl::Status Start() {
    call_->StartCall(TagOf(Event::kStarted));
    void* tag = nullptr;
    bool ok = false;
    if (!queue_.Next(&tag, &ok) || !ok) return Failure();
    call_->Read(&incoming_, TagOf(Event::kRead));
    return absl::OkStatus();
  }

  bool can_send() const { return !sending_; }
  void Send(const Request& request) {
    sending_ = true;
    call_->Write(EncodeRequest(request), TagOf(Event::kSent));
  }

  // Waits for one event. A response when it was an answer; its operations are all OK.
  absl::StatusOr<std::optional<Response>> Step() {
    void* tag = nullptr;
    bool ok = false;
    if (!queue_.Next(&tag, &ok) || !ok) return Failure();
    if (tag == TagOf(Event::kSent)) {
      sending_ = false;
      return std::nullopt;
    }
    std::optional<Response> response = ParseResponse(incoming_);
    if (!response.has_value()) return absl::InternalError("an answer that is no ChannelResponse");
    if (response->code != 0) {
      return absl::Status(static_cast<absl::StatusCode>(response->code), response->message);
    }
    call_->Read(&incoming_, TagOf(Event::kRead));
    return response;
  }

  // Sends one request and waits for its answer; nothing else may be in flight.
  absl::StatusOr<Response> Call(const Request& request) {
    Send(request);
    std::optional<Response> answer;
    while (sending_ || !answer.has_value()) {
      H2_ASSIGN_OR_RETURN(std::optional<Response> got, Step());
      if (got.has_value()) answer = std::move(got);
    }
    return *answer;
  }

 private:
  enum class Event : intptr_t { kStarted = 1, kSent, kRead, kFinished };
  static void* TagOf(Event event) { return reinterpret_cast<void*>(event); }

  absl::Status Failure() {
    grpc::Status status;
    call_->Finish(&status, TagOf(Event::kFinished));
    void* tag = nullptr;
    for (bool ok = false; queue_.Next(&tag, &ok) && tag != TagOf(Event::kFinished);) continue;
    if (status.ok()) return absl::InternalError("the stream ended early");
    return FromGrpc(status);
  }

  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericStub> stub_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
  grpc::ByteBuffer incoming_;
  bool sending_ = false;
};

Request Operation(Op op, uint64_t id, uint32_t handle) {
  Request request;
  request.id = id;
  request.op = op;
  request.handle = handle;
  return request;
}

// All of --bytes in order, with as much in flight as the window allows.
absl::Status Transfer(Stream& stream, uint32_t handle, Op op, const Arguments& arguments,
                      PayloadSource& payload) {
  const uint64_t operations = arguments.bytes / arguments.io_bytes;
  const uint64_t window = std::max<uint64_t>(1, arguments.window_bytes / arguments.io_bytes);
  uint64_t sent = 0, answered = 0;
  while (answered < operations) {
    if (stream.can_send() && sent < operations && sent - answered < window) {
      Request request = Operation(op, ++sent, handle);
      request.offset = (sent - 1) * arguments.io_bytes;
      if (op == Op::kWrite) {
        request.data = payload.Next(arguments.io_bytes);
      } else {
        request.length = arguments.io_bytes;
      }
      stream.Send(request);
    }
    H2_ASSIGN_OR_RETURN(const std::optional<Response> response, stream.Step());
    if (!response.has_value()) continue;
    answered += 1 + response->cumulative;
    if (op == Op::kRead && response->data_bytes != arguments.io_bytes) {
      return absl::DataLossError(absl::StrCat("a read gave ", response->data_bytes, " bytes"));
    }
  }
  while (!stream.can_send()) H2_RETURN_IF_ERROR(stream.Step().status());
  return absl::OkStatus();
}

absl::Status MeasureTransfer(Stream& stream, uint32_t handle, const Arguments& arguments) {
  PayloadSource payload(Content::kRandom, std::random_device()());
  const Op op = arguments.op == "write" ? Op::kWrite : Op::kRead;
  const absl::Duration begin = SystemClock().MonotonicNow();
  H2_RETURN_IF_ERROR(Transfer(stream, handle, op, arguments, payload));
  const absl::Duration accepted = SystemClock().MonotonicNow() - begin;
  if (op == Op::kWrite) {
    H2_RETURN_IF_ERROR(stream.Call(Operation(Op::kSync, uint64_t{1} << 32, handle)).status());
  }
  const absl::Duration total = SystemClock().MonotonicNow() - begin;
  const double mb = static_cast<double>(arguments.bytes) / 1e6;
  std::printf("{\"mb_per_s\": %.1f, \"accepted_mb_per_s\": %.1f}\n",
              mb / absl::ToDoubleSeconds(total), mb / absl::ToDoubleSeconds(accepted));
  return absl::OkStatus();
}

absl::Status MeasureSync(Stream& stream, uint32_t handle, const Arguments& arguments) {
  PayloadSource payload(Content::kRandom, std::random_device()());
  std::mt19937_64 rng(1);
  std::vector<absl::Duration> samples;
  uint64_t id = 0;
  for (int i = 0; i < arguments.count; ++i) {
    Request write = Operation(Op::kWrite, ++id, handle);
    write.offset = rng() % (arguments.bytes / arguments.io_bytes) * arguments.io_bytes;
    write.data = payload.Next(arguments.io_bytes);
    const absl::Duration begin = SystemClock().MonotonicNow();
    H2_RETURN_IF_ERROR(stream.Call(write).status());
    H2_RETURN_IF_ERROR(stream.Call(Operation(Op::kSync, ++id, handle)).status());
    samples.push_back(SystemClock().MonotonicNow() - begin);
  }
  std::printf("{\"latency\": %s}\n", LatencyJson(samples).c_str());
  return absl::OkStatus();
}

absl::Status Run(const Arguments& arguments) {
  Stream stream(arguments.server);
  H2_RETURN_IF_ERROR(stream.Start());
  Request open = Operation(Op::kOpen, uint64_t{1} << 33, 0);
  open.disk = arguments.disk;
  H2_ASSIGN_OR_RETURN(const Response opened, stream.Call(open));
  if (arguments.op == "sync") return MeasureSync(stream, opened.handle, arguments);
  return MeasureTransfer(stream, opened.handle, arguments);
}

}  // namespace
}  // namespace h2bd::bench

int main(int argc, char** argv) {
  h2bd::bench::TuneAllocator();
  h2bd::bench::Arguments arguments;
  CLI::App app("Load on one Channel stream");
  app.add_option("--server", arguments.server, "HOST:PORT");
  app.add_option("--disk", arguments.disk, "pfs/-/disks/NAME")->required();
  app.add_option("--op", arguments.op, "write, read or sync")
      ->required()
      ->check(CLI::IsMember({"write", "read", "sync"}));
  app.add_option("--io", arguments.io_bytes, "bytes of one operation; a power of two");
  app.add_option("--bytes", arguments.bytes, "bytes to transfer, or to spread small writes over");
  app.add_option("--window", arguments.window_bytes, "bytes in flight");
  app.add_option("--count", arguments.count, "durable writes (sync)")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  if (const absl::Status status = h2bd::bench::Run(arguments); !status.ok()) {
    h2bd::bench::Die("channel_load", status);
  }
  return 0;
}
