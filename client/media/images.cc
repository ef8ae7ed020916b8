#include "client/media/images.h"

#include "core/device/file_device.h"

namespace h2bd {

absl::StatusOr<Devices> OpenImages(const std::vector<std::string>& paths, bool read_only) {
  Devices devices;
  FileDeviceOptions options;
  options.read_only = read_only;
  for (const std::string& path : paths) {
    H2_ASSIGN_OR_RETURN(devices.emplace_back(), OpenFileDevice(path, options, NullLogger()));
  }
  return devices;
}

absl::StatusOr<std::optional<int>> SlotOf(const MediaTarget& target, const Devices& devices) {
  if (target.header_back == 0) return target.slot;
  for (const auto& device : devices) {
    const auto probes = ProbeHeaders(*device);
    const std::optional<int> best = BestSlot(probes);
    if (!best.has_value() || probes[static_cast<size_t>(*best)].header->volu_id != 0) continue;
    H2_ASSIGN_OR_RETURN(const int slot, SlotOfOlderHeader(probes, target.header_back));
    return slot;
  }
  return absl::NotFoundError("no device holds a valid header of a root volume");
}

absl::StatusOr<OpenVolume> OpenTarget(const MediaTarget& target) {
  H2_ASSIGN_OR_RETURN(Devices devices, OpenImages(target.images, /*read_only=*/true));
  H2_ASSIGN_OR_RETURN(const std::optional<int> slot, SlotOf(target, devices));
  H2_ASSIGN_OR_RETURN(VolumeSet set, AssembleVolumeSet(std::move(devices), NullLogger()));
  OpenVolume volume;
  volume.set = std::make_unique<VolumeSet>(std::move(set));
  H2_ASSIGN_OR_RETURN(MediaReader reader, MediaReader::Open(*volume.set, slot));
  volume.reader = std::make_unique<MediaReader>(std::move(reader));
  return volume;
}

std::vector<BlockDevice*> PointersTo(const Devices& devices) {
  std::vector<BlockDevice*> pointers;
  for (const auto& device : devices) pointers.push_back(device.get());
  return pointers;
}

}  // namespace h2bd
