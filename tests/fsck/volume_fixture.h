// Opening and checking an image in memory.
#pragma once

#include <string>

#include "core/fsck/check.h"
#include "core/volhdr/volume_set.h"
#include "tests/support/memory_device.h"

namespace h2bd {

// The fixture, expanded once per process. It must be there.
const SparseImage& CachedFixture(const std::string& name);

// The devices stay the caller's and outlive the set.
absl::StatusOr<VolumeSet> OpenSet(MemoryDevice& device);

CheckReport CheckImage(MemoryDevice& device, const CheckOptions& options = {});

std::string Sha256Hex(ConstByteSpan bytes);

}  // namespace h2bd
