// Status for the world's faults, assertions for our own.
//
// Codes mean what design section 8 says: kInvalidArgument and kOutOfRange for a wrong request,
// kNotFound, kAlreadyExists, kResourceExhausted for no space, kDataLoss for damaged media,
// kUnavailable for failed I/O, kFailedPrecondition (with a reason) for a wrong state, kAborted for
// a transaction conflict.
#pragma once

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace h2bd {

// Machine-readable reasons. They travel as a payload of the status and reach clients as
// google.rpc.ErrorInfo.reason; messages are for people and are never parsed.
inline constexpr char kReasonReadOnly[] = "READ_ONLY";
inline constexpr char kReasonReadOnlyFailstop[] = "READ_ONLY_FAILSTOP";
inline constexpr char kReasonOneHeaderSlot[] = "ONE_HEADER_SLOT";
inline constexpr char kReasonUnreadableHeader[] = "UNREADABLE_HEADER";
inline constexpr char kReasonForeignSignature[] = "FOREIGN_SIGNATURE";
inline constexpr char kReasonInUse[] = "DEVICE_IN_USE";
inline constexpr char kReasonClosed[] = "VOLUME_CLOSED";

// The same status with `reason` attached; an OK status stays as it is.
absl::Status WithReason(absl::Status status, absl::string_view reason);

// The attached reason, or "" where there is none.
std::string ReasonOf(const absl::Status& status);

// The same code and reason, the message led by `context` and ": ".
absl::Status Annotate(const absl::Status& status, absl::string_view context);

// Prints and ends the process. For states that only a bug of ours can reach: stopping is better
// than flushing a wrong tree, so it stays on in release builds.
[[noreturn]] void AssertionFailed(const char* expression, const char* file, int line);

}  // namespace h2bd

#define H2_ASSERT(condition)                                   \
  do {                                                         \
    if (!(condition)) [[unlikely]] {                           \
      ::h2bd::AssertionFailed(#condition, __FILE__, __LINE__); \
    }                                                          \
  } while (false)

#define H2_RETURN_IF_ERROR(expression)      \
  do {                                      \
    absl::Status h2_status_ = (expression); \
    if (!h2_status_.ok()) [[unlikely]]      \
      return h2_status_;                    \
  } while (false)

#define H2_CONCAT_INNER_(a, b) a##b
#define H2_CONCAT_(a, b) H2_CONCAT_INNER_(a, b)

// H2_ASSIGN_OR_RETURN(auto x, F()); with F() returning absl::StatusOr.
#define H2_ASSIGN_OR_RETURN(lhs, expression) \
  H2_ASSIGN_OR_RETURN_(H2_CONCAT_(h2_or_, __LINE__), lhs, expression)
#define H2_ASSIGN_OR_RETURN_(holder, lhs, expression) \
  auto holder = (expression);                         \
  if (!holder.ok()) [[unlikely]]                      \
    return std::move(holder).status();                \
  lhs = *std::move(holder)
