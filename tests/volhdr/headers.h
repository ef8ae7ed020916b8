// Volume headers made in memory, for the tests of this folder.
#pragma once

#include <memory>
#include <vector>

#include "core/media/volume_data.h"
#include "core/volhdr/volume_set.h"
#include "tests/support/memory_device.h"

namespace h2bd {

// A sealed header of volume `id` of a volume set with these sizes, as newfs writes it but for the
// trees. `fsid` fills all bytes of the identifier. One size and version 1 make an old volume.
std::unique_ptr<VolumeData> MakeHeader(const std::vector<uint64_t>& sizes, int id, Tid mirror_tid,
                                       int fsid = 0x11, uint32_t version = kVolumeVersionMulti);
// Of a volume on a single device.
std::unique_ptr<VolumeData> MakeHeader(uint64_t size, Tid mirror_tid);

// Makes it the header of commit `tid`: sealed, and different from any other in each of its sectors
// but a few, so that a torn write shows.
void Stamp(VolumeData& header, Tid tid);

// Past the device's own checks, at the place of `slot` or at `off`.
void WriteHeader(BlockDevice& device, int slot, const VolumeData& header);
void WriteBytes(BlockDevice& device, uint64_t off, ConstByteSpan bytes);

// A device of `size` with `header` in each slot that lies in the volume.
std::unique_ptr<MemoryDevice> MakeDevice(uint64_t size, const VolumeData& header,
                                         const std::string& name = "disk");

// Assembles devices that stay the caller's.
absl::StatusOr<VolumeSet> Assemble(const std::vector<BlockDevice*>& devices);

}  // namespace h2bd
