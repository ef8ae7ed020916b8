// Finding the shadow copy of a volume header (header_ring.h). Private to core/volhdr.
#pragma once

#include <memory>

#include "core/device/block_device.h"
#include "core/media/volume_data.h"
#include "core/volhdr/volume_set.h"

namespace h2bd {

// Reads one candidate at `off`. Not null only for a header that validates, fits on the device and
// says itself that its shadow lies at `off`.
std::unique_ptr<VolumeData> ReadShadow(BlockDevice& device, ByteOff off);

// The shadow of the volume on a device none of whose slots validates; null when there is none.
// `slot_zero` says where to look when its first sector survived, and what would be too old: no
// shadow is ever behind the header that was written after it, so an older one was left by somebody
// who does not keep shadows.
std::unique_ptr<VolumeData> FindShadow(BlockDevice& device, const HeaderProbe& slot_zero);

}  // namespace h2bd
