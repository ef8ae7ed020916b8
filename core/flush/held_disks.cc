#include "core/flush/held_disks.h"

#include <algorithm>

#include "absl/strings/str_format.h"

namespace h2bd {
namespace {

absl::Status Because(const DiskId& other, const absl::Status& why) {
  return Annotate(why, absl::StrFormat("it shares a transaction with disk inode %d", other.inum.v));
}

}  // namespace

void HeldDisks::Note(std::set<DiskGroup> groups) { groups_.merge(groups); }

std::vector<std::shared_ptr<Disk>> HeldDisks::ToTryAgain(
    std::span<const std::shared_ptr<Disk>> changed, bool retry_unavailable) const {
  absl::MutexLock lock(&mu_);
  std::vector<std::shared_ptr<Disk>> all;
  bool wanted = false;
  for (const auto& [id, held] : held_) {
    all.push_back(held.disk);
    wanted |= (retry_unavailable && absl::IsUnavailable(held.why)) || held.disk->deleted() ||
              std::find(changed.begin(), changed.end(), held.disk) != changed.end();
  }
  if (!wanted) all.clear();
  return all;
}

HeldDisks::Faults HeldDisks::WithGroups(Faults faults) const {
  for (bool grown = !faults.empty(); grown;) {
    grown = false;
    for (const DiskGroup& group : groups_) {
      const auto faulty = std::find_if(group.begin(), group.end(),
                                       [&](const DiskId& id) { return faults.contains(id); });
      if (faulty == group.end()) continue;
      for (const DiskId& id : group) {
        grown |= faults.emplace(id, Because(*faulty, faults.at(*faulty))).second;
      }
    }
  }
  return faults;
}

std::vector<std::shared_ptr<Disk>> HeldDisks::Settle(std::span<const std::shared_ptr<Disk>> tried,
                                                     const Faults& faults, OpSeq confirmed) {
  std::vector<std::shared_ptr<Disk>> fresh;
  {
    absl::MutexLock lock(&mu_);
    for (const std::shared_ptr<Disk>& disk : tried) {
      const auto fault = faults.find(disk->id());
      if (fault == faults.end()) {
        const auto it = held_.find(disk->id());
        if (it != held_.end()) it->second.stored = true;
        continue;
      }
      const auto [held, is_new] = held_.try_emplace(disk->id(), Held{disk, {}, confirmed});
      held->second.why = fault->second;
      held->second.stored = false;
      if (is_new) fresh.push_back(disk);
    }
  }
  // What is not held has left for the media.
  std::erase_if(groups_, [&](const DiskGroup& group) {
    return std::none_of(group.begin(), group.end(), [&](const DiskId& id) { return contains(id); });
  });
  return fresh;
}

void HeldDisks::Published() {
  absl::MutexLock lock(&mu_);
  std::erase_if(held_, [](const auto& entry) { return entry.second.stored; });
}

absl::Status HeldDisks::WhyAmong(std::span<const DiskId> disks, OpSeq seq) const {
  absl::MutexLock lock(&mu_);
  for (const DiskId& id : disks) {
    const auto it = held_.find(id);
    if (it != held_.end() && it->second.durable < seq) return it->second.why;
  }
  return absl::OkStatus();
}

absl::Status HeldDisks::WhyIn(Key pfs, OpSeq seq) const {
  absl::MutexLock lock(&mu_);
  for (auto it = held_.lower_bound(DiskId{pfs, Inum(0)}); it != held_.end() && it->first.pfs == pfs;
       ++it) {
    if (it->second.durable < seq) return it->second.why;
  }
  return absl::OkStatus();
}

absl::Status HeldDisks::WhyAny(OpSeq seq) const {
  absl::MutexLock lock(&mu_);
  for (const auto& [id, held] : held_) {
    if (held.durable < seq) return held.why;
  }
  return absl::OkStatus();
}

absl::Status HeldDisks::WhyHeld(const DiskId& disk) const {
  absl::MutexLock lock(&mu_);
  const auto it = held_.find(disk);
  return it != held_.end() && !it->second.stored ? it->second.why : absl::OkStatus();
}

absl::Status HeldDisks::WhyHeldIn(Key pfs) const {
  absl::MutexLock lock(&mu_);
  for (auto it = held_.lower_bound(DiskId{pfs, Inum(0)}); it != held_.end() && it->first.pfs == pfs;
       ++it) {
    if (!it->second.stored) return it->second.why;
  }
  return absl::OkStatus();
}

bool HeldDisks::AnyUnavailable() const {
  absl::MutexLock lock(&mu_);
  return std::any_of(held_.begin(), held_.end(),
                     [](const auto& entry) { return absl::IsUnavailable(entry.second.why); });
}

bool HeldDisks::contains(const DiskId& disk) const {
  absl::MutexLock lock(&mu_);
  const auto it = held_.find(disk);
  return it != held_.end() && !it->second.stored;
}

size_t HeldDisks::size() const {
  absl::MutexLock lock(&mu_);
  return held_.size();
}

}  // namespace h2bd
