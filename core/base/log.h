// Log lines leave core/ through this seam; server/ and client/ decide how they look.
#pragma once

#include <initializer_list>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace h2bd {

enum class LogSeverity { kDebug, kInfo, kWarning, kError };

// One structured field: a name and its value, already text.
using LogField = std::pair<absl::string_view, std::string>;

// Thread-safe.
class Logger {
 public:
  virtual ~Logger() = default;
  virtual void Write(LogSeverity severity, absl::string_view message,
                     std::initializer_list<LogField> fields) = 0;

  void Debug(absl::string_view message, std::initializer_list<LogField> fields = {}) {
    Write(LogSeverity::kDebug, message, fields);
  }
  void Info(absl::string_view message, std::initializer_list<LogField> fields = {}) {
    Write(LogSeverity::kInfo, message, fields);
  }
  void Warning(absl::string_view message, std::initializer_list<LogField> fields = {}) {
    Write(LogSeverity::kWarning, message, fields);
  }
  void Error(absl::string_view message, std::initializer_list<LogField> fields = {}) {
    Write(LogSeverity::kError, message, fields);
  }
};

// Drops everything.
Logger& NullLogger();

}  // namespace h2bd
