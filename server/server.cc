#include "server/server.h"

#include <grpcpp/ext/channelz_service_plugin.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/executor.h"
#include "core/base/random.h"
#include "server/channel_server.h"
#include "server/disk_service.h"
#include "server/io_service.h"
#include "server/metrics_page.h"
#include "server/metrics_text.h"
#include "server/status_map.h"
#include "server/transaction_service.h"
#include "server/volume_service.h"

namespace h2bd {
namespace {

constexpr size_t kRememberedRequests = 4096;
constexpr absl::Duration kRememberRequestsFor = absl::Minutes(10);
constexpr absl::Duration kHealthInterval = absl::Seconds(1);
// A peer that is gone without a word is noticed after this, so that its stream gives back what it
// holds.
constexpr int kKeepaliveMs = 30'000;
constexpr int kKeepaliveTimeoutMs = 10'000;
constexpr int kMinClientPingMs = 10'000;
constexpr int kMaxStreamsPerConnection = 256;
constexpr int kMaxMetadataBytes = 16 * 1024;

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  if (!in || !(text << in.rdbuf())) {
    return absl::InvalidArgumentError(absl::StrCat("cannot read ", path));
  }
  return text.str();
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> Credentials(const TlsConfig& tls) {
  if (!tls.enabled()) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions options(
      tls.client_ca_path.empty() ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                                 : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  grpc::SslServerCredentialsOptions::PemKeyCertPair pair;
  H2_ASSIGN_OR_RETURN(pair.private_key, ReadFile(tls.key_path));
  H2_ASSIGN_OR_RETURN(pair.cert_chain, ReadFile(tls.cert_path));
  options.pem_key_cert_pairs.push_back(std::move(pair));
  if (!tls.client_ca_path.empty()) {
    H2_ASSIGN_OR_RETURN(options.pem_root_certs, ReadFile(tls.client_ca_path));
  }
  return grpc::SslServerCredentials(options);
}

std::string NewInstance() {
  return absl::StrFormat("%016x%016x", SystemRandom().Next64(), SystemRandom().Next64());
}

size_t NetworkQueues(const ThreadsConfig& threads) {
  if (threads.network != 0) return threads.network;
  return std::max<size_t>(1, std::thread::hardware_concurrency() / 2);
}

void SetLimits(const LimitsConfig& limits, grpc::ServerBuilder& builder) {
  const int message = static_cast<int>(limits.max_message_bytes);
  builder.SetMaxReceiveMessageSize(message);
  builder.SetMaxSendMessageSize(message);
  builder.SetResourceQuota(grpc::ResourceQuota("h2bd").Resize(limits.network_memory_bytes));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreamsPerConnection);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kMinClientPingMs);
  // A second server on the same address must fail instead of taking half of the connections.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
}

// Once for the process, before the first server is built.
void EnablePlugins() {
  static const bool enabled = [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::channelz::experimental::InitChannelzService();
    return true;
  }();
  static_cast<void>(enabled);
}

// Also what `/healthz` says.
absl::Status HealthOf(Volume& volume) { return volume.GetStatus().failure; }

}  // namespace

struct Server::Impl {
  Impl(const ServerConfig& c, Volume& v, Clock& clock_in, Logger& logger_in)
      : config(c),
        volume(v),
        logger(logger_in),
        gate(config.limits),
        requests(clock_in, kRememberedRequests, kRememberRequestsFor),
        control("control", config.threads.control),
        readers("reader", config.threads.readers),
        writers("writer", config.threads.writers),
        env{volume,   clock_in, config.limits, gate,    metrics,
            requests, control,  readers,       writers, NewInstance()},
        source(volume, metrics) {}

  absl::Status Start();
  // Until `stopping`: tells the health service when the volume fails.
  void WatchHealth();

  const ServerConfig config;
  Volume& volume;
  Logger& logger;
  CallGate gate;
  ServerMetrics metrics;
  RequestTable requests;
  ThreadPool control, readers, writers;
  ServiceEnv env;
  DiskServiceImpl disks{env};
  IoServiceImpl io{env};
  TransactionServiceImpl transactions{env};
  VolumeServiceImpl volumes{env};
  MetricsSource source;
  std::unique_ptr<ChannelServer> channels;
  std::unique_ptr<grpc::Server> grpc_server;
  std::unique_ptr<MetricsPage> page;
  int port = 0;
  std::thread health_thread;
  absl::Mutex mu;
  bool stopping ABSL_GUARDED_BY(mu) = false;
};

absl::Status Server::Impl::Start() {
  EnablePlugins();
  grpc::ServerBuilder builder;
  SetLimits(config.limits, builder);
  H2_ASSIGN_OR_RETURN(const auto credentials, Credentials(config.tls));
  const std::string address = config.listen.ToString();
  builder.AddListeningPort(address, credentials, &port);
  builder.RegisterService(&disks);
  builder.RegisterService(&io);
  builder.RegisterService(&transactions);
  builder.RegisterService(&volumes);
  channels = std::make_unique<ChannelServer>(env, io, builder, NetworkQueues(config.threads));
  grpc_server = builder.BuildAndStart();
  if (grpc_server == nullptr) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", address,
                     config.tls.enabled() ? ", or the TLS files are not usable" : ""));
  }
  if (config.listen.unix_socket) port = 0;
  channels->Start();
  if (config.metrics_enabled) {
    H2_ASSIGN_OR_RETURN(
        page, MetricsPage::Start(config.metrics, source, [this] { return HealthOf(volume); }));
  }
  health_thread = std::thread([this] { WatchHealth(); });
  logger.Info("serving", {{"listen", address},
                          {"port", absl::StrCat(port)},
                          {"tls", config.tls.enabled() ? "on" : "off"},
                          {"metrics", config.metrics_enabled ? config.metrics.ToString() : "off"}});
  return absl::OkStatus();
}

void Server::Impl::WatchHealth() {
  NameThisThread("health");
  bool serving = true;
  absl::MutexLock lock(&mu);
  while (!mu.AwaitWithTimeout(absl::Condition(&stopping), kHealthInterval)) {
    const absl::Status health = HealthOf(volume);
    if (health.ok() == serving) continue;
    serving = health.ok();
    grpc_server->GetHealthCheckService()->SetServingStatus(serving);
    logger.Error("the volume has failed; reads go on, writes are refused",
                 {{"reason", WireReason(health)}, {"cause", WireMessage(health)}});
  }
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerConfig& config, Volume& volume,
                                                      Clock& clock, Logger& logger) {
  std::unique_ptr<Server> server(new Server(std::make_unique<Impl>(config, volume, clock, logger)));
  H2_RETURN_IF_ERROR(server->impl_->Start());
  return server;
}

Server::~Server() { Stop(absl::ZeroDuration()); }

bool Server::Stop(absl::Duration drain_timeout) {
  Impl& impl = *impl_;
  {
    absl::MutexLock lock(&impl.mu);
    if (std::exchange(impl.stopping, true)) return true;
  }
  if (impl.health_thread.joinable()) impl.health_thread.join();
  if (impl.grpc_server == nullptr) {
    // It never listened: the queues have no streams, and gRPC wants them shut down all the same.
    if (impl.channels != nullptr) impl.channels->Stop();
    return true;
  }
  impl.grpc_server->GetHealthCheckService()->Shutdown();
  impl.gate.Drain();
  impl.channels->Drain();
  const bool drained = impl.gate.WaitIdle(drain_timeout);
  if (!drained) impl.logger.Warning("calls were still in flight and are cancelled");
  // Whatever is left, watchers of health for example, is cancelled.
  impl.grpc_server->Shutdown(std::chrono::system_clock::now());
  impl.channels->Stop();
  impl.page.reset();
  return drained;
}

int Server::grpc_port() const { return impl_->port; }
int Server::metrics_port() const { return impl_->page == nullptr ? 0 : impl_->page->port(); }

}  // namespace h2bd
