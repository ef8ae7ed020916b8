// Making a volume larger, as callers see it.
#pragma once

#include <cstdint>
#include <optional>

#include "core/base/types.h"

namespace h2bd {

struct GrowOptions {
  // The size of the volume, rounded down to 8 MiB. A file that is smaller is made so large, with
  // its space taken. Unset: all of the device.
  std::optional<uint64_t> bytes;
};

struct GrowReport {
  uint64_t old_bytes = 0, new_bytes = 0;
  int header_slots = 0;
  Tid mirror_tid;  // of the header that says so
};

}  // namespace h2bd
