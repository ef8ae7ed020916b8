#include "client/api/connection.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "core/base/status.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace h2bd::client {
namespace {

// An answer to a read of 32 MiB, and its other fields.
constexpr int kReceiveBytesMax = 33 << 20;
// Our own delays (RetryPolicy) decide when to try again; the channel must be ready to connect by
// then.
constexpr int kReconnectFirstMs = 50;
constexpr int kReconnectMaxMs = 1000;
constexpr int kUnixFrameBytes = 1 << 20;  // larger frames pay on a unix socket

absl::Status ReadFile(const std::string& path, absl::string_view what, std::string* into) {
  if (path.empty()) return absl::OkStatus();
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  if (!file || text.fail()) {
    const std::string message = absl::StrCat(what, " ", path, ": ", std::strerror(errno));
    return errno == EACCES ? absl::PermissionDeniedError(message) : absl::NotFoundError(message);
  }
  *into = text.str();
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(
    const std::optional<TlsOptions>& tls) {
  if (!tls.has_value()) return grpc::InsecureChannelCredentials();
  if (tls->cert_file.empty() != tls->key_file.empty()) {
    return absl::InvalidArgumentError(
        "TLS: a certificate needs its key, and a key its certificate");
  }
  grpc::SslCredentialsOptions options;
  H2_RETURN_IF_ERROR(ReadFile(tls->ca_file, "TLS CA file", &options.pem_root_certs));
  H2_RETURN_IF_ERROR(ReadFile(tls->cert_file, "TLS certificate file", &options.pem_cert_chain));
  H2_RETURN_IF_ERROR(ReadFile(tls->key_file, "TLS key file", &options.pem_private_key));
  return grpc::SslCredentials(options);
}

}  // namespace

absl::StatusOr<std::shared_ptr<Connection>> MakeConnection(const ConnectOptions& options) {
  if (options.target.empty()) return absl::InvalidArgumentError("the server's address is empty");
  if (options.default_timeout <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError("the default time-out must be positive");
  }
  if (options.retry.attempts_max < 1) {
    return absl::InvalidArgumentError("retry: attempts_max is below 1");
  }
  H2_ASSIGN_OR_RETURN(const auto credentials, MakeCredentials(options.tls));
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kReceiveBytesMax);
  arguments.SetMaxSendMessageSize(-1);  // the server's limit counts
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectFirstMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kReconnectMaxMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMaxMs);
  // gRPC's own retries know nothing of what is safe here.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  // Two clients are two connections: on one, a large answer of the first would delay the second.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  if (absl::StartsWith(options.target, "unix:")) {
    arguments.SetInt(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, kUnixFrameBytes);
  }
  if (options.tls.has_value() && !options.tls->server_name.empty()) {
    arguments.SetSslTargetNameOverride(options.tls->server_name);
  }
  auto connection = std::make_shared<Connection>();
  connection->options = options;
  connection->channel = grpc::CreateCustomChannel(options.target, credentials, arguments);
  connection->disks = v1::DiskService::NewStub(connection->channel);
  connection->io = v1::IoService::NewStub(connection->channel);
  connection->transactions = v1::TransactionService::NewStub(connection->channel);
  connection->volume = v1::VolumeService::NewStub(connection->channel);
  return connection;
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const absl::Status plain(static_cast<absl::StatusCode>(status.error_code()),
                           status.error_message());
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) return plain;
  for (const google::protobuf::Any& detail : details.details()) {
    google::rpc::ErrorInfo info;
    if (!detail.UnpackTo(&info)) continue;
    // The reason that only repeats the code says nothing new.
    if (info.reason() == absl::StatusCodeToString(plain.code())) return plain;
    return WithReason(plain, info.reason());
  }
  return plain;
}

std::string InstanceOf(const grpc::ClientContext& context) {
  const auto& metadata = context.GetServerInitialMetadata();
  const auto found = metadata.find(kInstanceKey);
  return found == metadata.end() ? "" : std::string(found->second.data(), found->second.size());
}

absl::Time DeadlineOf(const Connection& connection, const CallOptions& options) {
  return connection.options.env.clock->WallNow() +
         options.timeout.value_or(connection.options.default_timeout);
}

std::string NewRequestId(const Connection& connection) {
  const std::array<std::byte, 16> uuid = NewUuid(*connection.options.env.random);
  return absl::BytesToHexString(AsText(uuid));
}

}  // namespace h2bd::client
