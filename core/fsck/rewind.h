// Going back to an older header (spec 02 section 7.5, spec 04 F-218).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/device/block_device.h"
#include "core/fsck/check.h"

namespace h2bd {

struct RewindReport {
  int slot = 0;  // of the header that becomes the newest
  Tid mirror_tid, newest_mirror_tid;
  std::vector<int> erased;  // slots with newer headers, in the order in which they are erased
  CheckReport check;        // of the header that becomes the newest
};

// Makes the header that is `back` (1 and up) older than the newest one the newest, by erasing those
// that are newer, each with a barrier, the newest first: a crash in between leaves one of them as
// the newest. What only they have is lost. With `write` false nothing is written. kNotFound when
// there are not so many headers (a volume with one slot has none to go back to);
// kFailedPrecondition when the check of that header finds errors: the report is then in the
// message.
absl::StatusOr<RewindReport> Rewind(std::span<BlockDevice* const> devices, int back, bool write,
                                    const CheckOptions& options = {});

}  // namespace h2bd
