// What the benchmarks of the flusher write to.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/device/block_device.h"

namespace h2bd::bench {

// "memory": a run of memory without any lock; what is written is copied, by the caller's processor.
// "sink": the same, but 64 KiB blocks that are neither headers nor freemap are thrown away. A disk
// controller fetches the bytes itself, so this is nearer to one than a copy is; data cannot be read
// back.
// Anything else: a file or block device; a file that does not exist is made, every byte written.
class DeviceSource {
 public:
  static constexpr uint64_t kDeviceBytes = uint64_t{4} << 30;

  static absl::StatusOr<DeviceSource> Make(const std::string& name);
  // The same bytes each time; close one before the next is opened.
  absl::StatusOr<std::unique_ptr<BlockDevice>> Open() const;

 private:
  class Memory;
  explicit DeviceSource(std::string name) : name_(std::move(name)) {}

  std::string name_;
  std::shared_ptr<Memory> memory_;  // null: a file
};

}  // namespace h2bd::bench
