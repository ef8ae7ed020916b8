#include "core/base/log.h"

namespace h2bd {
namespace {

class DroppingLogger final : public Logger {
 public:
  void Write(LogSeverity, absl::string_view, std::initializer_list<LogField>) override {}
};

}  // namespace

Logger& NullLogger() {
  static DroppingLogger logger;
  return logger;
}

}  // namespace h2bd
