// What the command's exit says to a script. Stable: numbers are never reused for something else.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace h2bd::cli {

enum class ExitCode {
  kOk = 0,
  kFailed = 1,         // anything that has no number of its own, local files included
  kUsage = 2,          // the command line or the request is wrong: INVALID_ARGUMENT, OUT_OF_RANGE
  kNotFound = 3,       // NOT_FOUND
  kAlreadyExists = 4,  // ALREADY_EXISTS
  kNoSpace = 5,        // RESOURCE_EXHAUSTED
  kDataLoss = 6,       // DATA_LOSS
  kUnavailable = 7,    // UNAVAILABLE
  kFailedPrecondition = 8,  // FAILED_PRECONDITION
  kAborted = 9,             // ABORTED
  kDeadline = 10,           // DEADLINE_EXCEEDED
  kDenied = 11,             // PERMISSION_DENIED, UNAUTHENTICATED
};

ExitCode ExitCodeOf(const absl::Status& status);

// The table above for --help.
std::string ExitCodeHelp();

// A fault of the machine that the command runs on (a local file, the terminal), so that it cannot
// be taken for an answer of the server: kUnknown with reason LOCAL_IO. `error` is an errno.
absl::Status LocalError(absl::string_view what, int error);

// "h2bd: MESSAGE (CODE, REASON)\n", or "(CODE)" where there is no reason.
std::string ErrorLine(const absl::Status& status);

}  // namespace h2bd::cli
