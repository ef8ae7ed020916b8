// Volume headers that keep a volume from being opened, or that would be opened in its place.
// Private to the repair.
#pragma once

#include <vector>

#include "core/fsck/repair.h"

namespace h2bd {

// Works slot by slot on each device, with a barrier after each write:
//  * erases (first 4 KiB) valid headers that lie past the end of the volume, be they of another one
//    or left by a larger version of this one;
//  * version 1 that another system has grown (spec 02 section 8.3): a new header with total_size 0;
//  * slots of a device that is not the root get its best header again.
// Which of two volumes in the same place is meant cannot be known: that stays.
absl::Status MendHeaders(std::span<BlockDevice* const> devices, std::vector<RepairAction>& actions);

}  // namespace h2bd
