// The running service: gRPC with all its services, health, reflection and channelz, and the metrics
// page.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "core/volume/volume.h"
#include "server/config.h"

namespace h2bd {

class Server {
 public:
  // Listens and serves `volume`, which outlives the server, as do clock and logger. kUnavailable
  // when an address cannot be listened on, kInvalidArgument for TLS files that cannot be read.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerConfig& config, Volume& volume,
                                                       Clock& clock, Logger& logger);
  // Stop, without a time for draining, if it has not been called.
  ~Server();

  // In this order: health says NOT_SERVING; new calls, and frames of Channel streams, are refused
  // with SHUTTING_DOWN; what is in flight is carried out for at most `drain_timeout`, and cancelled
  // then; no connection is left. Open transactions are the volume's, whose Close aborts them. True
  // when nothing had to be cancelled.
  bool Stop(absl::Duration drain_timeout);

  // The ports that are really listened on (for port 0); 0 for a unix socket and for no metrics
  // page.
  int grpc_port() const;
  int metrics_port() const;

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace h2bd
