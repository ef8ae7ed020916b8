// What the first bytes of a device say about it. Private to core/volhdr.
#pragma once

#include <string>

#include "core/device/block_device.h"

namespace h2bd {

inline constexpr char kSignatureHammer2[] = "HAMMER2";

// As DetectSignature, but looks only at the first 256 KiB: what guests of a volume wrote near the
// end of the device cannot pass for anything.
absl::StatusOr<std::string> DetectHeadSignature(BlockDevice& device);

}  // namespace h2bd
