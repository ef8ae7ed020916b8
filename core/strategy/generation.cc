#include "core/strategy/generation.h"

#include <algorithm>
#include <iterator>

#include "core/strategy/disk.h"

namespace h2bd {

DirtyBlock& DirtyGeneration::At(uint64_t block) {
  const auto it = blocks.find(block);
  if (it != blocks.end()) return it->second;
  return blocks.emplace(block, DirtyBlock(holes.Contains(block))).first->second;
}

void DirtyGeneration::Punch(uint64_t first, uint64_t last) {
  auto it = blocks.lower_bound(first);
  while (it != blocks.end() && it->first < last) {
    memory_bytes -= it->second.memory_bytes();
    it = blocks.erase(it);
  }
  holes.Add(first, last);
}

void DirtyGeneration::Absorb(DirtyGeneration&& newer) {
  // Both were charged in full and are given back in full, although together they may need less.
  const uint64_t charged = memory_bytes + newer.memory_bytes;
  id = newer.id;
  for (const auto& [first, last] : newer.holes.intervals()) Punch(first, last);
  for (auto& [number, block] : newer.blocks) {
    if (blocks.contains(number) || holes.Contains(number)) {
      At(number).Absorb(block);
    } else {
      blocks.emplace(number, std::move(block));
    }
  }
  memory_bytes = charged;
  if (newer.size.has_value()) size = newer.size;
  if (newer.mtime.has_value()) mtime = newer.mtime;
  reserved_bytes += newer.reserved_bytes;
}

void DirtyRegistry::Add(Generation generation, std::shared_ptr<Disk> disk) {
  bool first = false;
  {
    absl::MutexLock lock(&mu_);
    first = generations_.empty();
    Entry& entry = generations_[generation];
    if (entry.disks.empty()) entry.first_change = clock_.MonotonicNow();
    entry.disks.push_back(std::move(disk));
  }
  if (first) on_first_();
}

void DirtyRegistry::Join(Generation generation, DiskGroup group) {
  absl::MutexLock lock(&mu_);
  generations_[generation].groups.insert(std::move(group));
}

DirtyRegistry::Taken DirtyRegistry::Take(Generation frozen) {
  Taken taken;
  std::vector<std::shared_ptr<Disk>>& disks = taken.disks;
  {
    absl::MutexLock lock(&mu_);
    while (!generations_.empty() && generations_.begin()->first <= frozen) {
      Entry& entry = generations_.begin()->second;
      std::move(entry.disks.begin(), entry.disks.end(), std::back_inserter(disks));
      taken.groups.merge(entry.groups);
      generations_.erase(generations_.begin());
    }
  }
  std::sort(disks.begin(), disks.end(),
            [](const auto& a, const auto& b) { return a->id() < b->id(); });
  disks.erase(std::unique(disks.begin(), disks.end()), disks.end());
  return taken;
}

std::optional<absl::Duration> DirtyRegistry::OldestChange() const {
  absl::MutexLock lock(&mu_);
  if (generations_.empty()) return std::nullopt;
  return generations_.begin()->second.first_change;
}

std::set<DiskId> DirtyRegistry::ids() const {
  absl::MutexLock lock(&mu_);
  std::set<DiskId> ids;
  for (const auto& [generation, entry] : generations_) {
    for (const std::shared_ptr<Disk>& disk : entry.disks) ids.insert(disk->id());
  }
  return ids;
}

size_t DirtyRegistry::size() const {
  absl::MutexLock lock(&mu_);
  size_t n = 0;
  for (const auto& [id, entry] : generations_) n += entry.disks.size();
  return n;
}

}  // namespace h2bd
