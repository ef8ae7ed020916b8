#include "tests/bench/scratch_volume.h"

#include <utility>
#include <vector>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/random.h"
#include "core/device/file_device.h"
#include "core/volume/format.h"

namespace h2bd::bench {

absl::StatusOr<std::unique_ptr<Volume>> MakeScratchVolume(const std::string& path) {
  std::vector<std::unique_ptr<BlockDevice>> devices(1);
  H2_ASSIGN_OR_RETURN(devices[0], OpenFileDevice(path, {}, NullLogger()));
  FormatOptions format;
  format.force = true;
  H2_RETURN_IF_ERROR(Format(devices, format, SystemClock(), SystemRandom()).status());
  return Volume::Open(std::move(devices), {}, {});
}

absl::StatusOr<DiskRef> MakeDisk(Volume& volume, const std::string& name, uint64_t size_bytes) {
  H2_ASSIGN_OR_RETURN(const DiskName disk, DiskName::Parse(name));
  CreateDiskOptions options;
  options.size_bytes = size_bytes;
  H2_RETURN_IF_ERROR(volume.CreateDisk(disk, options).status());
  return volume.OpenDisk(disk);
}

}  // namespace h2bd::bench
