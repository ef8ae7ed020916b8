#include "core/base/interval_set.h"

#include <algorithm>
#include <iterator>

namespace h2bd {

void IntervalSet::Add(uint64_t begin, uint64_t end) {
  if (begin >= end) return;
  auto it = intervals_.lower_bound(begin);
  if (it != intervals_.begin() && std::prev(it)->second >= begin) --it;
  while (it != intervals_.end() && it->first <= end) {
    begin = std::min(begin, it->first);
    end = std::max(end, it->second);
    it = intervals_.erase(it);
  }
  intervals_.emplace(begin, end);
}

void IntervalSet::Remove(uint64_t begin, uint64_t end) {
  if (begin >= end) return;
  auto it = intervals_.lower_bound(begin);
  if (it != intervals_.begin() && std::prev(it)->second > begin) --it;
  while (it != intervals_.end() && it->first < end) {
    const auto [first, last] = *it;
    it = intervals_.erase(it);
    if (first < begin) intervals_.emplace(first, begin);
    if (last > end) it = intervals_.emplace(end, last).first;
  }
}

bool IntervalSet::Contains(uint64_t value) const {
  auto it = intervals_.upper_bound(value);
  return it != intervals_.begin() && std::prev(it)->second > value;
}

bool IntervalSet::Covers(uint64_t begin, uint64_t end) const {
  if (begin >= end) return true;
  auto it = intervals_.upper_bound(begin);
  return it != intervals_.begin() && std::prev(it)->second >= end;
}

bool IntervalSet::Overlaps(uint64_t begin, uint64_t end) const {
  if (begin >= end) return false;
  auto it = intervals_.lower_bound(begin);
  if (it != intervals_.end() && it->first < end) return true;
  return it != intervals_.begin() && std::prev(it)->second > begin;
}

std::vector<std::pair<uint64_t, uint64_t>> IntervalSet::Within(uint64_t begin, uint64_t end) const {
  std::vector<std::pair<uint64_t, uint64_t>> parts;
  if (begin >= end) return parts;
  auto it = intervals_.lower_bound(begin);
  if (it != intervals_.begin() && std::prev(it)->second > begin) --it;
  for (; it != intervals_.end() && it->first < end; ++it) {
    parts.emplace_back(std::max(begin, it->first), std::min(end, it->second));
  }
  return parts;
}

std::vector<std::pair<uint64_t, uint64_t>> IntervalSet::Gaps(uint64_t begin, uint64_t end) const {
  std::vector<std::pair<uint64_t, uint64_t>> gaps;
  uint64_t at = begin;
  for (const auto& [first, last] : Within(begin, end)) {
    if (at < first) gaps.emplace_back(at, first);
    at = last;
  }
  if (at < end) gaps.emplace_back(at, end);
  return gaps;
}

}  // namespace h2bd
