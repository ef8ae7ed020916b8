#include "core/flush/flush_types.h"

namespace h2bd {

absl::string_view Name(FlushPhase phase) {
  switch (phase) {
    case FlushPhase::kCut:
      return "cut";
    case FlushPhase::kInodes:
      return "inodes";
    case FlushPhase::kPfsRoots:
      return "pfs_roots";
    case FlushPhase::kSuperRoot:
      return "super_root";
    case FlushPhase::kFreemap:
      return "freemap";
    case FlushPhase::kHeaderImage:
      return "header_image";
    case FlushPhase::kWriteout:
      return "writeout";
    case FlushPhase::kBarrier1:
      return "barrier1";
    case FlushPhase::kHeader:
      return "header";
    case FlushPhase::kBarrier2:
      return "barrier2";
  }
  return "unknown";
}

absl::string_view Name(FlushError error) {
  switch (error) {
    case FlushError::kEio:
      return "eio";
    case FlushError::kCheck:
      return "check";
    case FlushError::kEnospc:
      return "enospc";
    case FlushError::kInternal:
      return "internal";
  }
  return "unknown";
}

FlushError FlushErrorOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
      return FlushError::kEio;
    case absl::StatusCode::kDataLoss:
      return FlushError::kCheck;
    case absl::StatusCode::kResourceExhausted:
      return FlushError::kEnospc;
    default:
      return FlushError::kInternal;
  }
}

absl::string_view Name(CycleReason reason) {
  switch (reason) {
    case CycleReason::kSync:
      return "sync";
    case CycleReason::kAge:
      return "age";
    case CycleReason::kPressure:
      return "pressure";
    case CycleReason::kRetry:
      return "retry";
    case CycleReason::kRequest:
      return "request";
    case CycleReason::kClose:
      return "close";
  }
  return "unknown";
}

}  // namespace h2bd
