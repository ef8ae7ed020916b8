#include "core/fsck/rewind.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/fsck/trial_devices.h"
#include "core/media/placement.h"
#include "core/volhdr/volume_set.h"

namespace h2bd {
namespace {

constexpr uint64_t kErasedBytes = 4096;

// The device that holds the root volume of the set.
BlockDevice& RootOf(std::span<BlockDevice* const> devices, const VolumeSet& set) {
  const std::string& name = set.devices->root().name();
  const auto it = std::find_if(devices.begin(), devices.end(),
                               [&](BlockDevice* device) { return device->name() == name; });
  H2_ASSERT(it != devices.end());
  return **it;
}

}  // namespace

absl::StatusOr<RewindReport> Rewind(std::span<BlockDevice* const> devices, int back, bool write,
                                    const CheckOptions& options) {
  if (back < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("header ", -back, " is no older one, legal: -1 and below"));
  }
  const TrialDevices copies(devices);
  H2_ASSIGN_OR_RETURN(const VolumeSet newest, AssembleVolumeSet(copies.Handles(), NullLogger()));
  H2_ASSIGN_OR_RETURN(const VolumeSet set, AssembleVolumeSet(copies.Handles(), NullLogger(), back));
  RewindReport report;
  report.slot = set.slot;
  report.mirror_tid = set.header->mirror_tid;
  report.newest_mirror_tid = newest.header->mirror_tid;
  std::vector<std::pair<Tid, int>> newer;
  for (const HeaderProbe& probe : set.root_probes) {
    if (!probe.present || !probe.status.ok()) continue;
    if (probe.header->mirror_tid > report.mirror_tid) {
      newer.emplace_back(probe.header->mirror_tid, probe.slot);
    }
  }
  std::sort(newer.rbegin(), newer.rend());
  for (const auto& [tid, slot] : newer) report.erased.push_back(slot);

  CheckOptions only = options;
  only.slot = set.slot;
  report.check = CheckDevices(devices, only);
  if (report.check.errors != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("header ", -back, " (slot ", set.slot, ", mirror_tid ", report.mirror_tid.v,
                     ") is not sound: ", report.check.ToString(Severity::kError)));
  }
  if (!write) return report;
  BlockDevice& root = RootOf(devices, set);
  for (const int slot : report.erased) {
    H2_RETURN_IF_ERROR(
        root.Write(HeaderSlotOffset(slot), AlignedBuffer::Zeroed(kErasedBytes).span()));
    H2_RETURN_IF_ERROR(root.Sync());
  }
  return report;
}

}  // namespace h2bd
