#include "server/channel_server.h"

#include "core/base/executor.h"

namespace h2bd {
namespace {

// Calls that may arrive on a queue before its thread has come round to accept more.
constexpr int kAcceptsAhead = 8;

void Serve(grpc::ServerCompletionQueue& queue) {
  void* tag = nullptr;
  bool ok = false;
  while (queue.Next(&tag, &ok)) static_cast<ChannelStream::Event*>(tag)->Run(ok);
}

}  // namespace

ChannelServer::ChannelServer(ServiceEnv& env, RawIoService& service, grpc::ServerBuilder& builder,
                             size_t queues)
    : env_(env), service_(service) {
  for (size_t i = 0; i < queues; ++i) queues_.push_back(builder.AddCompletionQueue());
}

ChannelServer::~ChannelServer() { Stop(); }

void ChannelServer::Start() {
  for (const auto& queue : queues_) {
    for (int i = 0; i < kAcceptsAhead; ++i) ChannelStream::Accept(*this, *queue);
    threads_.emplace_back([&queue = *queue, number = threads_.size()] {
      NameThisThread("net" + std::to_string(number));
      Serve(queue);
    });
  }
}

void ChannelServer::Drain() {
  std::vector<std::shared_ptr<ChannelStream>> streams;
  {
    absl::MutexLock lock(&mu_);
    // A stream that is being destroyed has no owner any more, and needs no drain.
    for (ChannelStream* stream : streams_) {
      if (auto owner = stream->weak_from_this().lock()) streams.push_back(std::move(owner));
    }
  }
  for (const auto& stream : streams) stream->Drain();
}

void ChannelServer::Stop() {
  {
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(
        +[](absl::flat_hash_set<ChannelStream*>* streams) { return streams->empty(); }, &streams_));
  }
  for (const auto& queue : queues_) queue->Shutdown();
  for (std::thread& thread : threads_) thread.join();
  // gRPC wants a queue drained even when the server was never started and no thread served it.
  if (threads_.empty()) {
    for (const auto& queue : queues_) Serve(*queue);
  }
  threads_.clear();
  queues_.clear();
}

void ChannelServer::Add(ChannelStream* stream) {
  absl::MutexLock lock(&mu_);
  streams_.insert(stream);
}

void ChannelServer::Remove(ChannelStream* stream) {
  absl::MutexLock lock(&mu_);
  streams_.erase(stream);
}

}  // namespace h2bd
