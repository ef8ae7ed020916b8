#include "client/cli/session.h"

#include <ostream>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/cli/size.h"
#include "core/base/status.h"

namespace h2bd::cli {
namespace {

// An option whose text `parse` turns into a value. What it cannot read is a usage error; CLI11
// wants those thrown.
template <class T, class Parse>
CLI::Option* AddParsed(CLI::App* command, const std::string& flags, T* value, Parse parse,
                       const std::string& description) {
  return command->add_option_function<std::string>(
      flags,
      [flags, value, parse](const std::string& text) {
        auto parsed = parse(text);
        if (!parsed.ok()) {
          throw CLI::ValidationError(flags, std::string(parsed.status().message()));
        }
        *value = *std::move(parsed);
      },
      description);
}

absl::StatusOr<OutputFormat> ParseOutputFormat(absl::string_view text) {
  if (text == "table") return OutputFormat::kTable;
  if (text == "json") return OutputFormat::kJson;
  return absl::InvalidArgumentError(absl::StrCat("output form \"", text, "\"; legal: table, json"));
}

}  // namespace

void Session::AddGlobalOptions(CLI::App& app) {
  app.add_option("-s,--server", connect_.target, "Address of the server, HOST:PORT or unix:PATH")
      ->type_name("ADDRESS")
      ->envname("H2BD_SERVER")
      ->capture_default_str();
  AddParsed(&app, "-o,--output", &output_, ParseOutputFormat,
            "Form of the output: table or json [table]")
      ->type_name("FORM")
      ->envname("H2BD_OUTPUT");
  AddParsed(&app, "--timeout", &connect_.default_timeout, ParseTimeout,
            "Longest time for one call, e.g. 500ms, 30s, 2m; for transfers the longest time "
            "without progress [30s]")
      ->type_name("TIME")
      ->envname("H2BD_TIMEOUT");
  app.add_flag("--tls", use_tls_, "Encrypt, and trust the system's certificate authorities")
      ->envname("H2BD_TLS");
  const std::string group = "TLS (each switches --tls on)";
  app.add_option("--tls-ca", tls_.ca_file, "PEM file with the certificate authorities to trust")
      ->type_name("FILE")
      ->envname("H2BD_TLS_CA")
      ->group(group);
  app.add_option("--tls-cert", tls_.cert_file, "PEM file with the certificate of this client")
      ->type_name("FILE")
      ->envname("H2BD_TLS_CERT")
      ->group(group);
  app.add_option("--tls-key", tls_.key_file, "PEM file with the key of that certificate")
      ->type_name("FILE")
      ->envname("H2BD_TLS_KEY")
      ->group(group);
  app.add_option("--tls-server-name", tls_.server_name, "Name expected in the server's certificate")
      ->type_name("NAME")
      ->envname("H2BD_TLS_SERVER_NAME")
      ->group(group);
}

absl::StatusOr<client::Client*> Session::client() {
  if (client_ == nullptr) {
    const bool tls_given = !tls_.ca_file.empty() || !tls_.cert_file.empty() ||
                           !tls_.key_file.empty() || !tls_.server_name.empty();
    if (use_tls_ || tls_given) connect_.tls = tls_;
    H2_ASSIGN_OR_RETURN(client_, client::Client::Connect(connect_));
  }
  return client_.get();
}

void Session::OnCommand(CLI::App* command, std::function<absl::Status()> run) {
  command->callback([this, run = std::move(run)] { status_ = run(); });
}

CLI::Option* AddSizeOption(CLI::App* command, const std::string& flags, uint64_t* value,
                           const std::string& description) {
  return AddParsed(command, flags, value, ParseSize, description)->type_name("SIZE");
}

CLI::Option* AddSizeOption(CLI::App* command, const std::string& flags,
                           std::optional<uint64_t>* value, const std::string& description) {
  return AddParsed(command, flags, value, ParseSize, description)->type_name("SIZE");
}

CLI::Option* AddDiskOption(CLI::App* command, const std::string& flags, client::DiskName* value,
                           const std::string& description) {
  return AddParsed(command, flags, value, client::DiskName::Parse, description)->type_name("DISK");
}

CLI::Option* AddDiskOption(CLI::App* command, const std::string& flags,
                           std::optional<client::DiskName>* value, const std::string& description) {
  return AddParsed(command, flags, value, client::DiskName::Parse, description)->type_name("DISK");
}

absl::StatusOr<absl::Duration> ParseTimeout(absl::string_view text) {
  absl::Duration duration;
  double seconds = 0;
  if (absl::SimpleAtod(text, &seconds)) {
    duration = absl::Seconds(seconds);
  } else if (!absl::ParseDuration(text, &duration)) {
    return absl::InvalidArgumentError(
        absl::StrCat("time \"", text, "\"; legal: 500ms, 30s, 2m, or a number of seconds"));
  }
  if (!(duration > absl::ZeroDuration())) {
    return absl::InvalidArgumentError(absl::StrCat("time \"", text, "\" is not positive"));
  }
  return duration;
}

}  // namespace h2bd::cli
