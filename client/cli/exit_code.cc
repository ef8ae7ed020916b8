#include "client/cli/exit_code.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"

namespace h2bd::cli {
namespace {

constexpr char kReasonLocalIo[] = "LOCAL_IO";

}  // namespace

ExitCode ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return ExitCode::kOk;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return ExitCode::kUsage;
    case absl::StatusCode::kNotFound:
      return ExitCode::kNotFound;
    case absl::StatusCode::kAlreadyExists:
      return ExitCode::kAlreadyExists;
    case absl::StatusCode::kResourceExhausted:
      return ExitCode::kNoSpace;
    case absl::StatusCode::kDataLoss:
      return ExitCode::kDataLoss;
    case absl::StatusCode::kUnavailable:
      return ExitCode::kUnavailable;
    case absl::StatusCode::kFailedPrecondition:
      return ExitCode::kFailedPrecondition;
    case absl::StatusCode::kAborted:
      return ExitCode::kAborted;
    case absl::StatusCode::kDeadlineExceeded:
      return ExitCode::kDeadline;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return ExitCode::kDenied;
    default:
      return ExitCode::kFailed;
  }
}

std::string ExitCodeHelp() {
  return "Exit codes:\n"
         "  0  done\n"
         "  1  failed for a reason that has no code of its own (local files included)\n"
         "  2  the command line or the request is wrong\n"
         "  3  no such disk, PFS or transaction\n"
         "  4  the name is taken\n"
         "  5  no space, or a limit was reached\n"
         "  6  data on the media is damaged\n"
         "  7  the server or its device is unavailable\n"
         "  8  not possible in the present state (read-only, in use, failed volume)\n"
         "  9  aborted, or the server restarted and may have lost what was not synced\n"
         "  10 the time allowed has passed\n"
         "  11 not permitted\n";
}

absl::Status LocalError(absl::string_view what, int error) {
  return WithReason(absl::UnknownError(absl::StrCat(what, ": ", std::strerror(error))),
                    kReasonLocalIo);
}

std::string ErrorLine(const absl::Status& status) {
  const std::string reason = ReasonOf(status);
  return absl::StrCat("h2bd: ", status.message(), " (", absl::StatusCodeToString(status.code()),
                      reason.empty() ? "" : ", ", reason, ")\n");
}

}  // namespace h2bd::cli
