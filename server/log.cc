#include "server/log.h"

#include <grpc/support/log.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace h2bd {
namespace {

constexpr char kTextPattern[] = "%Y-%m-%dT%H:%M:%S.%e%z %l %v";
constexpr char kJsonPattern[] = R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l",%v})";

std::string JsonString(absl::string_view text) {
  return nlohmann::json(std::string(text))
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// Quoted where it is not one plain word.
std::string TextValue(const std::string& value) {
  const std::string escaped = absl::Utf8SafeCEscape(value);
  const bool plain =
      escaped == value && !value.empty() && value.find_first_of(" =\"") == std::string::npos;
  return plain ? value : absl::StrCat("\"", escaped, "\"");
}

spdlog::level::level_enum ToSpdlog(LogSeverity severity) {
  switch (severity) {
    case LogSeverity::kDebug:
      return spdlog::level::debug;
    case LogSeverity::kInfo:
      return spdlog::level::info;
    case LogSeverity::kWarning:
      return spdlog::level::warn;
    case LogSeverity::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

// gRPC's log function takes no argument of ours.
Logger* grpc_logger = nullptr;

class StderrLogger final : public Logger {
 public:
  StderrLogger(LogFormat format, LogSeverity level)
      : format_(format), logger_("h2bd", std::make_shared<spdlog::sinks::stderr_sink_mt>()) {
    logger_.set_pattern(format == LogFormat::kJson ? kJsonPattern : kTextPattern);
    logger_.set_level(ToSpdlog(level));
    logger_.flush_on(spdlog::level::debug);
  }

  void Write(LogSeverity severity, absl::string_view message,
             std::initializer_list<LogField> fields) override {
    const spdlog::level::level_enum level = ToSpdlog(severity);
    if (!logger_.should_log(level)) return;
    const std::string line = LogLine(format_, message, fields);
    logger_.log(level, spdlog::string_view_t(line.data(), line.size()));
  }

 private:
  const LogFormat format_;
  spdlog::logger logger_;
};

}  // namespace

GrpcLogRedirect::GrpcLogRedirect(Logger& logger) {
  grpc_logger = &logger;
  gpr_set_log_function([](gpr_log_func_args* line) {
    const LogSeverity severity =
        line->severity == GPR_LOG_SEVERITY_ERROR ? LogSeverity::kWarning : LogSeverity::kDebug;
    grpc_logger->Write(severity, line->message, {{"from", "grpc"}});
  });
}

// Back to gRPC's default.
GrpcLogRedirect::~GrpcLogRedirect() { gpr_set_log_function(nullptr); }

std::unique_ptr<Logger> NewStderrLogger(LogFormat format, LogSeverity level) {
  return std::make_unique<StderrLogger>(format, level);
}

std::string LogLine(LogFormat format, absl::string_view message,
                    std::initializer_list<LogField> fields) {
  std::string line = format == LogFormat::kJson ? absl::StrCat("\"message\":", JsonString(message))
                                                : absl::Utf8SafeCEscape(message);
  for (const LogField& field : fields) {
    if (format == LogFormat::kJson) {
      absl::StrAppend(&line, ",", JsonString(field.first), ":", JsonString(field.second));
    } else {
      absl::StrAppend(&line, " ", field.first, "=", TextValue(field.second));
    }
  }
  return line;
}

}  // namespace h2bd
