#include "tests/sim/sim_judge.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/fsck/check.h"
#include "core/volume/volume.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

absl::StatusOr<uint64_t> ReadDisk(Volume& volume, const DiskRef& disk) {
  const uint64_t size = disk->size_bytes();
  std::vector<uint64_t> blocks;
  AlignedBuffer buffer(kLogicalBytes);
  for (uint64_t at = 0; at < size; at += kLogicalBytes) {
    const uint64_t n = std::min(size - at, kLogicalBytes);
    H2_RETURN_IF_ERROR(volume.Read(disk, at, buffer.span().first(n), {}));
    std::memset(buffer.data() + n, 0, kLogicalBytes - n);
    blocks.push_back(BlockFingerprint(buffer.span()));
  }
  return DiskFingerprint(size, blocks);
}

absl::StatusOr<DiskFingerprints> ReadDisks(Volume& volume) {
  DiskFingerprints found;
  for (const PfsInfo& pfs : volume.ListPfs()) {
    H2_ASSIGN_OR_RETURN(const DiskList list, volume.ListDisks(pfs.label, 1000, ""));
    for (const DiskInfo& info : list.disks) {
      if (info.damaged)
        return absl::DataLossError(absl::StrCat(info.name.ToString(), " is damaged"));
      H2_ASSIGN_OR_RETURN(const DiskRef disk, volume.OpenDisk(info.name));
      H2_ASSIGN_OR_RETURN(found[SimDiskName(pfs.label, info.name.path)], ReadDisk(volume, disk));
    }
  }
  return found;
}

absl::Status Check(const std::vector<std::unique_ptr<MemoryDevice>>& devices) {
  std::vector<BlockDevice*> all;
  for (const auto& device : devices) all.push_back(device.get());
  CheckOptions options;
  options.all_slots_strict = true;
  const CheckReport report = CheckDevices(all, options);
  if (report.errors == 0) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("the checker found: ", report.ToString(Severity::kError)));
}

}  // namespace

absl::StatusOr<DiskFingerprints> ReadVolume(std::vector<SparseImage> images,
                                            const JudgeOptions& options) {
  std::vector<std::unique_ptr<MemoryDevice>> devices;
  std::vector<std::unique_ptr<BlockDevice>> borrowed;
  for (SparseImage& image : images) {
    devices.push_back(std::make_unique<MemoryDevice>(std::move(image)));
    borrowed.push_back(std::make_unique<BorrowedDevice>(*devices.back()));
  }
  DiskFingerprints found;
  {
    VolumeEnv env;
    env.clock = &options.clock;
    env.random = &options.random;
    absl::StatusOr<std::unique_ptr<Volume>> volume =
        Volume::Open(std::move(borrowed), ManualOptions(), env);
    if (!volume.ok()) return Annotate(volume.status(), "the volume does not open");
    H2_ASSIGN_OR_RETURN(found, ReadDisks(**volume));
    H2_RETURN_IF_ERROR((*volume)->Close());
  }
  if (options.check) H2_RETURN_IF_ERROR(Check(devices));
  return found;
}

}  // namespace h2bd
