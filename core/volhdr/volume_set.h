// From devices to a volume: probe the headers of each device, check that they belong together, and
// choose the header to mount (spec 01 sections 2.6 and 2.7).
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/log.h"
#include "core/device/device_set.h"
#include "core/media/volume_data.h"

namespace h2bd {

// What one slot of one device holds.
struct HeaderProbe {
  int slot = 0;
  bool present = false;                // the slot lies below the device's size
  absl::Status status;                 // OK: valid; else why not
  std::unique_ptr<VolumeData> header;  // raw content where it could be read, valid or not
};

// All four slots of a device. Never writes; I/O errors are in the probes.
std::array<HeaderProbe, kVolumeHeaderSlots> ProbeHeaders(BlockDevice& device);

// The best valid slot (highest mirror_tid, ties to the lowest), or nullopt.
std::optional<int> BestSlot(const std::array<HeaderProbe, kVolumeHeaderSlots>& probes);

// Whether only total_size, which must be 0 in version 1, keeps this header from being valid:
// another system has grown the volume (spec 02 section 8.3).
bool IsGrownVersion1(const HeaderProbe& probe);

// The slot of the header that is `back` headers older than the newest one (0: the newest itself),
// among the valid headers of that volume. Copies with one mirror_tid count once. kNotFound says how
// many there are.
absl::StatusOr<int> SlotOfOlderHeader(const std::array<HeaderProbe, kVolumeHeaderSlots>& probes,
                                      int back);

// A volume's devices in order, with everything that opening found out.
struct VolumeSet {
  std::unique_ptr<DeviceSet> devices;
  std::unique_ptr<VolumeData> header;  // the chosen one, of the root volume
  int slot = 0;                        // where it was found
  bool from_shadow = false;  // came from the shadow copy (header_ring.h), slot 0 being damaged
  std::array<HeaderProbe, kVolumeHeaderSlots> root_probes;  // of the root volume
  std::unique_ptr<VolumeData> shadow;  // the valid shadow copy of a one-slot volume, else null
};

// `devices` in any order. Errors name the device: kFailedPrecondition for not HAMMER2 (with what
// was found instead), wrong byte order, unknown version, and for a device whose slots hold headers
// of different volumes; kDataLoss when all header copies are damaged or the device is shorter than
// its volume; kUnavailable when none can be read; kInvalidArgument when the devices do not form one
// volume set (missing, twice, of different volumes). Never writes.
//
// With `header_back` the chosen header is that many older than the newest one, for reading only:
// kNotFound when there are not so many.
absl::StatusOr<VolumeSet> AssembleVolumeSet(std::vector<std::unique_ptr<BlockDevice>> devices,
                                            Logger& logger, int header_back = 0);

// What lives on a device that is about to be formatted: "HAMMER2", "ext4", "xfs", "btrfs", "LVM2",
// "LUKS", "GPT", "DOS partition table", "swap", … or "" when no known signature is found. Never
// writes.
absl::StatusOr<std::string> DetectSignature(BlockDevice& device);

}  // namespace h2bd
