#include "core/pfs/dirty_pfses.h"

namespace h2bd {
namespace {

std::vector<Pfs*> Values(const std::map<Key, Pfs*>& by_key) {
  std::vector<Pfs*> pfses;
  for (const auto& [key, pfs] : by_key) pfses.push_back(pfs);
  return pfses;
}

}  // namespace

void DirtyPfses::Note(Key key, Pfs& pfs) {
  absl::MutexLock lock(&mu_);
  dirty_[key] = &pfs;
}

void DirtyPfses::NoteCrowded(Key key, Pfs& pfs) {
  absl::MutexLock lock(&mu_);
  crowded_[key] = &pfs;
}

void DirtyPfses::Forget(Key key) {
  absl::MutexLock lock(&mu_);
  dirty_.erase(key);
  crowded_.erase(key);
}

std::vector<Pfs*> DirtyPfses::all() const {
  absl::MutexLock lock(&mu_);
  return Values(dirty_);
}

std::vector<Pfs*> DirtyPfses::TakeCrowded() {
  absl::MutexLock lock(&mu_);
  return Values(std::exchange(crowded_, {}));
}

}  // namespace h2bd
