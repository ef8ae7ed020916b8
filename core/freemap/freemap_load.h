// Reading freemap trees from the media.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "core/base/log.h"
#include "core/dio/dio.h"
#include "core/freemap/freemap_tree.h"
#include "core/media/freemap_data.h"

namespace h2bd {

enum class BadNode {
  kFail,     // the whole load fails
  kLeaveOut  // its entry stays without a table; a warning is logged
};

// The tables below `blockset`, without the leaves. kDataLoss for a node that cannot be used,
// kUnavailable when the device fails; with kLeaveOut only a damaged blockset is an error.
absl::StatusOr<FreemapNode> LoadFreemapTables(const std::array<Blockref, 4>& blockset,
                                              uint64_t total_size, BadNode bad_node, Dio& dio,
                                              Logger& logger);

// The leaf behind `bref`: verified and decoded.
absl::StatusOr<std::unique_ptr<FreemapLeafData>> LoadFreemapLeaf(const Blockref& bref, Dio& dio);

}  // namespace h2bd
