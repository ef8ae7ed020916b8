// The one place where absl codes become gRPC codes.
#pragma once

#include <grpcpp/support/status.h>

#include <string>

#include "absl/status/status.h"

namespace h2bd {

inline constexpr char kErrorDomain[] = "h2bd";

// Reasons of the server itself; those of core are in core/base/status.h.
inline constexpr char kReasonServerBusy[] = "SERVER_BUSY";  // a limit on calls or bytes in flight
inline constexpr char kReasonShuttingDown[] = "SHUTTING_DOWN";  // the server drains
inline constexpr char kReasonTooManyHandles[] = "TOO_MANY_HANDLES";

// ErrorInfo.reason for a status that is not OK: the attached one, or else the name of the code
// ("NOT_FOUND").
std::string WireReason(const absl::Status& status);

// The message as it may travel: UTF-8, at most 1 KiB (trailers are limited to 8 KiB in all).
std::string WireMessage(const absl::Status& status);

// The same code and message; details hold a google.rpc.Status with ErrorInfo{reason, domain}.
grpc::Status ToGrpcStatus(const absl::Status& status);

// "OK", "NOT_FOUND", …: the spelling of google.rpc.Code, for reasons and metric labels.
const char* CodeName(absl::StatusCode code);

}  // namespace h2bd
