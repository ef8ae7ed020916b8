// Rules of one inode block (spec 01 section 7, spec 03 rules R10, R11, R15 to R17), one finding
// each.
#pragma once

#include <optional>

#include "core/fsck/finding_log.h"
#include "core/fsck/place.h"
#include "core/media/decode.h"
#include "core/media/inode_data.h"

namespace h2bd {

// `raw` is the block that `bref` of a table of `kind` leads to. Returns the inode when its table,
// if it has one, can be looked at: the product's border accepts it.
std::optional<InodeData> CheckInodeRules(ConstByteSpan raw, const Blockref& bref, TableKind kind,
                                         const Place& place, FindingLog& log);

}  // namespace h2bd
