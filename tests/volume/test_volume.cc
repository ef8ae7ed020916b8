#include "tests/volume/test_volume.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/base/random.h"
#include "core/fsck/check.h"

namespace h2bd {

VolumeOptions ManualOptions() {
  VolumeOptions options;
  options.manual_cycles = true;
  options.allow_one_header_slot = true;
  return options;
}

absl::StatusOr<SparseImage> FormattedImage(uint64_t size, const FormatOptions& options,
                                           uint64_t seed) {
  MemoryDevice device(size);
  SeededRandom random(seed);
  std::vector<std::unique_ptr<BlockDevice>> devices;
  devices.push_back(std::make_unique<BorrowedDevice>(device));
  H2_RETURN_IF_ERROR(Format(devices, options, SystemClock(), random).status());
  return device.Snapshot();
}

absl::StatusOr<std::unique_ptr<Volume>> OpenOn(BlockDevice& device, const VolumeOptions& options,
                                               const VolumeEnv& env) {
  std::vector<std::unique_ptr<BlockDevice>> devices;
  devices.push_back(std::make_unique<BorrowedDevice>(device));
  return Volume::Open(std::move(devices), options, env);
}

void ExpectClean(std::span<BlockDevice* const> devices) {
  CheckOptions strict;
  strict.all_slots_strict = true;
  const CheckReport report = CheckDevices(devices, strict);
  EXPECT_EQ(report.errors, 0u) << report.ToString(Severity::kError);
  // Warnings of the checker, because others leave them behind; h2bd never does.
  EXPECT_EQ(report.count(FindingCode::kInodeOrphan), 0u) << report.ToString();
  EXPECT_EQ(report.count(FindingCode::kNlinks), 0u) << report.ToString();
}

void ExpectClean(BlockDevice& device) {
  BlockDevice* devices[] = {&device};
  ExpectClean(devices);
}

absl::StatusOr<std::string> ReadAll(Volume& volume, const DiskRef& disk) {
  const uint64_t size = disk->size_bytes();
  std::string content(size, '\xff');
  for (uint64_t at = 0; at < size;) {
    const uint64_t n = std::min<uint64_t>(size - at, 4 * kMiB);
    H2_RETURN_IF_ERROR(
        volume.Read(disk, at, ByteSpan(reinterpret_cast<std::byte*>(content.data()) + at, n), {}));
    at += n;
  }
  return content;
}

absl::Status WriteText(Volume& volume, const DiskRef& disk, uint64_t offset,
                       absl::string_view text) {
  return volume.Write(disk, offset, AsBytes(text), {}).status();
}

}  // namespace h2bd
