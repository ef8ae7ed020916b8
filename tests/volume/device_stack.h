// Volumes over one or several devices in memory, each of which can fail and is recorded.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/volume/format.h"
#include "core/volume/volume.h"
#include "tests/support/crash_image.h"
#include "tests/support/fault_device.h"
#include "tests/support/memory_device.h"

namespace h2bd {

// What each device of a volume holds, in the order of the address space.
using SetImages = std::vector<SparseImage>;

absl::StatusOr<SetImages> FormattedSet(const std::vector<uint64_t>& sizes,
                                       const FormatOptions& options = {});

// Takes the space of every aligned group of 64 KiB that `leave_free` does not want (it is asked
// with the logical offset), and publishes that: what a volume is like when others have filled it.
// The checker reports a leak, which is no error.
absl::Status Occupy(SetImages& images, const std::function<bool(uint64_t)>& leave_free);

// Fails the test unless the checker, in its strict mode, finds no error in any header.
void ExpectCleanSet(const SetImages& images);

// The digest of everything that the newest header of a volume on one device leads to.
std::string DigestOf(const SparseImage& image);

// The digest of the tree of each valid header, by mirror_tid; of one that cannot be read, why.
std::map<Tid, std::string> DigestsOf(const SparseImage& image);

// Memory below a recorder below a device that can fail. The log holds what reached a device.
class DeviceStack {
 public:
  explicit DeviceStack(const SetImages& images);
  DeviceStack(const DeviceStack&) = delete;
  DeviceStack& operator=(const DeviceStack&) = delete;

  // The volume must be gone before the stack.
  absl::StatusOr<std::unique_ptr<Volume>> Open(const VolumeOptions& options,
                                               const VolumeEnv& env = {});
  size_t size() const { return layers_.size(); }
  FaultPoint& point(size_t device) { return layers_[device]->point; }
  IoLog& log() { return log_; }
  // The record from event `begin` on.
  std::vector<IoEvent> EventsFrom(size_t begin) const;
  SetImages Snapshot() const;

 private:
  struct Layer {
    Layer(const SparseImage& image, IoLog& log, int device);
    MemoryDevice memory;
    RecordingDevice recorder;
    FaultPoint point;
    FaultDevice faulty;
  };
  IoLog log_;
  std::vector<std::unique_ptr<Layer>> layers_;
};

// Opens a volume on devices that this owns, for a look at an image.
class ImageVolume {
 public:
  explicit ImageVolume(const SetImages& images, const VolumeOptions& options);
  const absl::Status& status() const { return status_; }
  Volume& operator*() { return *volume_; }
  Volume* operator->() { return volume_.get(); }
  SetImages Snapshot() const;

 private:
  std::vector<std::unique_ptr<MemoryDevice>> devices_;
  absl::Status status_;
  std::unique_ptr<Volume> volume_;
};

// Whether the event writes a volume header into a slot of the ring.
bool IsHeaderWrite(const IoEvent& event);

// OK when before each header write of the record every device had completed a barrier that began
// after its last write had ended, and headers went to the root device only (F-118, F-121, F-212).
absl::Status BarriersBeforeHeaders(std::span<const IoEvent> events, size_t devices);

}  // namespace h2bd
