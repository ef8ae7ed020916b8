// The super-root and the PFSs in it (spec 03 section 11).
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/random.h"
#include "core/inode/directory.h"
#include "core/inode/inode.h"
#include "core/media/volume_data.h"
#include "core/pfs/dirty_pfses.h"

namespace h2bd {

// One PFS: its root inode, its inode index, its inode-number counter. Find functions are safe from
// any thread; the others are the flusher's, NewInum excepted.
class Pfs {
 public:
  // `dirty` is told of changes; it outlives the PFS.
  Pfs(std::shared_ptr<Inode> root, BlockStore& store, ChainCache& cache, DirtyPfses& dirty);

  const std::string& label() const { return label_; }
  Key key() const { return key_; }  // in the super-root; identifies the PFS within the volume
  bool snapshot() const { return snapshot_; }
  // Its removal was asked for, or it is replaced: it cannot be found any more, unless that fails.
  bool removing() const { return removing_.load(std::memory_order_acquire); }
  void set_removing(bool removing) { removing_.store(removing, std::memory_order_release); }
  // Somebody reads it as a whole: it is not to be deleted (PfsLease). Any thread.
  bool leased() const { return leases_.load(std::memory_order_acquire) != 0; }
  // It has left the super-root in memory. Flusher only, like all that a cycle then leaves out.
  bool gone() const { return gone_; }
  Inode& root() { return *root_; }
  const Inode& root() const { return *root_; }
  std::shared_ptr<Inode> shared_root() { return root_; }

  // The inode with this number; one object per inode, kept while anybody holds it or the cache
  // does. inum 1 is the root. kNotFound, kDataLoss (spec 03 section 7.3: the inode must say the
  // same number).
  absl::StatusOr<std::shared_ptr<Inode>> GetInode(Inum inum) ABSL_LOCKS_EXCLUDED(mu_);

  // Number of the last operation that changed one of its disks; any thread.
  OpSeq last_opseq() const { return OpSeq(last_opseq_.load(std::memory_order_acquire)); }
  void NoteChange(OpSeq seq);

  // The root was changed: the next cycle flushes it. PutIndex and EraseIndex do it by themselves.
  void MarkDirty() { dirty_.Note(key_, *this); }

  // Next inode number; any thread (F-026, F-027).
  Inum NewInum() ABSL_LOCKS_EXCLUDED(mu_);

  // Makes an inode object known to GetInode before it is in the index.
  void Adopt(Inum inum, std::shared_ptr<Inode> inode) ABSL_LOCKS_EXCLUDED(mu_);
  void Forget(Inum inum) ABSL_LOCKS_EXCLUDED(mu_);
  // Whether GetInode would give this very object: false once it is forgotten. Any thread that holds
  // the inode.
  bool Knows(Inum inum, const Inode& inode) const ABSL_LOCKS_EXCLUDED(mu_);
  // Puts a flushed inode's blockref into the index; removes it from there (OK when it is not there,
  // so that a cycle can be repeated). The caller holds the inode meanwhile.
  absl::Status PutIndex(const Blockref& bref) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status EraseIndex(Inum inum) ABSL_LOCKS_EXCLUDED(mu_);

  // Takes an inode out of the index that lost its last name, with all that it names. On error
  // nothing has changed.
  absl::Status RemoveInode(Inum inum, Inode& inode) ABSL_LOCKS_EXCLUDED(mu_);

  // What this PFS wrote up to `upto` is named by another tree from now on (R12): pfs_lsnap_tid and
  // the horizon of all its trees are raised to it. Before a header shows the copy.
  void Share(Tid upto);

  // The PFS was removed: drops everything that it names. Returned is what must be in the custody of
  // the super-root.
  DropList DropAll() ABSL_LOCKS_EXCLUDED(mu_);
  void set_gone() { gone_ = true; }

  // P3: stores the inode counter in the root (F-028), flushes index and root. Without a change and
  // without new inode numbers nothing is written.
  absl::StatusOr<Inode::Flushed> Flush(const FlushTids& tids, Executor& executor)
      ABSL_LOCKS_EXCLUDED(mu_);

  // Above so many inodes in memory the table hears of it (PfsTable::TrimInodes).
  static constexpr size_t kInodesKept = 1024;
  // Drops cached inodes that nobody holds and that are not modified, down to `keep` of them.
  void TrimInodes(size_t keep) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  absl::StatusOr<Blockref> FindIndex(Inum inum);
  void NoteIfCrowded() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  BlockStore& store_;
  ChainCache& cache_;
  DirtyPfses& dirty_;
  const std::shared_ptr<Inode> root_;
  const std::string label_;
  const Key key_;
  const bool snapshot_;
  std::atomic<bool> removing_{false};
  friend class PfsLease;
  std::atomic<int> leases_{0};
  bool gone_ = false;
  std::atomic<uint64_t> last_opseq_{0};
  mutable absl::Mutex mu_;
  uint64_t next_inum_ ABSL_GUARDED_BY(mu_);  // next number to issue
  uint64_t stored_inum_
      ABSL_GUARDED_BY(mu_);  // the counter as the last Flush stored it, or as it was at open
  uint64_t index_edits_ ABSL_GUARDED_BY(mu_) = 0;
  absl::flat_hash_map<uint64_t, std::shared_ptr<Inode>> inodes_ ABSL_GUARDED_BY(mu_);
};

// While one is about, nobody deletes the PFS.
class PfsLease {
 public:
  explicit PfsLease(Pfs& pfs) : pfs_(pfs) { pfs_.leases_.fetch_add(1, std::memory_order_acq_rel); }
  ~PfsLease() { pfs_.leases_.fetch_sub(1, std::memory_order_acq_rel); }
  PfsLease(const PfsLease&) = delete;
  PfsLease& operator=(const PfsLease&) = delete;

 private:
  Pfs& pfs_;
};

struct PfsInfo {
  std::string label;
  Key key;
  uint8_t type = 0, subtype = 0;
  Uuid clid{}, fsid{};
};

// All PFSs of a volume. Find, List and all are safe from any thread; the others are the flusher's.
// A Pfs lives as long as the table, even after it was removed.
class PfsTable {
 public:
  // Loads the super-root and the roots below it. A damaged PFS root is reported and left out; a
  // damaged super-root is kDataLoss; kUnavailable when the device fails.
  static absl::StatusOr<std::unique_ptr<PfsTable>> Open(const VolumeData& header, BlockStore& store,
                                                        ChainCache& cache, Logger& logger);

  // By label, exact bytes. kNotFound lists what there is (shortened).
  absl::StatusOr<Pfs*> Find(absl::string_view label) ABSL_LOCKS_EXCLUDED(mu_);
  std::vector<PfsInfo> List() const ABSL_LOCKS_EXCLUDED(mu_);  // by label
  // Whether a damaged root was left out: there are PFSs that nobody can name.
  bool has_damaged() const { return damaged_.load(std::memory_order_relaxed); }
  // The highest modify_tid or pfs_lsnap_tid that the super-root, the PFS roots and the blocksets of
  // these carry; the first id to issue lies above it (F-130).
  Tid HighestModifyTid() const ABSL_LOCKS_EXCLUDED(mu_);

  // Takes a label for a PFS that a change is going to make, or kAlreadyExists. Any thread.
  absl::Status Reserve(const std::string& label) ABSL_LOCKS_EXCLUDED(mu_);
  void Release(const std::string& label) ABSL_LOCKS_EXCLUDED(mu_);

  // A free key in the super-root for a PFS with this label (spec 03 section 11.4); kAlreadyExists
  // when there is such a PFS, unless it is the one to be `replaced`; kDataLoss when a damaged root
  // may be one. A key that was in use since the open is not given out again: what knows disks by
  // it may still be about.
  // `besides`: keys that are about to be taken.
  absl::StatusOr<Key> FreeKey(absl::string_view label, const Pfs* replaced = nullptr,
                              std::span<const Key> besides = {}) ABSL_LOCKS_EXCLUDED(mu_);
  // The blockref of a new PFS root, not stored yet: methods of the super-root's, PFSROOT (R17).
  Blockref NewRootBref(Key key) const;
  // Makes a new PFS known. Its root reaches the super-root when FlushSuperRoot gets its blockref.
  Pfs& Add(std::shared_ptr<Inode> root) ABSL_LOCKS_EXCLUDED(mu_);
  // Takes the PFS out of the table and out of the super-root; what only it names is dropped, but
  // for what is below a root that was left out as damaged. OK when it is not there. On error
  // nothing has changed.
  absl::Status Remove(Key key) ABSL_LOCKS_EXCLUDED(mu_);

  // P4: puts the roots that `changed` names into the super-root (with bref flag PFSROOT, R17) and
  // flushes it; returns the 4 entries for sroot_blockset.
  absl::StatusOr<std::array<Blockref, 4>> FlushSuperRoot(const FlushTids& tids,
                                                         const std::vector<Blockref>& changed,
                                                         Executor& executor);
  std::vector<Pfs*> all() ABSL_LOCKS_EXCLUDED(mu_);  // by key

  // Those whose root in memory is not what the super-root on media names, by key: a cycle need not
  // look at the others. They stay so until ForgetClean, which a confirmed header allows.
  std::vector<Pfs*> dirty() const { return dirty_.all(); }
  void ForgetClean();
  // Keeps the inodes that nobody holds within bounds.
  void TrimInodes();

 private:
  PfsTable(std::shared_ptr<Inode> super_root, BlockStore& store, ChainCache& cache)
      : store_(store), cache_(cache), super_root_(std::move(super_root)) {}
  // The super-root's table has the newest block of this PFS root.
  void NoteNamed(Key key) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status LoadRoots(Logger& logger) ABSL_LOCKS_EXCLUDED(mu_);
  // The PFS with this label among those whose key the label's hash gives.
  Pfs* InBucket(absl::string_view label) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  BlockStore& store_;
  ChainCache& cache_;
  const std::shared_ptr<Inode> super_root_;
  std::atomic<bool> damaged_{false};
  DirtyPfses dirty_;
  mutable absl::Mutex mu_;
  std::map<Key, std::unique_ptr<Pfs>> pfses_ ABSL_GUARDED_BY(mu_);
  std::set<std::string> reserved_ ABSL_GUARDED_BY(mu_);
  std::map<Key, std::unique_ptr<Pfs>> removed_
      ABSL_GUARDED_BY(mu_);  // others may still hold the pointer
};

// The meta data of a new regular file for a disk (spec 03 section 7.2): DIRECTDATA is never set,
// comp_algo and check_algo come from `parent` (NONE and DISABLED checks become XXHASH64, F-147).
InodeData NewDiskInode(Inum inum, const InodeMeta& parent, uint64_t size, absl::Time now);

// The root inode of a new, empty PFS as the engine makes it (spec 03 section 11.4), with btime.
// Format sets iparent 0 and pfs_inum 16 as newfs does (spec 01 section 10.2).
InodeData NewPfsRootInode(absl::string_view label, Key key, absl::Time now, RandomSource& random);

}  // namespace h2bd
