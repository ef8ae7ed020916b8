// Which of its eight copies each freemap block has in which volume header (spec 02 section 1.4,
// spec 04 F-210b).
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "core/base/types.h"
#include "core/media/blockref.h"

namespace h2bd {

// A freemap block keeps its name for ever; only its place rotates.
struct FreemapBlockId {
  Key key;
  uint8_t keybits = 0;
  constexpr auto operator<=>(const FreemapBlockId&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const FreemapBlockId& id) {
    return H::combine(std::move(h), id.key, id.keybits);
  }
};

// A block is written into a new copy by some flushes and left alone by others, so the copy that
// header T names is that of the newest entry with `since` <= T. Not thread-safe. Trim keeps it at
// what the ring can need: its cost is that of the blocks written lately, not of the volume.
class CopyLedger {
 public:
  // From the flush (or header) `since` on, `id` lies in `copy`.
  void Record(const FreemapBlockId& id, Tid since, int copy);

  // Forgets what no header of `ring` names. Entries later than all of them stay.
  void Trim(std::span<const Tid> ring);

  // The copy to write next: the first after `current` (-1: the block is new) that no header of
  // `ring` names. nullopt when all are named.
  std::optional<int> Choose(const FreemapBlockId& id, int current, std::span<const Tid> ring) const;

  // Copies that no header of `ring` names, for the block that has fewest; 8 when there is no block.
  int FewestFree(std::span<const Tid> ring) const;

 private:
  struct Entry {
    Tid since;
    int copy = 0;
  };
  using History = absl::InlinedVector<Entry, 2>;  // ascending by `since`

  // Bit c is set when some header of `ring` names copy c.
  static unsigned Named(const History& history, std::span<const Tid> ring);

  absl::flat_hash_map<FreemapBlockId, History> blocks_;
  absl::flat_hash_set<FreemapBlockId> moving_;  // blocks with more than one entry
};

}  // namespace h2bd
