// Devices whose writes stay in memory until they are wanted on the media: a repair is tried before
// anything is written.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <vector>

#include "core/base/bytes.h"
#include "core/device/block_device.h"

namespace h2bd {

// For one thread. Memory: what was written, twice.
class TrialDevices {
 public:
  // `devices` outlive this and are only read, until Replay.
  explicit TrialDevices(std::span<BlockDevice* const> devices);
  ~TrialDevices();

  // The devices as they would be. They live as long as this.
  std::vector<BlockDevice*> devices() const;
  // The same for somebody who owns his devices; this outlives them.
  std::vector<std::unique_ptr<BlockDevice>> Handles() const;

  bool written() const { return !log_.empty(); }
  // Does to the devices what was done to the trial: the same writes with the same barriers, in the
  // same order. After an error some of it is done, as after a crash.
  absl::Status Replay() const;

 private:
  class Disk;
  struct Event {
    size_t device = 0;
    ByteOff off;
    AlignedBuffer bytes;  // empty: a barrier
  };
  const std::vector<BlockDevice*> inner_;
  std::vector<std::unique_ptr<Disk>> disks_;
  std::vector<Event> log_;
};

}  // namespace h2bd
