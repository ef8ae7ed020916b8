// Freemap recovery of a volume that another system left with a freemap behind its topology (spec 02
// section 7), in its newest header or in older ones.
#pragma once

#include "core/chain/block_store.h"
#include "core/freemap/freemap.h"
#include "core/media/volume_data.h"
#include "core/volhdr/volume_set.h"

namespace h2bd {

// Walks the topology below blockrefs with mirror_tid > header.freemap_tid and marks their blocks
// allocated; returns how many were not. Costs nothing when the freemap does not lag, as in every
// header of h2bd. Only memory changes; idempotent (F-209). Damaged tables are an error: what is
// below them cannot be protected.
absl::StatusOr<uint64_t> RecoverFreemap(const VolumeData& header, BlockStore& store,
                                        Freemap& freemap);

// The same for the other valid headers of the ring, whose blocks must not be written over while
// they may be mounted (I-02): what their freemaps do not know is held in memory until they are
// gone. A header with a freemap node that cannot be read is walked as a whole. Tables that cannot
// be read are passed over with a warning, because the volume must still open: who cannot read them
// does not reach what is below them either.
void HoldWhatOlderFreemapsMiss(const VolumeSet& set, BlockStore& store, Freemap& freemap,
                               Logger& logger);

}  // namespace h2bd
