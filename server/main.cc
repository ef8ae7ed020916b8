// h2bd-server: opens the volume, serves it, and stops in order.
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "core/device/file_device.h"
#include "core/volume/volume.h"
#include "server/config.h"
#include "server/log.h"
#include "server/server.h"
#include "server/status_map.h"
#include "server/version.h"

namespace h2bd {
namespace {

// Exit codes: what a service manager sees.
constexpr int kExitOk = 0;
constexpr int kExitFailed = 1;       // could not start, or not everything became durable at the end
constexpr int kExitUsage = 2;        // wrong settings
constexpr int kExitInterrupted = 3;  // a second signal cut the stop short

// glibc gives the memory of each large message back to the kernel at once and faults it in again
// for the next one; keeping it makes the data path 1.6 times as fast. First in main: the thresholds
// hold for what is allocated later.
void KeepFreedMemory() {
  constexpr int kMmapThreshold = 64 << 20;
  constexpr int kTrimThreshold = 512 << 20;
  constexpr int kTopPad = 16 << 20;
  mallopt(M_MMAP_THRESHOLD, kMmapThreshold);
  mallopt(M_TRIM_THRESHOLD, kTrimThreshold);
  mallopt(M_TOP_PAD, kTopPad);
}

// Before any thread starts, so that all inherit it and only WaitForSignal sees the signals.
sigset_t BlockStopSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  return set;
}

int WaitForSignal(const sigset_t& set) {
  int signal = 0;
  while (sigwait(&set, &signal) != 0) {
  }
  return signal;
}

absl::StatusOr<std::unique_ptr<Volume>> OpenVolume(const ServerConfig& config, Logger& logger) {
  std::vector<std::unique_ptr<BlockDevice>> devices;
  for (const std::string& path : config.volume) {
    H2_ASSIGN_OR_RETURN(devices.emplace_back(),
                        OpenFileDevice(path, {.read_only = config.options.read_only}, logger));
  }
  return Volume::Open(std::move(devices), config.options, {.logger = &logger});
}

int Fail(Logger& logger, absl::string_view what, const absl::Status& status) {
  logger.Error(what, {{"reason", WireReason(status)}, {"cause", WireMessage(status)}});
  return kExitFailed;
}

int Run(const ServerConfig& config, const sigset_t& stop_signals) {
  const std::unique_ptr<Logger> logger = NewStderrLogger(config.log_format, config.log_level);
  const GrpcLogRedirect grpc_log(*logger);
  logger->Info("starting", {{"version", kVersion}, {"volume", absl::StrJoin(config.volume, ",")}});
  if (!config.listen.IsLoopback() && !config.tls.enabled()) {
    logger->Warning("listening without TLS: anybody on the network can read and write all disks");
  }
  absl::StatusOr<std::unique_ptr<Volume>> volume = OpenVolume(config, *logger);
  if (!volume.ok()) return Fail(*logger, "cannot open the volume", volume.status());
  absl::StatusOr<std::unique_ptr<Server>> server =
      Server::Start(config, **volume, SystemClock(), *logger);
  if (!server.ok()) return Fail(*logger, "cannot serve", server.status());

  const int signal = WaitForSignal(stop_signals);
  logger->Info("stopping", {{"signal", absl::StrCat(signal)}});
  // Not joined: it waits for a signal that normally does not come. _exit leaves the volume as a
  // crash would, which is a state that opens.
  std::thread([stop_signals] {
    WaitForSignal(stop_signals);
    _exit(kExitInterrupted);
  }).detach();
  (*server)->Stop(config.drain_timeout);
  const absl::Status closed = (*volume)->Close();
  server->reset();
  if (!closed.ok()) return Fail(*logger, "not everything that was accepted is durable", closed);
  logger->Info("stopped");
  return kExitOk;
}

}  // namespace
}  // namespace h2bd

int main(int argc, char** argv) {
  // Abseil may come built with its deadlock detector, which costs a tenth of each Sync. The tests
  // run with it.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  h2bd::KeepFreedMemory();
  const sigset_t stop_signals = h2bd::BlockStopSignals();
  const absl::StatusOr<h2bd::CommandLine> line =
      h2bd::ParseCommandLine(std::vector<std::string>(argv + 1, argv + argc));
  if (!line.ok()) {
    std::fprintf(stderr, "h2bd-server: %s\n", std::string(line.status().message()).c_str());
    return h2bd::kExitUsage;
  }
  if (!line->print.empty()) {
    std::fputs(line->print.c_str(), stdout);
    return h2bd::kExitOk;
  }
  return h2bd::Run(line->config, stop_signals);
}
