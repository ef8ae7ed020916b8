// What other threads ask the flusher.
#include "core/flush/flusher.h"

namespace h2bd {

Tid Flusher::mirror_tid() const {
  absl::MutexLock lock(&mu_);
  return last_published_.mirror_tid;
}

size_t Flusher::CountDirtyDisks() const {
  std::set<DiskId> dirty = parts_.dirty.ids();
  absl::MutexLock lock(&mu_);
  dirty.insert(unconfirmed_disks_.begin(), unconfirmed_disks_.end());
  return dirty.size();
}

std::vector<CycleRecord> Flusher::RecentCycles() const {
  absl::MutexLock lock(&mu_);
  return {recent_.begin(), recent_.end()};
}

SyncResult Flusher::last_published() const {
  absl::MutexLock lock(&mu_);
  return last_published_;
}

}  // namespace h2bd
