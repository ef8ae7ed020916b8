#include "core/base/status.h"

#include <cstdio>
#include <cstdlib>
#include <optional>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace h2bd {
namespace {
constexpr char kReasonUrl[] = "h2bd/reason";
}  // namespace

absl::Status WithReason(absl::Status status, absl::string_view reason) {
  if (!status.ok() && !reason.empty()) status.SetPayload(kReasonUrl, absl::Cord(reason));
  return status;
}

std::string ReasonOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kReasonUrl);
  return payload.has_value() ? std::string(*payload) : std::string();
}

absl::Status Annotate(const absl::Status& status, absl::string_view context) {
  if (status.ok()) return status;
  return WithReason(absl::Status(status.code(), absl::StrCat(context, ": ", status.message())),
                    ReasonOf(status));
}

void AssertionFailed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "h2bd: assertion failed: %s at %s:%d\n", expression, file, line);
  std::fflush(stderr);
  std::abort();
}

}  // namespace h2bd
