// Finds the zeros in what is to be written, so that they need not travel.
#pragma once

#include <cstdint>
#include <vector>

#include "core/base/bytes.h"

namespace h2bd::client {

struct ZeroRun {
  uint64_t offset = 0;  // of the disk or file, not of the span
  uint64_t length = 0;
  bool is_zero = false;
  bool operator==(const ZeroRun&) const = default;
};

// Cuts `bytes`, which shall lie at `offset`, into runs in ascending order that cover it exactly;
// neighbours differ in `is_zero`. Only whole granules count as zero: those of [k * granule, (k + 1)
// * granule) that lie in the range and hold nothing but zeros. `granule` is a power of two.
std::vector<ZeroRun> SplitZeroRuns(ConstByteSpan bytes, uint64_t offset, uint64_t granule);

}  // namespace h2bd::client
