// Names that changed and are not on media yet: creates, renames and deletes in the root directories
// of PFSs. A change is seen by every later look-up at once and is applied to the topology by the
// cycle whose cut covers it (design section 4).
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/pfs/pfs.h"
#include "core/trans/trans_gate.h"

namespace h2bd {

// Look-ups are safe from any thread. Changes come from one caller at a time (core/volume serialises
// them), inside the gate. Apply is the flusher's.
class Namespace {
 public:
  Namespace(BlockStore& store, Clock& clock) : store_(store), clock_(clock) {}

  // The entry `name` of the root directory, pending changes included.
  absl::StatusOr<std::optional<Dirent>> Lookup(Pfs& pfs, absl::string_view name)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Up to `limit` entries with keys >= `from`, in key order. A pending name stands at the end of
  // its hash bucket until it has a key of its own. An entry whose name cannot be read has none.
  absl::StatusOr<std::vector<Dirent>> List(Pfs& pfs, Key from, size_t limit)
      ABSL_LOCKS_EXCLUDED(mu_);

  // `name` must be free, `inode` known to the PFS (Pfs::Adopt).
  void Create(Generation generation, Pfs& pfs, absl::string_view name, Inum inum, ObjectType type)
      ABSL_LOCKS_EXCLUDED(mu_);
  // `entry` must be the current one of its name.
  void Remove(Generation generation, Pfs& pfs, const Dirent& entry) ABSL_LOCKS_EXCLUDED(mu_);
  void Rename(Generation generation, Pfs& pfs, const Dirent& from, absl::string_view to)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Whether the changes that no cycle has applied take away all the links that `inode` still has.
  bool LosesLastLink(const Pfs& pfs, const Inode& inode) const ABSL_LOCKS_EXCLUDED(mu_);
  bool HasPending(Generation upto) const ABSL_LOCKS_EXCLUDED(mu_);

  // A name that a change of PFSs (core/pfs/pfs_changes.h) is going to make or to give to another
  // inode: nobody else may touch it meanwhile. kAborted when somebody does already. One caller at a
  // time, as for changes; Release from any thread.
  absl::Status Reserve(const Pfs& pfs, const std::string& name) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status CheckNotReserved(const Pfs& pfs, const std::string& name) const
      ABSL_LOCKS_EXCLUDED(mu_);
  void Release(const Pfs& pfs, const std::string& name) ABSL_LOCKS_EXCLUDED(mu_);
  // The flusher's: the PFS is gone, and with it all changes of its names.
  void Drop(const Pfs& pfs) ABSL_LOCKS_EXCLUDED(mu_);

  struct Applied {
    // Inodes that lost their last name and left the index.
    std::vector<std::pair<Pfs*, Inum>> removed;
    // Inodes whose meta data changed (a link count); they must be flushed with this cycle.
    std::vector<std::pair<Pfs*, std::shared_ptr<Inode>>> touched;
  };
  // Applies the changes up to `frozen` to the topology, in order, and adds what follows from them
  // to `applied`. After an error the changes that are left, the failed one first, are applied by
  // the next call.
  absl::Status Apply(Generation frozen, const FlushTids& tids, Applied& applied)
      ABSL_LOCKS_EXCLUDED(mu_);

 private:
  enum class Kind { kLink, kUnlink };
  struct Change {
    uint64_t number = 0;
    Generation generation;
    Pfs* pfs = nullptr;
    Kind kind = Kind::kLink;
    std::string name;
    Inum inum;
    ObjectType type = ObjectType::kUnknown;
    bool drops_link = false;   // an unlink that is not half of a rename
    bool dirent_done = false;  // the entry is done, the inode is not (after an error)
  };
  // What the newest pending change says of a name; no inode: there is no such name.
  struct Pending {
    uint64_t number = 0;
    std::optional<Inum> inum;
    ObjectType type = ObjectType::kUnknown;
  };
  using NameKey = std::pair<uint64_t, std::string>;  // key of the PFS, name

  void Push(Change change) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status ApplyOne(Change& change, const FlushTids& tids, Applied& applied);
  absl::Status DropLink(const Change& change, Applied& applied) ABSL_LOCKS_EXCLUDED(mu_);

  BlockStore& store_;
  Clock& clock_;
  mutable absl::Mutex mu_;
  std::deque<Change> changes_ ABSL_GUARDED_BY(mu_);
  std::map<NameKey, Pending> pending_ ABSL_GUARDED_BY(mu_);
  std::set<NameKey> reserved_ ABSL_GUARDED_BY(mu_);
  uint64_t next_number_ ABSL_GUARDED_BY(mu_) = 1;
};

}  // namespace h2bd
