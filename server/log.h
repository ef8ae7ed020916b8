// Log lines on stderr: readable text, or one JSON object for each line.
#pragma once

#include <memory>
#include <string>

#include "core/base/log.h"

namespace h2bd {

enum class LogFormat { kText, kJson };

// Drops what is below `level`. Thread-safe. Bytes that are not UTF-8 are replaced in JSON and
// escaped in text, so that a name from the media cannot forge a line.
std::unique_ptr<Logger> NewStderrLogger(LogFormat format, LogSeverity level);

// While it lives, gRPC's own log lines go to `logger`: its errors as warnings (most are peers that
// misbehave), everything else for debugging. One at a time; `logger` outlives it.
class GrpcLogRedirect {
 public:
  explicit GrpcLogRedirect(Logger& logger);
  ~GrpcLogRedirect();
  GrpcLogRedirect(const GrpcLogRedirect&) = delete;
  GrpcLogRedirect& operator=(const GrpcLogRedirect&) = delete;
};

// One line without time and level: `message key=value …`, or the inner part of a JSON object.
std::string LogLine(LogFormat format, absl::string_view message,
                    std::initializer_list<LogField> fields);

}  // namespace h2bd
