// What clients know of a volume: every PFS, every snapshot, every disk in them, every byte.
#pragma once

#include <map>
#include <string>

#include "core/volume/volume.h"
#include "tests/sim/sim_model.h"

namespace h2bd {

// Copies share their blocks: a snapshot of a model costs nothing.
using PfsModel = std::map<std::string, ModelDisk>;  // by name

struct VolumeModel {
  // By label; a snapshot is a PFS with the label PFS@NAME.
  std::map<std::string, PfsModel> pfses;

  size_t disks() const;
};

// Reads everything. OK when the volume has these PFSs (LOCAL is passed over), disks and bytes, and
// no others.
absl::Status CompareWithModel(Volume& volume, const VolumeModel& model);

}  // namespace h2bd
