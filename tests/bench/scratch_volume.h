// A fresh volume for a benchmark.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/volume/volume.h"
#include "tests/bench/payload.h"

namespace h2bd::bench {

// Formats the file or block device, whatever it holds, and opens it with the settings that a server
// has.
absl::StatusOr<std::unique_ptr<Volume>> MakeScratchVolume(const std::string& path);
absl::StatusOr<std::unique_ptr<Volume>> MakeScratchVolume(std::unique_ptr<BlockDevice> device,
                                                          const VolumeOptions& options);

// Options with which no cycle runs but the one that a Sync asks for.
VolumeOptions OnlyOnSync(uint64_t dirty_limit_bytes);

// Creates and opens a disk in the default PFS.
absl::StatusOr<DiskRef> MakeDisk(Volume& volume, const std::string& name, uint64_t size_bytes);

// Writes all of the disk, `io_bytes` at a time.
absl::Status FillDisk(Volume& volume, const DiskRef& disk, PayloadSource& payload,
                      uint64_t io_bytes = kMiB);

// How long the phases of a cycle took: {"cut": ms, …}.
std::string PhasesJson(const SyncResult& result);

}  // namespace h2bd::bench
