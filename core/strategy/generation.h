// The changes of one disk between two cuts (design section 5), and the list of disks that have any.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/interval_set.h"
#include "core/strategy/dirty_block.h"
#include "core/trans/trans_gate.h"
#include "core/trans/transactions.h"

namespace h2bd {

class Disk;

// Plain data; the disk's lock guards it while it is open, nobody changes it once it is frozen.
//
// Order inside a generation is kept by construction: punching a hole drops the dirty blocks in it,
// and a block that is written after that lies over zeros. So: a block in `holes` that is in
// `blocks`, too, is over zeros.
struct DirtyGeneration {
  Generation id;
  absl::btree_map<uint64_t, DirtyBlock> blocks;  // by logical block number
  IntervalSet holes;                             // block numbers whose older content is gone
  std::optional<uint64_t> size;                  // of the disk, when it changed
  std::optional<absl::Time> mtime;
  uint64_t memory_bytes = 0;    // charged to the budget
  uint64_t reserved_bytes = 0;  // promised by the freemap

  // The block's entry, made when it is missing.
  DirtyBlock& At(uint64_t block);
  // Drops the blocks of [first, last) and marks them as holes.
  void Punch(uint64_t first, uint64_t last);
  // Adds a later generation: what it says wins. For generations whose cycle failed.
  void Absorb(DirtyGeneration&& newer);
};

// The disks of one transaction, ascending: their changes reach the media together or not at all.
using DiskGroup = std::vector<DiskId>;

// The disks that have changes, by generation. Thread-safe.
class DirtyRegistry {
 public:
  // `on_first` runs when something becomes dirty while nothing was.
  DirtyRegistry(Clock& clock, absl::AnyInvocable<void() const> on_first)
      : clock_(clock), on_first_(std::move(on_first)) {}

  // A disk calls it when it opens a generation, inside the gate.
  void Add(Generation generation, std::shared_ptr<Disk> disk) ABSL_LOCKS_EXCLUDED(mu_);
  // A transaction over several disks calls it inside the gate.
  void Join(Generation generation, DiskGroup group) ABSL_LOCKS_EXCLUDED(mu_);
  struct Taken {
    std::vector<std::shared_ptr<Disk>> disks;  // each once, in the order of their ids
    std::set<DiskGroup> groups;
  };
  // What has changed up to `frozen`.
  Taken Take(Generation frozen) ABSL_LOCKS_EXCLUDED(mu_);
  // Monotonic time of the first change that no cut has taken; nullopt when there is none.
  std::optional<absl::Duration> OldestChange() const ABSL_LOCKS_EXCLUDED(mu_);
  size_t size() const ABSL_LOCKS_EXCLUDED(mu_);
  std::set<DiskId> ids() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Entry {
    absl::Duration first_change;
    std::vector<std::shared_ptr<Disk>> disks;
    std::set<DiskGroup> groups;
  };
  Clock& clock_;
  const absl::AnyInvocable<void() const> on_first_;
  mutable absl::Mutex mu_;
  std::map<Generation, Entry> generations_ ABSL_GUARDED_BY(mu_);
};

}  // namespace h2bd
