// The engine put together by hand, so that a test can stand between its parts: block allocations
// that fail or wait, a clock of its own, cycles one by one.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "core/flush/group_commit.h"
#include "core/volhdr/header_ring.h"
#include "tests/chain/drop_audit.h"
#include "tests/support/memory_device.h"

namespace h2bd {

// Hands allocations on to the freemap, except those that are to fail.
class FailingAllocator final : public BlockAllocator {
 public:
  explicit FailingAllocator(BlockAllocator& inner) : inner_(inner) {}
  absl::StatusOr<Allocation> Allocate(BrefType type, unsigned radix, Key key) override;
  void Undo(DataOff data_off, BrefType type) override { inner_.Undo(data_off, type); }
  void Dropped(std::span<const DroppedBlock> blocks, std::span<const DroppedTree> trees) override {
    inner_.Dropped(blocks, trees);
  }

  // The n-th Allocate from now fails with kResourceExhausted, and with `sticky` all that follow; 0:
  // none.
  void FailAt(uint64_t n, bool sticky = false) ABSL_LOCKS_EXCLUDED(mu_);
  bool reached() const ABSL_LOCKS_EXCLUDED(mu_);

  // Allocations wait from now on, until LetGo.
  void Hold() ABSL_LOCKS_EXCLUDED(mu_);
  // Until one waits: its cycle has made its cut then, and cannot end.
  void AwaitHeld() ABSL_LOCKS_EXCLUDED(mu_);
  void LetGo() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  BlockAllocator& inner_;
  mutable absl::Mutex mu_;
  uint64_t calls_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t fail_at_ ABSL_GUARDED_BY(mu_) = 0;
  bool sticky_ ABSL_GUARDED_BY(mu_) = false;
  bool hold_ ABSL_GUARDED_BY(mu_) = false;
  int held_ ABSL_GUARDED_BY(mu_) = 0;
};

class EngineWorld {
 public:
  // Opens what is on `device`, which outlives this like `clock`.
  EngineWorld(BlockDevice& device, Clock& clock, const GroupCommitOptions& options,
              uint64_t block_cache_bytes = 256 * kMiB, uint64_t chain_cache_bytes = 256 * kMiB);
  ~EngineWorld();

  DiskRef Create(const std::string& name, uint64_t size);
  DiskRef Find(const std::string& name);
  void Delete(const std::string& name);
  // Takes the name away without a word to the disk, as for a disk whose inode cannot be read.
  void DeleteName(const std::string& name);
  OpSeq Write(const DiskRef& disk, uint64_t offset, absl::string_view text);
  OpSeq Zero(const DiskRef& disk, uint64_t offset, uint64_t length);
  OpSeq Resize(const DiskRef& disk, uint64_t size);
  std::string Read(const DiskRef& disk);
  // What a Sync of everything answers.
  absl::StatusOr<SyncResult> Sync();

  // What the newest header on the device reaches.
  BlockSet Reachable();
  // After a cycle: nothing that the header reaches was dropped, and unless disks are held, each
  // other block that was ever given out was, once (spec 02 section 13.4).
  void ExpectExactDrops();

  FailingAllocator& allocator() { return *allocator_; }
  DropAudit& audit() { return *audit_; }
  // Where the audit reads, when not all reads of the engine's device succeed.
  void AuditFrom(BlockDevice& device) { audited_ = &device; }
  Flusher& flusher() { return *flusher_; }
  GroupCommit& commit() { return *commit_; }
  DirtyRegistry& dirty() { return *dirty_; }
  TransGate& gate() { return *gate_; }
  BlockStore& store() { return *store_; }

 private:
  Dirent Entry(const std::string& name);
  void Charge(const Disk::Cost& bound);
  void Spend(Disk& disk, const Disk::Cost& bound, const Disk::Cost& cost);

  BlockDevice* audited_;
  Clock& clock_;
  VolumeSet set_;
  InlineExecutor executor_;
  std::unique_ptr<HeaderRing> ring_;
  std::unique_ptr<Dio> dio_;
  std::unique_ptr<Freemap> freemap_;
  std::unique_ptr<DropAudit> audit_;
  std::unique_ptr<FailingAllocator> allocator_;
  std::unique_ptr<BlockStore> store_;
  std::unique_ptr<ChainCache> chains_;
  std::unique_ptr<PfsTable> pfses_;
  std::unique_ptr<BlockCache> cache_;
  std::unique_ptr<TransGate> gate_;
  std::unique_ptr<DirtyRegistry> dirty_;
  std::unique_ptr<ByteBudget> budget_;
  std::unique_ptr<Namespace> names_;
  PfsChanges changes_;
  std::unique_ptr<StrategyContext> context_;
  std::unique_ptr<Flusher> flusher_;
  std::unique_ptr<GroupCommit> commit_;
  Pfs* pfs_ = nullptr;
  std::map<Inum, DiskRef> disks_;
};

}  // namespace h2bd
