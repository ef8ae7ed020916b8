// Making a new volume (spec 01 sections 2.3, 2.4 and 10).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/base/random.h"
#include "core/device/block_device.h"
#include "core/media/inode_data.h"
#include "core/volhdr/volume_set.h"

namespace h2bd {

struct FormatOptions {
  uint32_t version = 2;  // 1 (one device only) or 2
  std::vector<std::string> labels = {
      "DATA"};  // PFSs besides LOCAL, which is always made; at most 3
  std::optional<uint64_t> boot_bytes,
      aux_bytes;                       // explicit sizes: multiples of 8 MiB within the limits
  CompMethod comp = CompMethod::kLz4;  // of the PFS roots
  int comp_level = 0;                  // 0 (default) or 6..9, ZLIB only
  CheckMethod check =
      CheckMethod::kXxhash64;  // ISCSI32, XXHASH64 or SHA192; NONE and DISABLED are refused
  // Format although the device carries something already.
  bool force = false;
};

struct FormatReport {
  uint64_t total_size = 0, allocator_size = 0, boot_bytes = 0, aux_bytes = 0;
  int header_slots = 0;  // 1: warn, a torn header write would lose the volume (F-217)
  Uuid fsid{};
};

// Formats `devices`, in the order in which they make the address space; the whole of each is used,
// rounded down as spec 01 section 2.4 says. kFailedPrecondition with reason FOREIGN_SIGNATURE when
// a device carries a known signature and `force` is off, kInvalidArgument for sizes and options
// that are not legal. Everything is durable when it returns OK; header slots that are not written
// are zeroed.
absl::StatusOr<FormatReport> Format(const std::vector<std::unique_ptr<BlockDevice>>& devices,
                                    const FormatOptions& options, Clock& clock,
                                    RandomSource& random);

}  // namespace h2bd
