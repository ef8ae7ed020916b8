// Volume headers: every slot of every device, whether the devices form one volume, and the fields
// that only a checker looks at (spec 01 sections 2.3 to 2.7 and 12.2, F1 to F6).
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/fsck/finding_log.h"
#include "core/fsck/media_source.h"
#include "core/media/volume_data.h"

namespace h2bd {

// A header of the root volume whose trees are to be walked.
struct HeaderToWalk {
  int slot = 0;
  bool newest = false;
  std::unique_ptr<VolumeData> header;
};

struct HeaderCheck {
  std::vector<MediaSource::Part> parts;
  std::vector<HeaderToWalk> headers;  // newest first; empty when there is nothing to walk
};

// `only_slot` limits what is walked, not what is looked at here. The result refers to `devices`.
HeaderCheck CheckHeaders(std::span<BlockDevice* const> devices, std::optional<int> only_slot,
                         FindingLog& log);

}  // namespace h2bd
