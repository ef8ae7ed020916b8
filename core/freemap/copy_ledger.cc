#include "core/freemap/copy_ledger.h"

#include <algorithm>
#include <bit>

namespace h2bd {
namespace {

// `since` of the newest entry that is not newer than `header`; nullopt when the block is younger.
template <class History>
std::optional<Tid> NewestAt(const History& history, Tid header) {
  std::optional<Tid> newest;
  for (const auto& entry : history) {
    if (entry.since <= header) newest = entry.since;
  }
  return newest;
}

}  // namespace

void CopyLedger::Record(const FreemapBlockId& id, Tid since, int copy) {
  History& history = blocks_[id];
  const auto after = std::upper_bound(history.begin(), history.end(), since,
                                      [](Tid t, const Entry& e) { return t < e.since; });
  if (after != history.begin() && std::prev(after)->copy == copy) return;
  // A second entry with the same `since` (a flush repeated under its old tid, two headers of equal
  // age) does not replace the first: both copies then count as named.
  history.insert(after, Entry{since, copy});
  if (history.size() > 1) moving_.insert(id);
}

unsigned CopyLedger::Named(const History& history, std::span<const Tid> ring) {
  unsigned named = 0;
  for (const Tid header : ring) {
    const std::optional<Tid> since = NewestAt(history, header);
    for (const Entry& entry : history) {
      if (entry.since == since) named |= 1u << entry.copy;
    }
  }
  return named;
}

void CopyLedger::Trim(std::span<const Tid> ring) {
  for (auto it = moving_.begin(); it != moving_.end();) {
    History& history = blocks_[*it];
    absl::flat_hash_set<Tid> needed = {history.back().since};
    for (const Tid header : ring) {
      const std::optional<Tid> since = NewestAt(history, header);
      if (since.has_value()) needed.insert(*since);
    }
    history.erase(std::remove_if(history.begin(), history.end(),
                                 [&](const Entry& e) { return !needed.contains(e.since); }),
                  history.end());
    if (history.size() > 1) {
      ++it;
    } else {
      moving_.erase(it++);
    }
  }
}

std::optional<int> CopyLedger::Choose(const FreemapBlockId& id, int current,
                                      std::span<const Tid> ring) const {
  const auto it = blocks_.find(id);
  const unsigned named = it == blocks_.end() ? 0 : Named(it->second, ring);
  for (int step = 1; step <= kFreemapCopies; ++step) {
    const int copy = (current + step) % kFreemapCopies;
    if ((named >> copy & 1) == 0) return copy;
  }
  return std::nullopt;
}

int CopyLedger::FewestFree(std::span<const Tid> ring) const {
  if (blocks_.empty()) return kFreemapCopies;
  int fewest = kFreemapCopies - 1;  // a block that has not moved lately has one copy named
  for (const FreemapBlockId& id : moving_) {
    fewest = std::min(fewest, kFreemapCopies - std::popcount(Named(blocks_.at(id), ring)));
  }
  return fewest;
}

}  // namespace h2bd
