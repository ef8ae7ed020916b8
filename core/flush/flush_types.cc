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

}  // namespace h2bd
