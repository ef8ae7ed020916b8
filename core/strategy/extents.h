// Which parts of a disk hold data.
#pragma once

#include <cstdint>
#include <vector>

#include "core/base/interval_set.h"

namespace h2bd {

enum class ExtentKind {
  kData,  // something was written; it may be zeros all the same
  kHole,  // nothing is stored: reads as zeros
  kZero,  // zeros that were written and are not on media yet; the next cycle makes a hole of them
};

struct Extent {
  uint64_t offset = 0;
  uint64_t length = 0;
  ExtentKind kind = ExtentKind::kHole;
  friend bool operator==(const Extent&, const Extent&) = default;
};

// Adds [offset, +length), which begins where the last one ends or behind it, to a list in which
// neighbours of one kind are joined.
void AppendExtent(std::vector<Extent>& extents, uint64_t offset, uint64_t length, ExtentKind kind);

// What a disk's changes that are in no tree yet say of blocks [first, end). All in numbers of
// blocks, disjoint; what is in none of the sets is as the tree says.
struct DirtyRanges {
  IntervalSet data, zeros, holes;
  uint64_t end = 0;  // at most the end that was asked for: the sets are complete up to here
};

}  // namespace h2bd
