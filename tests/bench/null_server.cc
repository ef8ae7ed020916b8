// The yardstick for the data path: an IoService whose Channel answers at once and touches no
// payload. What it costs is what gRPC costs. One completion queue on one thread, raw frames,
// answers to writes gathered while one is sent.
//
//   null_server --listen HOST:PORT
//
// Serves until SIGTERM.
#include <grpcpp/grpcpp.h>
#include <signal.h>

#include <cstdio>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "CLI/CLI.hpp"
#include "h2bd/v1/io_service.grpc.pb.h"
#include "tests/bench/channel_wire.h"
#include "tests/bench/payload.h"

namespace h2bd::bench {
namespace {

using NullService = v1::IoService::WithRawMethod_Channel<v1::IoService::Service>;
constexpr size_t kMaxReadBytes = size_t{32} << 20;

class NullChannel;

// What the completion queue hands back: which stream, and which of its operations is done.
struct Event {
  NullChannel* channel;
  void (NullChannel::*done)(bool ok);
};

// One stream, in use by one thread. `ended()` once no operation of it is under way or ever will be.
class NullChannel {
 public:
  NullChannel(NullService& service, grpc::ServerCompletionQueue& queue, ConstByteSpan payload)
      : payload_(payload) {
    service.RequestChannel(&context_, &stream_, &queue, &queue, &started_);
  }
  bool ended() const { return ended_; }
  bool is_start(const Event* event) const { return event == &started_; }

 private:
  void OnStarted(bool ok) {
    if (ok) {
      stream_.Read(&incoming_, &read_);
    } else {
      ended_ = true;
    }
  }
  void OnRead(bool ok) {
    if (ok) {
      Answer(ParseRequest(incoming_));
      stream_.Read(&incoming_, &read_);
    } else {
      at_end_ = true;
    }
    SendNext();
  }
  void OnWritten(bool ok) {
    writing_ = false;
    if (!ok) waiting_.clear();
    SendNext();
  }
  void OnFinished(bool) { ended_ = true; }

  void Answer(const std::optional<Request>& request) {
    if (!request.has_value()) {
      waiting_.push_back({.code = grpc::StatusCode::INVALID_ARGUMENT});
    } else if (request->op == Op::kWrite && !waiting_.empty() && waiting_.back().is_write &&
               waiting_.back().id + 1 == request->id) {
      waiting_.back().id = request->id;
      waiting_.back().cumulative++;
    } else {
      waiting_.push_back({.id = request->id,
                          .is_write = request->op == Op::kWrite,
                          .handle = request->op == Op::kOpen ? 1u : 0u,
                          .read_bytes = request->op == Op::kRead ? request->length : 0});
    }
  }
  void SendNext() {
    if (writing_ || finishing_) return;
    if (!waiting_.empty()) {
      const Pending next = waiting_.front();
      waiting_.pop_front();
      writing_ = true;
      stream_.Write(EncodeResponse({.id = next.id,
                                    .code = next.code,
                                    .message = {},
                                    .cumulative = next.cumulative,
                                    .handle = next.handle,
                                    .data = payload_.first(next.read_bytes)}),
                    &written_);
    } else if (at_end_) {
      finishing_ = true;
      stream_.Finish(grpc::Status::OK, &finished_);
    }
  }

  struct Pending {
    uint64_t id = 0;
    uint32_t code = 0;
    bool is_write = false;
    uint64_t cumulative = 0;
    uint32_t handle = 0;
    uint64_t read_bytes = 0;
  };

  const ConstByteSpan payload_;
  grpc::ServerContext context_;
  grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer> stream_{&context_};
  grpc::ByteBuffer incoming_;
  std::deque<Pending> waiting_;
  bool writing_ = false, at_end_ = false, finishing_ = false, ended_ = false;
  Event started_{this, &NullChannel::OnStarted}, read_{this, &NullChannel::OnRead},
      written_{this, &NullChannel::OnWritten}, finished_{this, &NullChannel::OnFinished};
};

// Runs the streams until the queue is shut down.
void RunStreams(NullService& service, grpc::ServerCompletionQueue& queue, ConstByteSpan payload) {
  std::map<NullChannel*, std::unique_ptr<NullChannel>> channels;
  const auto accept = [&] {
    auto channel = std::make_unique<NullChannel>(service, queue, payload);
    channels.emplace(channel.get(), std::move(channel));
  };
  accept();
  void* tag = nullptr;
  bool ok = false;
  while (queue.Next(&tag, &ok)) {
    const Event* event = static_cast<Event*>(tag);
    NullChannel* channel = event->channel;
    if (ok && channel->is_start(event)) accept();
    (channel->*event->done)(ok);
    if (channel->ended()) channels.erase(channel);
  }
}

int Serve(const std::string& address) {
  sigset_t stop_signals;
  sigemptyset(&stop_signals);
  sigaddset(&stop_signals, SIGTERM);
  sigaddset(&stop_signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &stop_signals, nullptr);  // before gRPC starts its threads

  PayloadSource source(Content::kRandom, 1);
  NullService service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
  builder.SetMaxReceiveMessageSize(-1);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::ServerCompletionQueue> queue = builder.AddCompletionQueue();
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    std::fprintf(stderr, "null_server: cannot listen on %s\n", address.c_str());
    return 1;
  }
  std::thread network([&] { RunStreams(service, *queue, source.Next(kMaxReadBytes)); });
  int received = 0;
  sigwait(&stop_signals, &received);
  server->Shutdown(std::chrono::system_clock::now());
  queue->Shutdown();
  network.join();
  return 0;
}

}  // namespace
}  // namespace h2bd::bench

int main(int argc, char** argv) {
  h2bd::bench::TuneAllocator();
  std::string address = "127.0.0.1:7521";
  CLI::App app("IoService.Channel that answers at once");
  app.add_option("--listen", address, "HOST:PORT");
  CLI11_PARSE(app, argc, argv);
  return h2bd::bench::Serve(address);
}
