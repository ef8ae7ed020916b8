// What a header says of the size of its volume (spec 02 sections 8.4 and 10.1).
#pragma once

#include <cstdint>

#include "core/media/volume_data.h"

namespace h2bd {

// allocator_size of a volume with the areas of `header` and an address space of `total_size` bytes.
uint64_t AllocatorSizeFor(const VolumeData& header, uint64_t total_size);

// Makes the header of a volume of one device say that it has `bytes`: total_size stays 0 in version
// 1. allocator_free and the CRCs are the caller's.
void SetVolumeBytes(VolumeData& header, uint64_t bytes);

}  // namespace h2bd
