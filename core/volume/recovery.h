// Freemap recovery of a volume that another system left with a freemap behind its topology (spec 02
// section 7).
#pragma once

#include "core/chain/block_store.h"
#include "core/freemap/freemap.h"
#include "core/media/volume_data.h"

namespace h2bd {

// Walks the topology below blockrefs with mirror_tid > header.freemap_tid and marks their blocks
// allocated; returns how many were not. Costs nothing when the freemap does not lag, as in every
// header of h2bd. Only memory changes; idempotent (F-209). Damaged tables are an error: what is
// below them cannot be protected.
absl::StatusOr<uint64_t> RecoverFreemap(const VolumeData& header, BlockStore& store,
                                        Freemap& freemap);

}  // namespace h2bd
