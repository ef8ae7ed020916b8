// The independent reader of images that comes with the shared material, as a judge.
#pragma once

#include <optional>

#include "tests/volume/device_stack.h"

namespace h2bd {

// What it counts in the freemap of the newest header, in bytes.
struct CountedSpace {
  uint64_t allocated = 0, possibly_free = 0, free = 0;
};

// Runs it over the images of one volume, which go to files of their own for that. kDataLoss with
// what it has found. Nullopt, loudly, where the shared material is absent.
absl::StatusOr<std::optional<CountedSpace>> RunSecondChecker(const SetImages& images);

}  // namespace h2bd
