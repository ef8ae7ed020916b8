// Values of the calls about PFSs, snapshots and clones (core/volume/volume.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/types.h"
#include "core/media/inode_data.h"

namespace h2bd {

// Reasons of kFailedPrecondition, besides those of core/base/status.h.
inline constexpr char kReasonHeld[] = "HELD";                         // a snapshot that is held
inline constexpr char kReasonSnapshotInUse[] = "SNAPSHOT_IN_USE";     // it is being read as a whole
inline constexpr char kReasonPfsNotEmpty[] = "PFS_NOT_EMPTY";         // it has names in it
inline constexpr char kReasonOpenTransaction[] = "OPEN_TRANSACTION";  // which has staged something

// What new disks of a PFS get, and what a disk stores its blocks with from now on; blocks that are
// stored keep theirs (spec 03 section 9). What is not set stays as it is.
struct PfsSettings {
  std::optional<CompMethod> comp;
  // zlib: 6 to 9, or 0 for its default; others: 0.
  std::optional<int> comp_level;
  // iscsi32, xxhash64 or sha192: a block without a check cannot be trusted (F-147).
  std::optional<CheckMethod> check;
  std::optional<uint64_t> quota_bytes;  // stored bytes; 0: none
};

// The PFS "pfs@name". A snapshot whose label has no '@', as other implementations make them, has no
// `pfs` and its label as `name`.
struct SnapshotName {
  std::string pfs, name;
  std::string Label() const { return pfs.empty() ? name : pfs + "@" + name; }
  static SnapshotName OfLabel(const std::string& label);
  friend bool operator==(const SnapshotName&, const SnapshotName&) = default;
};

struct SnapshotOptions {
  bool automatic = false;  // made by a retention rule, which may delete it again
  bool held = false;
};

struct SnapshotInfo {
  SnapshotName name;
  Uuid fsid{};
  absl::Time time;
  Tid tid;  // what it has was written up to this modify_tid
  bool held = false, automatic = false;
  OpSeq seq;  // when it was made by this call: it has every change up to this one
  uint64_t referenced_bytes = 0;  // what it names, shared or not
};
using SnapshotsDone = absl::AnyInvocable<void(absl::StatusOr<std::vector<SnapshotInfo>>)>;

// When a change of PFSs took place, and which header has it.
struct ChangeInfo {
  OpSeq seq;
  Tid mirror_tid;
};
using ChangeDone = absl::AnyInvocable<void(absl::StatusOr<ChangeInfo>)>;

}  // namespace h2bd
