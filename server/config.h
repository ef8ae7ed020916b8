// The settings of h2bd-server: flag > H2BD_* environment > TOML file > default.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/types.h"
#include "core/volume/volume.h"
#include "server/log.h"
#include "server/units.h"

namespace h2bd {

struct TlsConfig {
  std::string cert_path, key_path;  // PEM; both or none
  std::string client_ca_path;       // PEM; clients must then show a certificate that it signed
  bool enabled() const { return !cert_path.empty(); }
};

// Bounds on what clients can make the server hold (P10).
struct LimitsConfig {
  uint64_t max_message_bytes = 32 * kMiB + 64 * kKiB;  // the largest Write and its other fields
  uint64_t stream_window_bytes =
      16 * kMiB;  // payload in flight on one Channel; one larger operation may pass
  uint32_t stream_window_ops = 1024;
  uint32_t max_channels = 256;               // Channel streams at the same time
  uint32_t max_calls = 1024;                 // other calls in flight
  uint64_t max_call_bytes = 512 * kMiB;      // payload of other calls in flight
  uint64_t network_memory_bytes = 1 * kGiB;  // what gRPC may hold for incoming messages
};

struct ThreadsConfig {
  uint32_t network = 0;   // completion queues of the data path; 0: half of the cores, at least 1
  uint32_t readers = 16;  // reads wait for the device here
  uint32_t writers = 8;   // writes wait for memory here
  uint32_t control = 4;   // everything else
};

struct ServerConfig {
  std::vector<std::string> volume;  // paths of the devices
  Endpoint listen{"127.0.0.1", 7420};
  Endpoint metrics{"127.0.0.1", 9742};
  bool metrics_enabled = true;
  VolumeOptions options;
  TlsConfig tls;
  bool insecure_listen_without_tls = false;
  LimitsConfig limits;
  ThreadsConfig threads;
  absl::Duration drain_timeout = absl::Seconds(10);
  LogFormat log_format = LogFormat::kText;
  LogSeverity log_level = LogSeverity::kInfo;
};

struct CommandLine {
  ServerConfig config;
  // Not empty (--help, --version, --print-config): print it and end with success.
  std::string print;
};

// Reads the arguments (without the program's name), the environment and the file that --config or
// H2BD_CONFIG names. kInvalidArgument says which setting is wrong and what is legal; an unknown key
// in the file is an error, too.
absl::StatusOr<CommandLine> ParseCommandLine(const std::vector<std::string>& arguments);

// The TOML file that gives this configuration.
std::string ConfigText(const ServerConfig& config);

}  // namespace h2bd
