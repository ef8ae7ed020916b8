#include "server/config.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <functional>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "server/version.h"

namespace h2bd {
namespace {

// One setting with a value: how it is read from text, and its value as it stands in a TOML file.
struct Setting {
  const char* name;
  const char* help;
  std::function<absl::Status(ServerConfig&, const std::string&)> set;
  std::function<std::string(ServerConfig&)> toml;
};

struct Flag {
  const char* name;
  const char* help;
  bool& (*field)(ServerConfig&);
};

template <class T>
using Field = T& (*)(ServerConfig&);

// A TOML string. (CLI11's reader knows no escapes, so a text with quotes or backslashes does not
// read back.)
std::string Quoted(absl::string_view text) {
  return absl::StrCat("\"", absl::Utf8SafeCEscape(text), "\"");
}

template <class T, class Parse, class Print>
Setting Make(const char* name, const char* help, Field<T> field, Parse parse, Print print) {
  return {name, help,
          [field, parse](ServerConfig& config, const std::string& text) -> absl::Status {
            H2_ASSIGN_OR_RETURN(field(config), parse(text));
            return absl::OkStatus();
          },
          [field, print](ServerConfig& config) -> std::string { return print(field(config)); }};
}

Setting Size(const char* name, const char* help, Field<uint64_t> field) {
  return Make(name, help, field, ParseSize, [](uint64_t v) { return Quoted(SizeText(v)); });
}

Setting Time(const char* name, const char* help, Field<absl::Duration> field) {
  return Make(name, help, field, ParseDuration,
              [](absl::Duration v) { return Quoted(absl::FormatDuration(v)); });
}

Setting Text(const char* name, const char* help, Field<std::string> field) {
  return Make(
      name, help, field,
      [](const std::string& text) -> absl::StatusOr<std::string> { return text; }, Quoted);
}

template <class T>
Setting Number(const char* name, const char* help, Field<T> field, T min, T max) {
  return Make(
      name, help, field,
      [min, max](const std::string& text) -> absl::StatusOr<T> {
        T value{};
        if (absl::SimpleAtoi(text, &value) && value >= min && value <= max) return value;
        return absl::InvalidArgumentError(
            absl::StrCat("\"", text, "\" is not legal; legal: ", min, " to ", max));
      },
      [](T value) { return absl::StrCat(value); });
}

// A value out of a few words.
template <class T>
Setting Choice(const char* name, const char* help, Field<T> field,
               std::vector<std::pair<std::string, T>> choices) {
  auto parse = [choices](const std::string& text) -> absl::StatusOr<T> {
    std::vector<std::string> words;
    for (const auto& [word, value] : choices) {
      if (word == text) return value;
      words.push_back(word);
    }
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\" is not legal; legal: ", absl::StrJoin(words, ", ")));
  };
  auto print = [choices](T value) {
    return Quoted(std::find_if(choices.begin(), choices.end(), [value](const auto& c) {
                    return c.second == value;
                  })->first);
  };
  return Make(name, help, field, parse, print);
}

Setting MetricsListen() {
  return {"metrics", "HOST:PORT of the metrics and health page (HTTP), or \"off\"",
          [](ServerConfig& config, const std::string& text) -> absl::Status {
            config.metrics_enabled = text != "off";
            if (!config.metrics_enabled) return absl::OkStatus();
            H2_ASSIGN_OR_RETURN(config.metrics, ParseEndpoint(text));
            if (config.metrics.unix_socket) {
              return absl::InvalidArgumentError("the metrics page cannot listen on a unix socket");
            }
            return absl::OkStatus();
          },
          [](ServerConfig& config) {
            return Quoted(config.metrics_enabled ? config.metrics.ToString() : "off");
          }};
}

using Config = ServerConfig;

std::vector<Setting> Settings() {
  return {
      Make<Endpoint>(
          "listen", "HOST:PORT, [IPV6]:PORT or unix:PATH of the gRPC service",
          [](Config& c) -> Endpoint& { return c.listen; }, ParseEndpoint,
          [](const Endpoint& e) { return Quoted(e.ToString()); }),
      MetricsListen(),
      Text("default-pfs", "PFS that \"pfs/-\" stands for (default: DATA, or the only one)",
           [](Config& c) -> std::string& { return c.options.default_pfs; }),
      Number<size_t>(
          "flusher-threads", "threads that write dirty data out; 0: the cores, at most 8",
          [](Config& c) -> size_t& { return c.options.flusher_threads; }, 0, 256),
      Size("dirty-limit", "bytes that may be dirty before writers wait",
           [](Config& c) -> uint64_t& { return c.options.dirty_limit_bytes; }),
      Time("flush-age", "age of dirty data that starts a cycle; 0: never by age",
           [](Config& c) -> absl::Duration& { return c.options.flush_age; }),
      Size("block-cache", "bytes of clean logical blocks to keep",
           [](Config& c) -> uint64_t& { return c.options.block_cache_bytes; }),
      Size("chain-cache", "bytes of tables to keep",
           [](Config& c) -> uint64_t& { return c.options.chain_cache_bytes; }),
      Time("transaction-idle-timeout", "an idle transaction expires after this",
           [](Config& c) -> absl::Duration& { return c.options.transactions.idle_timeout; }),
      Time("transaction-total-timeout", "an open transaction expires after this",
           [](Config& c) -> absl::Duration& { return c.options.transactions.total_timeout; }),
      Make<int>(
          "header",
          "look at the volume, for reading only, through an older volume header: -1 for the one "
          "before the newest",
          [](Config& c) -> int& { return c.options.header_back; },
          [](const std::string& text) -> absl::StatusOr<int> {
            int header = 0;
            if (absl::SimpleAtoi(text, &header) && header <= 0 && header > -kVolumeHeaderSlots) {
              return -header;
            }
            return absl::InvalidArgumentError(
                absl::StrCat("\"", text, "\" is not legal; legal: 0 to ", 1 - kVolumeHeaderSlots));
          },
          [](int back) { return absl::StrCat(-back); }),
      Number<uint32_t>(
          "transactions-per-session", "transactions that one connection may have open",
          [](Config& c) -> uint32_t& { return c.options.transactions.open_per_session; }, 1, 65536),
      Choice<LogFormat>("log-format", "text or json",
                        [](Config& c) -> LogFormat& { return c.log_format; },
                        {{"text", LogFormat::kText}, {"json", LogFormat::kJson}}),
      Choice<LogSeverity>("log-level", "debug, info, warning or error",
                          [](Config& c) -> LogSeverity& { return c.log_level; },
                          {{"debug", LogSeverity::kDebug},
                           {"info", LogSeverity::kInfo},
                           {"warning", LogSeverity::kWarning},
                           {"error", LogSeverity::kError}}),
      Text("tls-cert", "PEM file with the server's certificate chain",
           [](Config& c) -> std::string& { return c.tls.cert_path; }),
      Text("tls-key", "PEM file with its private key",
           [](Config& c) -> std::string& { return c.tls.key_path; }),
      Text("tls-client-ca", "PEM file; clients must show a certificate that it signed",
           [](Config& c) -> std::string& { return c.tls.client_ca_path; }),
      Size("max-message-size", "largest gRPC message, 128K to 256M",
           [](Config& c) -> uint64_t& { return c.limits.max_message_bytes; }),
      Size("stream-window", "payload bytes in flight on one Channel stream",
           [](Config& c) -> uint64_t& { return c.limits.stream_window_bytes; }),
      Number<uint32_t>(
          "stream-window-ops", "operations in flight on one Channel stream",
          [](Config& c) -> uint32_t& { return c.limits.stream_window_ops; }, 1, 65536),
      Number<uint32_t>(
          "max-channels", "Channel streams open at the same time",
          [](Config& c) -> uint32_t& { return c.limits.max_channels; }, 1, 65536),
      Number<uint32_t>(
          "max-calls", "other calls in flight",
          [](Config& c) -> uint32_t& { return c.limits.max_calls; }, 1, 65536),
      Size("max-call-bytes", "payload bytes of other calls in flight",
           [](Config& c) -> uint64_t& { return c.limits.max_call_bytes; }),
      Size("network-memory", "bytes that gRPC may hold for messages",
           [](Config& c) -> uint64_t& { return c.limits.network_memory_bytes; }),
      Number<uint32_t>(
          "network-threads", "completion queues of Channel; 0: half of the cores",
          [](Config& c) -> uint32_t& { return c.threads.network; }, 0, 256),
      Number<uint32_t>(
          "reader-threads", "reads that wait for the device at the same time",
          [](Config& c) -> uint32_t& { return c.threads.readers; }, 1, 1024),
      Number<uint32_t>(
          "writer-threads", "writes that wait for memory at the same time",
          [](Config& c) -> uint32_t& { return c.threads.writers; }, 1, 1024),
      Number<uint32_t>(
          "control-threads", "control calls that are carried out at the same time",
          [](Config& c) -> uint32_t& { return c.threads.control; }, 1, 1024),
      Time("drain-timeout", "how long a stop waits for calls in flight",
           [](Config& c) -> absl::Duration& { return c.drain_timeout; }),
  };
}

std::vector<Flag> Flags() {
  return {
      {"read-only", "open the volume for reading only",
       [](Config& c) -> bool& { return c.options.read_only; }},
      {"allow-one-header-slot",
       "serve a volume with a single volume header slot (below 2 GiB + 4 MiB) read-write",
       [](Config& c) -> bool& { return c.options.allow_one_header_slot; }},
      {"allow-unreadable-header",
       "serve a volume read-write although a header slot that may hold the newest header cannot be "
       "read: what only that header has is given up",
       [](Config& c) -> bool& { return c.options.allow_unreadable_header; }},
      {"insecure-listen-without-tls",
       "listen beyond this machine although anybody on the network can then read and write all "
       "disks",
       [](Config& c) -> bool& { return c.insecure_listen_without_tls; }},
  };
}

std::string EnvironmentName(absl::string_view setting) {
  return absl::StrCat("H2BD_", absl::AsciiStrToUpper(absl::StrReplaceAll(setting, {{"-", "_"}})));
}

// CLI11 lets the file win over the environment. A key whose variable is set is therefore dropped
// here, once it is known that such a key exists.
class FileBelowEnvironment final : public CLI::ConfigTOML {
 public:
  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
    std::vector<CLI::ConfigItem> keys = CLI::ConfigTOML::from_config(input);
    std::erase_if(keys, [](const CLI::ConfigItem& item) {
      const char* value = std::getenv(EnvironmentName(item.fullname()).c_str());
      return value != nullptr && *value != '\0' && IsSetting(item.fullname());
    });
    return keys;
  }

 private:
  static bool IsSetting(const std::string& name) {
    const auto named = [&name](const auto& s) { return name == s.name; };
    const std::vector<Setting> settings = Settings();
    const std::vector<Flag> flags = Flags();
    return name == "volume" || std::any_of(settings.begin(), settings.end(), named) ||
           std::any_of(flags.begin(), flags.end(), named);
  }
};

void AddSetting(CLI::App& app, const Setting& setting, ServerConfig& config) {
  app.add_option_function<std::string>(
         absl::StrCat("--", setting.name),
         [&config, setting](const std::string& text) {
           const absl::Status status = setting.set(config, text);
           if (!status.ok())
             throw CLI::ValidationError(setting.name, std::string(status.message()));
         },
         setting.help)
      ->envname(EnvironmentName(setting.name));
}

void AddFlag(CLI::App& app, const Flag& flag, ServerConfig& config) {
  app.add_flag_function(
         absl::StrCat("--", flag.name),
         [&config, flag](int64_t count) { flag.field(config) = count > 0; }, flag.help)
      ->envname(EnvironmentName(flag.name));
}

void AddFile(CLI::App& app) {
  const char* path = std::getenv("H2BD_CONFIG");
  const bool given = path != nullptr && *path != '\0';
  app.set_config("--config", given ? path : "", "TOML file with settings (also H2BD_CONFIG)",
                 given);
  app.config_formatter(std::make_shared<FileBelowEnvironment>());
  app.allow_config_extras(CLI::config_extras_mode::error);
}

absl::Status Wrong(absl::string_view setting, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(setting, ": ", why));
}

// What the settings mean together.
absl::Status Check(const ServerConfig& config) {
  const LimitsConfig& limits = config.limits;
  if (config.volume.empty())
    return Wrong("volume", "no device given; legal: --volume PATH[,PATH...]");
  if (config.tls.cert_path.empty() != config.tls.key_path.empty()) {
    return Wrong("tls-cert, tls-key", "one is given without the other");
  }
  if (!config.tls.client_ca_path.empty() && !config.tls.enabled()) {
    return Wrong("tls-client-ca", "needs tls-cert and tls-key");
  }
  if (!config.listen.IsLoopback() && !config.tls.enabled() && !config.insecure_listen_without_tls) {
    return Wrong("listen",
                 absl::StrCat(config.listen.ToString(),
                              " is reachable from other machines; give tls-cert and tls-key, "
                              "or say insecure-listen-without-tls"));
  }
  if (limits.max_message_bytes < 128 * kKiB || limits.max_message_bytes > 256 * kMiB) {
    return Wrong("max-message-size",
                 absl::StrCat(SizeText(limits.max_message_bytes), "; legal: 128K to 256M"));
  }
  for (const auto& [name, value] : {std::pair{"dirty-limit", config.options.dirty_limit_bytes},
                                    std::pair{"stream-window", limits.stream_window_bytes},
                                    std::pair{"max-call-bytes", limits.max_call_bytes},
                                    std::pair{"network-memory", limits.network_memory_bytes}}) {
    if (value < kMiB) return Wrong(name, absl::StrCat(SizeText(value), "; legal: 1M and more"));
  }
  if (config.options.transactions.idle_timeout == absl::ZeroDuration() ||
      config.options.transactions.total_timeout == absl::ZeroDuration()) {
    return Wrong("transaction timeouts", "0; legal: more than 0");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CommandLine> ParseCommandLine(const std::vector<std::string>& arguments) {
  CommandLine line;
  ServerConfig& config = line.config;
  bool print_config = false;
  CLI::App app(
      "Serves virtual disks from one HAMMER2 volume over gRPC.\n"
      "Each setting is a flag, a variable H2BD_NAME or a key of a TOML file, in this order.",
      "h2bd-server");
  app.set_version_flag("--version", std::string(kVersion));
  app.add_flag("--print-config", print_config, "print the settings as a TOML file and end")
      ->configurable(false);
  app.add_option("--volume", config.volume, "devices of the volume, PATH[,PATH...], in any order")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->envname("H2BD_VOLUME");
  for (const Setting& setting : Settings()) AddSetting(app, setting, config);
  for (const Flag& flag : Flags()) AddFlag(app, flag, config);
  AddFile(app);
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::CallForHelp&) {
    line.print = app.help();
    return line;
  } catch (const CLI::CallForVersion&) {
    line.print = absl::StrCat("h2bd-server ", kVersion, "\n");
    return line;
  } catch (const CLI::Error& error) {
    return absl::InvalidArgumentError(error.what());
  }
  H2_RETURN_IF_ERROR(Check(config));
  if (print_config) line.print = ConfigText(config);
  return line;
}

std::string ConfigText(const ServerConfig& config) {
  ServerConfig copy = config;
  std::vector<std::string> volume;
  for (const std::string& path : config.volume) volume.push_back(Quoted(path));
  std::string text = absl::StrCat("volume = [", absl::StrJoin(volume, ", "), "]\n");
  for (const Setting& setting : Settings()) {
    absl::StrAppend(&text, setting.name, " = ", setting.toml(copy), "\n");
  }
  for (const Flag& flag : Flags()) {
    absl::StrAppend(&text, flag.name, " = ", flag.field(copy) ? "true" : "false", "\n");
  }
  return text;
}

}  // namespace h2bd
