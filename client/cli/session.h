// One run of the command: the options that all commands share, the connection, where output goes
// and what came of it.
#pragma once

#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/api/client.h"
#include "client/cli/output.h"

namespace h2bd::cli {

// Not thread-safe.
class Session {
 public:
  explicit Session(std::ostream& out) : out_(out) {}

  // --server, --output, --tls-*, --timeout, each with its environment variable H2BD_….
  void AddGlobalOptions(CLI::App& app);

  // Connects at the first call. The client belongs to the session.
  absl::StatusOr<client::Client*> client();

  std::ostream& out() { return out_; }
  bool json() const { return output_ == OutputFormat::kJson; }
  const absl::Status& status() const { return status_; }

  // Makes `run` what happens when `command` was given.
  void OnCommand(CLI::App* command, std::function<absl::Status()> run);

 private:
  std::ostream& out_;
  client::ConnectOptions connect_;
  client::TlsOptions tls_;
  bool use_tls_ = false;
  OutputFormat output_ = OutputFormat::kTable;
  std::unique_ptr<client::Client> client_;
  absl::Status status_;
};

// A size, offset or length: ParseSize (size.h), a usage error where that fails.
CLI::Option* AddSizeOption(CLI::App* command, const std::string& flags, uint64_t* value,
                           const std::string& description);
CLI::Option* AddSizeOption(CLI::App* command, const std::string& flags,
                           std::optional<uint64_t>* value, const std::string& description);

// A disk's name: DiskName::Parse, a usage error where that fails.
CLI::Option* AddDiskOption(CLI::App* command, const std::string& flags, client::DiskName* value,
                           const std::string& description);
CLI::Option* AddDiskOption(CLI::App* command, const std::string& flags,
                           std::optional<client::DiskName>* value, const std::string& description);

// "30s", "2m", "500ms", or a plain number of seconds. kInvalidArgument unless positive.
absl::StatusOr<absl::Duration> ParseTimeout(absl::string_view text);

}  // namespace h2bd::cli
