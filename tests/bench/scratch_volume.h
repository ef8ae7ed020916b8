// A fresh volume for a benchmark.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/volume/volume.h"

namespace h2bd::bench {

// Formats the file or block device, whatever it holds, and opens it with the settings that a server
// has.
absl::StatusOr<std::unique_ptr<Volume>> MakeScratchVolume(const std::string& path);

// Creates and opens a disk in the default PFS.
absl::StatusOr<DiskRef> MakeDisk(Volume& volume, const std::string& name, uint64_t size_bytes);

}  // namespace h2bd::bench
