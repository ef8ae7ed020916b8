// Opening image files and disks for the offline commands.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "client/media/actions.h"
#include "core/device/block_device.h"
#include "core/fsck/media_reader.h"
#include "core/volhdr/volume_set.h"

namespace h2bd {

using Devices = std::vector<std::unique_ptr<BlockDevice>>;

// Errors name the path.
absl::StatusOr<Devices> OpenImages(const std::vector<std::string>& paths, bool read_only);

// The slot that the target names, nullopt for the newest. Errors as SlotOfOlderHeader.
absl::StatusOr<std::optional<int>> SlotOf(const MediaTarget& target, const Devices& devices);

// An assembled volume and a reader on the header that the target names.
struct OpenVolume {
  std::unique_ptr<VolumeSet> set;
  std::unique_ptr<MediaReader> reader;
};
absl::StatusOr<OpenVolume> OpenTarget(const MediaTarget& target);

// The non-owning form that core/fsck wants.
std::vector<BlockDevice*> PointersTo(const Devices& devices);

}  // namespace h2bd
