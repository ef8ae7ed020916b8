// Rules of one blockref in its table (spec 01 sections 4 and 9, spec 03 sections 0 and 2), one
// finding each.
#pragma once

#include <cstdint>

#include "core/fsck/finding_log.h"
#include "core/fsck/place.h"
#include "core/media/decode.h"
#include "core/media/volume_data.h"

namespace h2bd {

// PFS roots that a formatter makes and that nobody ever counts in the statistics of the super-root
// (spec 01 section 4.6).
inline constexpr uint64_t kInitialPfsMax = 4;

// A table of the topology and what its entries are measured against.
struct TableContext {
  TableKind kind;
  Key key;
  unsigned keybits = 64;
  Tid parent_tid;  // mirror_tid of the blockref that leads here, or of the header
  const VolumeData* header = nullptr;

  Key last_key() const {
    return Key(keybits >= 64 ? UINT64_MAX : key.v + ((uint64_t{1} << keybits) - 1));
  }
};

// A slot of type EMPTY must be 128 zero bytes (R7).
void CheckEmptySlot(const Blockref& bref, const Place& place, FindingLog& log);

// Reports what is wrong with a slot that is in use. Returns whether its block, if it has one, can
// be looked at: type, size and place are sane and the product's border accepts it too.
bool CheckBrefRules(const Blockref& bref, const TableContext& table, const Place& place,
                    FindingLog& log);

// The name of a DIRENT and its hash; `name` as stored, of dirent_namlen() bytes.
void CheckDirentName(const Blockref& bref, absl::string_view name, const Place& place,
                     FindingLog& log);

}  // namespace h2bd
