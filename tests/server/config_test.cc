#include "server/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>

namespace h2bd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Arguments that are legal by themselves.
std::vector<std::string> With(std::vector<std::string> more) {
  more.insert(more.begin(), {"--volume", "/dev/a"});
  return more;
}

// Sets a variable for one test.
class Env {
 public:
  Env(const char* name, const std::string& value) : name_(name) {
    setenv(name, value.c_str(), /*overwrite=*/1);
  }
  ~Env() { unsetenv(name_); }
  Env(const Env&) = delete;
  Env& operator=(const Env&) = delete;

 private:
  const char* name_;
};

std::string WriteFile(const std::string& text) {
  const std::string path = testing::TempDir() + "/h2bd_config_test.toml";
  std::ofstream(path) << text;
  return path;
}

ServerConfig Parsed(const std::vector<std::string>& arguments) {
  const absl::StatusOr<CommandLine> line = ParseCommandLine(arguments);
  EXPECT_TRUE(line.ok()) << line.status();
  return line.ok() ? line->config : ServerConfig();
}

std::string ErrorOf(const std::vector<std::string>& arguments) {
  const absl::StatusOr<CommandLine> line = ParseCommandLine(arguments);
  EXPECT_EQ(line.status().code(), absl::StatusCode::kInvalidArgument) << line.status();
  return std::string(line.status().message());
}

TEST(Config, DefaultsListenOnThisMachineOnly) {
  const ServerConfig config = Parsed({"--volume", "/dev/a"});
  EXPECT_EQ(config.listen.ToString(), "127.0.0.1:7420");
  EXPECT_EQ(config.metrics.ToString(), "127.0.0.1:9742");
  EXPECT_TRUE(config.metrics_enabled);
  EXPECT_FALSE(config.options.read_only);
  EXPECT_FALSE(config.tls.enabled());
}

TEST(Config, VolumeTakesCommasAndRepetition) {
  EXPECT_THAT(Parsed({"--volume", "/dev/a,/dev/b", "--volume", "/dev/c"}).volume,
              ElementsAre("/dev/a", "/dev/b", "/dev/c"));
}

TEST(Config, FlagBeatsEnvironmentBeatsFileBeatsDefault) {
  const std::string file = WriteFile(
      "volume = [\"/dev/f1\", \"/dev/f2\"]\n"
      "dirty-limit = \"1M\"\nflush-age = \"1s\"\nlog-format = \"json\"\nread-only = true\n");
  const Env limit("H2BD_DIRTY_LIMIT", "2M");
  const Env age("H2BD_FLUSH_AGE", "2s");
  const ServerConfig config = Parsed({"--config", file, "--flush-age", "3s"});
  EXPECT_EQ(config.options.flush_age, absl::Seconds(3)) << "flag";
  EXPECT_EQ(config.options.dirty_limit_bytes, 2 * kMiB) << "environment";
  EXPECT_EQ(config.log_format, LogFormat::kJson) << "file";
  EXPECT_TRUE(config.options.read_only) << "file";
  EXPECT_THAT(config.volume, ElementsAre("/dev/f1", "/dev/f2"));
  EXPECT_EQ(config.options.block_cache_bytes, 512 * kMiB) << "default";
}

TEST(Config, EnvironmentBeatsFileForFlagsAndLists) {
  const std::string file = WriteFile("volume = [\"/dev/f\"]\nread-only = true\n");
  const Env config_file("H2BD_CONFIG", file);
  EXPECT_TRUE(Parsed({}).options.read_only) << "H2BD_CONFIG names the file";
  const Env read_only("H2BD_READ_ONLY", "false");
  const Env volume("H2BD_VOLUME", "/dev/x,/dev/y");
  EXPECT_FALSE(Parsed({}).options.read_only);
  EXPECT_THAT(Parsed({}).volume, ElementsAre("/dev/x", "/dev/y"));
}

TEST(Config, UnknownKeysAreErrors) {
  EXPECT_THAT(ErrorOf(With({"--no-such-setting", "1"})), HasSubstr("no-such-setting"));
  EXPECT_THAT(ErrorOf(With({"--config", WriteFile("no-such-key = 1\n")})),
              HasSubstr("no-such-key"));
  EXPECT_THAT(ErrorOf(With({"stray"})), HasSubstr("stray"));
  // A variable does not make a key legal that does not exist.
  const Env variable("H2BD_NO_SUCH_KEY", "1");
  EXPECT_THAT(ErrorOf(With({"--config", WriteFile("no-such-key = 1\n")})),
              HasSubstr("no-such-key"));
}

TEST(Config, MissingFileIsAnError) {
  EXPECT_THAT(ErrorOf(With({"--config", "/nonexistent/h2bd.toml"})), HasSubstr("/nonexistent"));
  const Env config_file("H2BD_CONFIG", "/nonexistent/env.toml");
  EXPECT_THAT(ErrorOf(With({})), HasSubstr("/nonexistent"));
}

TEST(Config, BadValuesSayWhatIsLegal) {
  struct Case {
    std::vector<std::string> arguments;
    const char* setting;
    const char* says;
  };
  for (const Case& c : {
           Case{{"--dirty-limit", "lots"}, "dirty-limit", "not a size"},
           Case{{"--dirty-limit", "12Q"}, "dirty-limit", "not a size"},
           Case{{"--dirty-limit", "-1"}, "dirty-limit", "not a size"},
           Case{{"--dirty-limit", "99999999999T"}, "dirty-limit", "not a size"},
           Case{{"--dirty-limit", "1K"}, "dirty-limit", "1M and more"},
           Case{{"--flush-age", "5"}, "flush-age", "not a duration"},
           Case{{"--flush-age", "-5s"}, "flush-age", "not a duration"},
           Case{{"--flush-age", "inf"}, "flush-age", "not a duration"},
           Case{{"--listen", "nowhere"}, "listen", "not an address"},
           Case{{"--listen", "127.0.0.1:70000"}, "listen", "not an address"},
           Case{{"--listen", "[::1:7420"}, "listen", "not an address"},
           Case{{"--metrics", "unix:/x"}, "metrics", "unix socket"},
           Case{{"--log-level", "loud"}, "log-level", "warning"},
           Case{{"--log-format", "xml"}, "log-format", "json"},
           Case{{"--flusher-threads", "1000"}, "flusher-threads", "0 to 256"},
           Case{{"--max-message-size", "1K"}, "max-message-size", "128K to 256M"},
           Case{{"--max-channels", "0"}, "max-channels", "1 to 65536"},
           Case{{"--tls-cert", "c.pem"}, "tls-cert", "without the other"},
           Case{{"--tls-key", "k.pem"}, "tls-cert", "without the other"},
           Case{{"--tls-client-ca", "a.pem"}, "tls-client-ca", "needs"},
           Case{{"--transaction-idle-timeout", "0"}, "transaction", "more than 0"},
           Case{{"--transactions-per-session", "0"}, "transactions-per-session", "1 to 65536"},
       }) {
    const std::string error = ErrorOf(With(c.arguments));
    EXPECT_THAT(error, HasSubstr(c.setting)) << c.arguments[0] << " " << c.arguments[1];
    EXPECT_THAT(error, HasSubstr(c.says)) << c.arguments[0] << " " << c.arguments[1];
  }
  EXPECT_THAT(ErrorOf({}), HasSubstr("volume"));
}

TEST(Config, NetworkNeedsTlsOrAnExplicitWord) {
  EXPECT_THAT(ErrorOf(With({"--listen", "0.0.0.0:7420"})),
              HasSubstr("insecure-listen-without-tls"));
  EXPECT_THAT(ErrorOf(With({"--listen", "host.example:7420"})), HasSubstr("other machines"));
  EXPECT_EQ(Parsed(With({"--listen", "[::]:1", "--insecure-listen-without-tls"})).listen.ToString(),
            "[::]:1");
  EXPECT_TRUE(
      Parsed(With({"--listen", "0.0.0.0:1", "--tls-cert", "c", "--tls-key", "k"})).tls.enabled());
}

TEST(Config, MetricsPageCanBeSwitchedOff) {
  EXPECT_FALSE(Parsed(With({"--metrics", "off"})).metrics_enabled);
}

TEST(Config, PrintedConfigurationReadsBackTheSame) {
  const std::vector<std::string> arguments = With(
      {"--volume", "/dev/with space", "--volume", "/dev/b", "--dirty-limit", "48M", "--flush-age",
       "1m30s", "--read-only", "--log-format", "json", "--listen", "unix:/run/h2bd.sock",
       "--metrics", "off", "--stream-window", "4097K", "--default-pfs", "DATA"});
  std::vector<std::string> printing = arguments;
  printing.push_back("--print-config");
  const absl::StatusOr<CommandLine> line = ParseCommandLine(printing);
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->print, ConfigText(Parsed(arguments)));
  const ServerConfig again = Parsed({"--config", WriteFile(line->print)});
  EXPECT_EQ(ConfigText(again), line->print);
  EXPECT_EQ(again.options.dirty_limit_bytes, 48 * kMiB);
  EXPECT_EQ(again.listen.host, "/run/h2bd.sock");
}

TEST(Config, HelpAndVersionNeedNoVolume) {
  const absl::StatusOr<CommandLine> help = ParseCommandLine({"--help"});
  ASSERT_TRUE(help.ok()) << help.status();
  EXPECT_THAT(help->print, HasSubstr("--allow-one-header-slot"));
  const absl::StatusOr<CommandLine> version = ParseCommandLine({"--version"});
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_THAT(version->print, HasSubstr("h2bd-server "));
}

TEST(Units, SizesReadBack) {
  for (const uint64_t bytes : {uint64_t{0}, uint64_t{1}, 1023 * kKiB, 64 * kKiB, 33 * kMiB,
                               256 * kGiB, 3 * kTiB, 5000 * kTiB, UINT64_MAX}) {
    const absl::StatusOr<uint64_t> back = ParseSize(SizeText(bytes));
    ASSERT_TRUE(back.ok()) << SizeText(bytes);
    EXPECT_EQ(*back, bytes);
  }
  EXPECT_EQ(SizeText(256 * kMiB), "256M");
  EXPECT_EQ(*ParseSize("2GiB"), 2 * kGiB);
  EXPECT_EQ(*ParseSize("2g"), 2 * kGiB);
  for (const char* bad :
       {"", "M", "1.5G", "1 G", "1GB", "0x10", "18446744073709551616", "16777216T"}) {
    EXPECT_FALSE(ParseSize(bad).ok()) << bad;
  }
}

TEST(Units, LoopbackIsRecognised) {
  for (const char* local : {"127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1", "unix:/a"}) {
    EXPECT_TRUE(ParseEndpoint(local)->IsLoopback()) << local;
  }
  for (const char* open :
       {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "localhost.example:1", "128.0.0.1:1"}) {
    EXPECT_FALSE(ParseEndpoint(open)->IsLoopback()) << open;
  }
}

}  // namespace
}  // namespace h2bd
