// What a volume holds after a crash.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "core/base/random.h"
#include "tests/sim/sim_model.h"
#include "tests/support/memory_device.h"

namespace h2bd {

struct JudgeOptions {
  Clock& clock;
  RandomSource& random;
  bool check = false;  // the independent checker looks at it, too
};

// Opens the volume on `images` (changed by it), reads every disk and closes it. An error says why
// that is not a volume.
absl::StatusOr<DiskFingerprints> ReadVolume(std::vector<SparseImage> images,
                                            const JudgeOptions& options);

}  // namespace h2bd
