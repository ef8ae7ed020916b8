// A volume on a memory device, for tests of the engine as a whole.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "core/volume/format.h"
#include "core/volume/volume.h"
#include "tests/support/memory_device.h"

namespace h2bd {

// Cycles run only where the test asks for them (Sync, RunCycle), on its own thread.
VolumeOptions ManualOptions();

// A formatted memory image of `size` bytes; the same seed gives the same bytes.
absl::StatusOr<SparseImage> FormattedImage(uint64_t size, const FormatOptions& options = {},
                                           uint64_t seed = 1);

// Opens a volume on a device that the caller keeps.
absl::StatusOr<std::unique_ptr<Volume>> OpenOn(BlockDevice& device, const VolumeOptions& options,
                                               const VolumeEnv& env = {});

// The strict checker finds no error below whichever header, no inode without a name and no wrong
// nlinks. For the end of a test that has written. `devices` are all of one volume.
void ExpectClean(std::span<BlockDevice* const> devices);
void ExpectClean(BlockDevice& device);

// Whole content of a disk.
absl::StatusOr<std::string> ReadAll(Volume& volume, const DiskRef& disk);

absl::Status WriteText(Volume& volume, const DiskRef& disk, uint64_t offset,
                       absl::string_view text);

}  // namespace h2bd
