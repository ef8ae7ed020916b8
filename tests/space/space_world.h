// A volume, clients that do everything that an operator can do with its space, and a plain model
// beside it. One seed is one story.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/base/random.h"
#include "tests/space/volume_model.h"
#include "tests/volume/device_stack.h"

namespace h2bd {

struct SpaceTally {
  int steps = 0, cycles = 0, crashes = 0, refused = 0;
};

class SpaceWorld {
 public:
  // `inspected`: the second checker looks at what is left at the end.
  SpaceWorld(uint64_t seed, bool inspected);

  // Formats a volume and takes `steps` steps. After each of them the disk that it changed, and
  // after each cycle everything, is compared with the model, and the volume is checked as a whole.
  // The error names the step.
  absl::Status Run(int steps);
  const SpaceTally& tally() const { return tally_; }

 private:
  struct Action;
  static const std::vector<Action>& Actions();

  absl::Status Prepare();
  absl::Status Open(const SetImages& images);
  absl::Status Step();

  // --- what may happen
  absl::Status CreateDisk();
  absl::Status DeleteDisk();
  absl::Status RenameDisk();
  absl::Status ResizeDisk();
  absl::Status Write();
  absl::Status Discard();
  absl::Status Transaction();
  absl::Status Sync();
  absl::Status CreatePfs();
  absl::Status DeletePfs();
  absl::Status SetPfs();
  absl::Status Snapshot();
  absl::Status DeleteSnapshot();
  absl::Status CloneDisk();
  absl::Status RollbackDisk();
  absl::Status RollbackPfs();
  absl::Status Crash();
  absl::Status Restart();

  // --- what must hold
  // A call has run a cycle with the outcome `status`: everything in the model is durable, after
  // `changed` was done to it.
  template <class Changed>
  absl::Status AfterCycle(const absl::Status& status, Changed changed);
  absl::Status CheckVolume();

  uint64_t Below(uint64_t bound) { return rng_.Next64() % bound; }
  std::string NewName(absl::string_view prefix);
  std::vector<std::string> LivePfses() const;
  std::vector<SnapshotName> Snapshots() const;
  template <class T>
  const T& AnyOf(const std::vector<T>& some) {
    return some[Below(some.size())];
  }
  std::string AnyPfs() { return AnyOf(LivePfses()); }
  struct Place {
    std::string pfs, disk;
    DiskName name() const { return {pfs, disk}; }
  };
  // Of a live PFS, or of this one; false: there is none.
  bool AnyDisk(Place& place);
  bool AnyDiskOf(const std::string& pfs, Place& place);
  ModelDisk& In(const Place& place) { return model_.pfses.at(place.pfs).at(place.disk); }
  std::string SomeBytes(uint64_t length);
  // A full volume is not an error: nothing has changed then.
  absl::Status Refused(const absl::Status& status, bool& refused);

  const bool inspected_;
  SeededRandom rng_;
  SeededRandom uuids_;
  std::unique_ptr<DeviceStack> devices_;
  std::unique_ptr<Volume> volume_;  // before its devices
  SetImages base_;                  // durable when the record of the devices began
  VolumeModel model_;
  std::map<uint64_t, VolumeModel> published_;  // by mirror_tid, since the last restart
  struct Promise {
    size_t events = 0;
    uint64_t mirror_tid = 0;
  };
  std::vector<Promise> promises_;
  uint64_t disk_ids_ = 0;
  int serial_ = 0;
  SpaceTally tally_;
};

}  // namespace h2bd
