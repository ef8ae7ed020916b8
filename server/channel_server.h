// The completion queues of the data path, one thread for each, and the streams on them.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "server/channel_stream.h"

namespace h2bd {

// Order of calls: constructor (before BuildAndStart), Start (after it), Drain, then
// grpc::Server::Shutdown, then Stop.
class ChannelServer {
 public:
  ChannelServer(ServiceEnv& env, RawIoService& service, grpc::ServerBuilder& builder,
                size_t queues);
  ~ChannelServer();
  ChannelServer(const ChannelServer&) = delete;
  ChannelServer& operator=(const ChannelServer&) = delete;

  void Start();
  // Every stream takes no more frames and ends when what is in flight is answered.
  void Drain() ABSL_LOCKS_EXCLUDED(mu_);
  // Waits until all streams are gone, then ends the threads.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

  ServiceEnv& env() { return env_; }
  RawIoService& service() { return service_; }

  // For streams.
  void Add(ChannelStream* stream) ABSL_LOCKS_EXCLUDED(mu_);
  void Remove(ChannelStream* stream) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  ServiceEnv& env_;
  RawIoService& service_;
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues_;
  std::vector<std::thread> threads_;
  absl::Mutex mu_;
  // Those that wait for a call, too.
  absl::flat_hash_set<ChannelStream*> streams_ ABSL_GUARDED_BY(mu_);
};

}  // namespace h2bd
