// A set of disjoint half-open intervals of uint64_t.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

namespace h2bd {

// Touching intervals are joined. Every operation costs O(log n + intervals touched). Not
// thread-safe. An end of UINT64_MAX stands for "to the end of the key space".
class IntervalSet {
 public:
  void Add(uint64_t begin, uint64_t end);
  void Remove(uint64_t begin, uint64_t end);
  void Clear() { intervals_.clear(); }

  bool empty() const { return intervals_.empty(); }
  bool Contains(uint64_t value) const;
  // Whether all of [begin, end) is in the set; true for an empty interval.
  bool Covers(uint64_t begin, uint64_t end) const;
  bool Overlaps(uint64_t begin, uint64_t end) const;
  // The parts of [begin, end) that are in the set, ascending.
  std::vector<std::pair<uint64_t, uint64_t>> Within(uint64_t begin, uint64_t end) const;
  // The parts of [begin, end) that are not.
  std::vector<std::pair<uint64_t, uint64_t>> Gaps(uint64_t begin, uint64_t end) const;
  // Begin and end of each interval, ascending.
  const std::map<uint64_t, uint64_t>& intervals() const { return intervals_; }

  friend bool operator==(const IntervalSet&, const IntervalSet&) = default;

 private:
  std::map<uint64_t, uint64_t> intervals_;
};

}  // namespace h2bd
