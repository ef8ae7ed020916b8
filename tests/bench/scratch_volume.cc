#include "tests/bench/scratch_volume.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/random.h"
#include "core/device/file_device.h"
#include "core/volume/format.h"

namespace h2bd::bench {

absl::StatusOr<std::unique_ptr<Volume>> MakeScratchVolume(const std::string& path) {
  H2_ASSIGN_OR_RETURN(std::unique_ptr<BlockDevice> device, OpenFileDevice(path, {}, NullLogger()));
  return MakeScratchVolume(std::move(device), {});
}

absl::StatusOr<std::unique_ptr<Volume>> MakeScratchVolume(std::unique_ptr<BlockDevice> device,
                                                          const VolumeOptions& options) {
  std::vector<std::unique_ptr<BlockDevice>> devices;
  devices.push_back(std::move(device));
  FormatOptions format;
  format.force = true;
  H2_RETURN_IF_ERROR(Format(devices, format, SystemClock(), SystemRandom()).status());
  return Volume::Open(std::move(devices), options, {});
}

VolumeOptions OnlyOnSync(uint64_t dirty_limit_bytes) {
  VolumeOptions options;
  options.dirty_limit_bytes = dirty_limit_bytes;
  options.flush_start_fraction = 1;
  options.flush_age = absl::ZeroDuration();
  return options;
}

absl::StatusOr<DiskRef> MakeDisk(Volume& volume, const std::string& name, uint64_t size_bytes) {
  H2_ASSIGN_OR_RETURN(const DiskName disk, DiskName::Parse(name));
  CreateDiskOptions options;
  options.size_bytes = size_bytes;
  H2_RETURN_IF_ERROR(volume.CreateDisk(disk, options).status());
  return volume.OpenDisk(disk);
}

absl::Status FillDisk(Volume& volume, const DiskRef& disk, PayloadSource& payload,
                      uint64_t io_bytes) {
  for (uint64_t at = 0; at < disk->size_bytes(); at += io_bytes) {
    H2_RETURN_IF_ERROR(volume.Write(disk, at, payload.Next(io_bytes), {}).status());
  }
  return absl::OkStatus();
}

std::string PhasesJson(const SyncResult& result) {
  std::string json = "{";
  for (int phase = 0; phase < kFlushPhases; ++phase) {
    absl::StrAppend(&json, phase > 0 ? ", " : "", "\"", Name(static_cast<FlushPhase>(phase)),
                    "\": ", absl::ToDoubleMilliseconds(result.phases[phase]));
  }
  return json + "}";
}

}  // namespace h2bd::bench
