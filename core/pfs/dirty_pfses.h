// Which PFSs a cycle has work with, so that it need not look at all of them: a volume may have
// thousands of snapshots.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/base/types.h"

namespace h2bd {

class Pfs;

// Thread-safe; a leaf among the locks. Holds no object: who takes a PFS away says so here first.
class DirtyPfses {
 public:
  // Something of the root changed that no super-root on media has.
  void Note(Key key, Pfs& pfs) ABSL_LOCKS_EXCLUDED(mu_);
  // It has more inodes in memory than it should keep.
  void NoteCrowded(Key key, Pfs& pfs) ABSL_LOCKS_EXCLUDED(mu_);
  void Forget(Key key) ABSL_LOCKS_EXCLUDED(mu_);
  std::vector<Pfs*> all() const ABSL_LOCKS_EXCLUDED(mu_);    // by key
  std::vector<Pfs*> TakeCrowded() ABSL_LOCKS_EXCLUDED(mu_);  // by key

 private:
  mutable absl::Mutex mu_;
  std::map<Key, Pfs*> dirty_ ABSL_GUARDED_BY(mu_);
  std::map<Key, Pfs*> crowded_ ABSL_GUARDED_BY(mu_);
};

}  // namespace h2bd
