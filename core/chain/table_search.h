// Binary search in tables: entries are ascending by key with disjoint ranges.
#pragma once

#include <algorithm>
#include <span>

#include "core/media/blockref.h"

namespace h2bd {

// Index of the first entry whose range ends at or after `key`; entries.size() when there is none.
inline size_t FirstReaching(std::span<const Blockref> entries, Key key) {
  const auto it = std::partition_point(entries.begin(), entries.end(),
                                       [&](const Blockref& e) { return e.last_key() < key; });
  return static_cast<size_t>(it - entries.begin());
}

// The entry whose range contains `key`, or nullptr.
inline const Blockref* EntryAt(std::span<const Blockref> entries, Key key) {
  const size_t i = FirstReaching(entries, key);
  return i < entries.size() && entries[i].key <= key ? &entries[i] : nullptr;
}

}  // namespace h2bd
