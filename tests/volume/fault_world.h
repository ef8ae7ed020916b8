// A volume on a device that fails on demand, and what another process would find on it.
#pragma once

#include <memory>
#include <string>

#include "tests/support/crash_image.h"
#include "tests/support/fault_device.h"
#include "tests/volume/test_volume.h"

namespace h2bd {

// A volume whose disk "d" durably holds `before`; then the faults begin.
class FaultWorld {
 public:
  static constexpr uint64_t kDiskBytes = 600 * 1000;

  FaultWorld(const SparseImage& image, const FaultPlan& plan);

  // Writes 200,000 bytes into the middle of "d"; returns what the disk holds then.
  std::string Overwrite();
  // Content of "d" after a crash that loses nothing that the device has. Clean besides.
  std::string Reopened() const;
  // As MetricValues names it.
  double Metric(absl::string_view name) const;

  const std::string before = std::string(kDiskBytes, 'b');
  MemoryDevice memory;
  IoLog log;
  RecordingDevice recorder;
  FaultPoint point;
  FaultDevice faulty;
  std::unique_ptr<Volume> volume;
  DiskRef disk;
};

}  // namespace h2bd
