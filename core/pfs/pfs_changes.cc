#include "core/pfs/pfs_changes.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"

namespace h2bd {

void Answer(PfsChange change) { std::move(change.done)(change.outcome); }

void Answer(PfsChange change, absl::Status why) {
  change.outcome = {.status = std::move(why)};
  Answer(std::move(change));
}

absl::StatusOr<uint64_t> PfsChanges::Push(PfsChange change) {
  absl::MutexLock lock(&mu_);
  if (!closed_.ok()) return closed_;
  if (changes_.size() >= kPendingMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat(kPendingMax, " changes of PFSs and snapshots wait already"));
  }
  change.id = next_id_++;
  changes_.push_back(std::move(change));
  return changes_.back().id;
}

bool PfsChanges::HasPending(Generation upto) const {
  absl::MutexLock lock(&mu_);
  return !changes_.empty() && changes_.front().generation <= upto;
}

std::vector<PfsChange> PfsChanges::Take(Generation frozen) {
  absl::MutexLock lock(&mu_);
  const auto end = std::find_if(changes_.begin(), changes_.end(), [&](const PfsChange& change) {
    return change.generation > frozen;
  });
  std::vector<PfsChange> taken(std::make_move_iterator(changes_.begin()),
                               std::make_move_iterator(end));
  changes_.erase(changes_.begin(), end);
  return taken;
}

void PfsChanges::PutBack(std::vector<PfsChange> changes) {
  absl::ReleasableMutexLock lock(&mu_);
  if (closed_.ok()) {
    changes_.insert(changes_.begin(), std::make_move_iterator(changes.begin()),
                    std::make_move_iterator(changes.end()));
    return;
  }
  const absl::Status why = closed_;
  lock.Release();
  for (PfsChange& change : changes) Answer(std::move(change), why);
}

bool PfsChanges::Withdraw(uint64_t id, const absl::Status& why) {
  PfsChange withdrawn;
  {
    absl::MutexLock lock(&mu_);
    const auto it = std::find_if(changes_.begin(), changes_.end(),
                                 [&](const PfsChange& change) { return change.id == id; });
    if (it == changes_.end()) return false;
    withdrawn = std::move(*it);
    changes_.erase(it);
  }
  Answer(std::move(withdrawn), why);
  return true;
}

void PfsChanges::Close(const absl::Status& why) {
  std::deque<PfsChange> left;
  {
    absl::MutexLock lock(&mu_);
    if (closed_.ok()) closed_ = why;
    left.swap(changes_);
  }
  for (PfsChange& change : left) Answer(std::move(change), why);
}

}  // namespace h2bd
