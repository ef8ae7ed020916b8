#include "core/strategy/extents.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "core/strategy/disk.h"

namespace h2bd {
namespace {

// Leaves, and dirty blocks, that one look takes: the disk's lock is held for tens of microseconds.
constexpr size_t kLeavesPerLook = 1024;
constexpr size_t kDirtyPerLook = 1024;

// What the tree names: data in [first, end) of the blocks.
struct MediaRanges {
  IntervalSet data;
  uint64_t end = 0;
};

absl::StatusOr<MediaRanges> LookAtMedia(Inode& inode, uint64_t first, uint64_t end) {
  MediaRanges found{.end = end};
  if (inode.direct_data().has_value()) {
    if (first == 0) found.data.Add(0, 1);
    return found;
  }
  size_t leaves = 0;
  H2_RETURN_IF_ERROR(inode.tree().Scan(Key(first << kLogicalRadix), Key((end << kLogicalRadix) - 1),
                                       [&](const Blockref& leaf) {
                                         const uint64_t last = leaf.last_key().v >> kLogicalRadix;
                                         found.data.Add(leaf.key.v >> kLogicalRadix, last + 1);
                                         if (++leaves < kLeavesPerLook) return true;
                                         found.end = std::min(end, last + 1);
                                         return false;
                                       }));
  return found;
}

void Move(uint64_t first, uint64_t end, IntervalSet& to, IntervalSet& one, IntervalSet& other) {
  to.Add(first, end);
  one.Remove(first, end);
  other.Remove(first, end);
}

}  // namespace

void AppendExtent(std::vector<Extent>& extents, uint64_t offset, uint64_t length, ExtentKind kind) {
  if (length == 0) return;
  if (!extents.empty() && extents.back().kind == kind &&
      extents.back().offset + extents.back().length == offset) {
    extents.back().length += length;
  } else {
    extents.push_back({offset, length, kind});
  }
}

namespace {

// Where the run of members or of gaps ends in which `at` lies.
uint64_t RunEnd(const IntervalSet& set, uint64_t at) {
  const auto next = set.intervals().upper_bound(at);
  if (next != set.intervals().begin() && std::prev(next)->second > at) {
    return std::prev(next)->second;
  }
  return next == set.intervals().end() ? UINT64_MAX : next->first;
}

// Adds what the sets say of [at, end), in bytes; they are disjoint, and complete up to there.
void AppendExtents(const IntervalSet& data, const IntervalSet& zeros, uint64_t at, uint64_t end,
                   std::vector<Extent>& extents) {
  while (at < end) {
    const uint64_t block = at >> kLogicalRadix;
    const uint64_t run_end = std::min(RunEnd(data, block), RunEnd(zeros, block));
    const uint64_t next = run_end > (end - 1) >> kLogicalRadix ? end : run_end << kLogicalRadix;
    const ExtentKind kind = data.Contains(block)    ? ExtentKind::kData
                            : zeros.Contains(block) ? ExtentKind::kZero
                                                    : ExtentKind::kHole;
    AppendExtent(extents, at, next - at, kind);
    at = next;
  }
}

}  // namespace

uint64_t Disk::base_epoch() const {
  absl::ReaderMutexLock lock(&mu_);
  return base_epoch_;
}

std::optional<DirtyRanges> Disk::Dirty(uint64_t base_epoch, uint64_t first, uint64_t end) const {
  absl::ReaderMutexLock lock(&mu_);
  if (base_epoch_ != base_epoch) return std::nullopt;
  DirtyRanges ranges{.end = end};
  const std::array<const DirtyGeneration*, 2> generations = {frozen_.get(), open_.get()};
  for (const DirtyGeneration* gen : generations) {
    if (gen == nullptr) continue;
    size_t blocks = 0;
    for (auto it = gen->blocks.lower_bound(first);
         it != gen->blocks.end() && it->first < ranges.end; ++it) {
      if (++blocks > kDirtyPerLook) ranges.end = it->first;
    }
  }
  for (const DirtyGeneration* gen : generations) {
    if (gen == nullptr) continue;
    for (const auto& [from, to] : gen->holes.Within(first, ranges.end)) {
      Move(from, to, ranges.holes, ranges.data, ranges.zeros);
    }
    for (auto it = gen->blocks.lower_bound(first);
         it != gen->blocks.end() && it->first < ranges.end; ++it) {
      const uint64_t block = it->first;
      if (it->second.AllZero()) {
        Move(block, block + 1, ranges.zeros, ranges.data, ranges.holes);
      } else {
        Move(block, block + 1, ranges.data, ranges.zeros, ranges.holes);
      }
    }
  }
  return ranges;
}

absl::StatusOr<std::vector<Extent>> Disk::Extents(uint64_t offset, uint64_t length, size_t max) {
  std::vector<Extent> extents;
  // One more is begun, so that the last of `max` is whole.
  for (uint64_t at = offset; extents.size() <= max;) {
    uint64_t epoch = 0, stop = 0;
    {
      absl::ReaderMutexLock lock(&mu_);
      H2_RETURN_IF_ERROR(CheckRange(offset, 0));
      epoch = base_epoch_;
      stop = offset + std::min(length, SizeLocked() - offset);
    }
    if (at >= stop) break;
    const uint64_t first = at >> kLogicalRadix;
    const absl::StatusOr<MediaRanges> media =
        LookAtMedia(*inode_, first, (stop + kLogicalBytes - 1) >> kLogicalRadix);
    // The tree may change while it is looked at, but only by what is still in a generation: where
    // none has gone since, these say what has become of it.
    const std::optional<DirtyRanges> dirty = Dirty(epoch, first, media.ok() ? media->end : first);
    if (!dirty.has_value()) continue;
    if (!media.ok()) return media.status();
    IntervalSet data = media->data;
    for (const auto& [from, to] : dirty->holes.intervals()) data.Remove(from, to);
    for (const auto& [from, to] : dirty->zeros.intervals()) data.Remove(from, to);
    for (const auto& [from, to] : dirty->data.intervals()) data.Add(from, to);
    const uint64_t end = std::min(stop, dirty->end << kLogicalRadix);
    AppendExtents(data, dirty->zeros, at, end, extents);
    at = end;
  }
  if (extents.size() > max) extents.resize(max);
  return extents;
}

}  // namespace h2bd
