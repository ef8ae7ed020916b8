#include "tests/flush/engine_world.h"

#include <gtest/gtest.h>

#include <utility>

#include "absl/synchronization/notification.h"

namespace h2bd {
namespace {

constexpr uint64_t kMemory = 256 * kMiB;

template <class T>
T Must(absl::StatusOr<T> value) {
  EXPECT_TRUE(value.ok()) << value.status();
  H2_ASSERT(value.ok());
  return *std::move(value);
}

}  // namespace

absl::StatusOr<Allocation> FailingAllocator::Allocate(BrefType type, unsigned radix, Key key) {
  {
    absl::MutexLock lock(&mu_);
    ++held_;
    mu_.Await(absl::Condition(
        +[](FailingAllocator* self)
             ABSL_EXCLUSIVE_LOCKS_REQUIRED(self->mu_) { return !self->hold_; },
        this));
    --held_;
    ++calls_;
    if (fail_at_ != 0 && (sticky_ ? calls_ >= fail_at_ : calls_ == fail_at_)) {
      return absl::ResourceExhaustedError("injected: no space");
    }
  }
  return inner_.Allocate(type, radix, key);
}

void FailingAllocator::FailAt(uint64_t n, bool sticky) {
  absl::MutexLock lock(&mu_);
  calls_ = 0;
  fail_at_ = n;
  sticky_ = sticky;
}

bool FailingAllocator::reached() const {
  absl::MutexLock lock(&mu_);
  return fail_at_ != 0 && calls_ >= fail_at_;
}

void FailingAllocator::Hold() {
  absl::MutexLock lock(&mu_);
  hold_ = true;
}

void FailingAllocator::AwaitHeld() {
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(
      +[](FailingAllocator* self)
           ABSL_EXCLUSIVE_LOCKS_REQUIRED(self->mu_) { return self->hold_ && self->held_ > 0; },
      this));
}

void FailingAllocator::LetGo() {
  absl::MutexLock lock(&mu_);
  hold_ = false;
}

EngineWorld::EngineWorld(BlockDevice& device, Clock& clock, const GroupCommitOptions& options,
                         uint64_t block_cache_bytes, uint64_t chain_cache_bytes)
    : audited_(&device), clock_(clock) {
  std::vector<std::unique_ptr<BlockDevice>> devices;
  devices.push_back(std::make_unique<BorrowedDevice>(device));
  Logger& logger = NullLogger();
  set_ = Must(AssembleVolumeSet(std::move(devices), logger));
  ring_ = std::make_unique<HeaderRing>(*set_.devices, set_, logger);
  EXPECT_EQ(ring_->Fence(), absl::OkStatus());
  dio_ = std::make_unique<Dio>(*set_.devices, DioOptions{.writer_threads = 0}, logger);
  freemap_ = Must(Freemap::Open(*set_.header, *ring_, *dio_, logger));
  audit_ = std::make_unique<DropAudit>(*freemap_);
  audit_->Know(Reachable());
  allocator_ = std::make_unique<FailingAllocator>(*audit_);
  store_ = std::make_unique<BlockStore>(*dio_, *allocator_, set_.header->address_space());
  chains_ = std::make_unique<ChainCache>(chain_cache_bytes);
  pfses_ = Must(PfsTable::Open(*set_.header, *store_, *chains_, logger));
  cache_ = std::make_unique<BlockCache>(block_cache_bytes);
  gate_ = std::make_unique<TransGate>(clock_);
  dirty_ = std::make_unique<DirtyRegistry>(clock_, [this] { commit_->NoteDirty(); });
  budget_ = std::make_unique<ByteBudget>(kMemory, kMemory, clock_, [] {});
  names_ = std::make_unique<Namespace>(*store_, clock_);
  context_ = std::make_unique<StrategyContext>(
      StrategyContext{*store_, *cache_, *dirty_, clock_, nullptr});
  const FlusherParts parts{*set_.devices, *dio_,     *ring_,   *freemap_, *store_, *chains_,
                           *pfses_,       *names_,   changes_, *gate_,    *dirty_, *cache_,
                           *budget_,      executor_, clock_,   logger};
  flusher_ = std::make_unique<Flusher>(parts, *set_.header, Tid(pfses_->HighestModifyTid().v + 1));
  commit_ = std::make_unique<GroupCommit>(*flusher_, *dirty_, clock_, options,
                                          [](const absl::Status&) {});
  pfs_ = Must(pfses_->Find("DATA"));
}

EngineWorld::~EngineWorld() { commit_->Stop(); }

BlockSet EngineWorld::Reachable() {
  std::vector<std::unique_ptr<BlockDevice>> devices;
  devices.push_back(std::make_unique<BorrowedDevice>(*audited_));
  const VolumeSet newest = Must(AssembleVolumeSet(std::move(devices), NullLogger()));
  BlockWalk walk(*audited_, newest.header->address_space());
  walk.AddHeader(*newest.header);
  return walk.found();
}

void EngineWorld::ExpectExactDrops() {
  audit_->ReadDroppedTrees(*audited_, set_.header->address_space());
  BlockSet live = audit_->live();
  for (const auto& [data_off, type] : Reachable()) {
    EXPECT_EQ(live.erase(data_off), 1u)
        << "dropped, and the header names it: " << std::hex << data_off.raw << " " << Name(type);
  }
  if (flusher_->held().size() > 0) return;
  for (const auto& [data_off, type] : live) {
    ADD_FAILURE() << "forgotten: " << std::hex << data_off.raw << " " << Name(type);
  }
}

void EngineWorld::Charge(const Disk::Cost& bound) {
  budget_->ChargeUnchecked(static_cast<uint64_t>(bound.memory_bytes));
  EXPECT_TRUE(freemap_->TryReserve(bound.reserved_bytes));
}

void EngineWorld::Spend(Disk& disk, const Disk::Cost& bound, const Disk::Cost& cost) {
  budget_->Attribute(disk.memory_account(), cost.memory_bytes);
  budget_->Release(static_cast<uint64_t>(bound.memory_bytes - cost.memory_bytes));
  freemap_->Unreserve(bound.reserved_bytes - cost.reserved_bytes);
}

Dirent EngineWorld::Entry(const std::string& name) { return *Must(names_->Lookup(*pfs_, name)); }

DiskRef EngineWorld::Create(const std::string& name, uint64_t size) {
  const Inum inum = pfs_->NewInum();
  const InodeMeta parent = pfs_->root().meta();
  const absl::Time now = clock_.WallNow();
  Blockref bref;
  bref.type = BrefType::kInode;
  bref.key = Key(inum.v);
  bref.set_methods(RealCheckMethod(parent.check_method()), parent.comp_method());
  pfs_->Adopt(inum, Inode::Create(NewDiskInode(inum, parent, size, now), bref, *store_, *chains_,
                                  pfs_->root().horizon()));
  const DiskId id{pfs_->key(), inum};
  const DiskRef disk = std::make_shared<Disk>(id, *pfs_, Must(pfs_->GetInode(inum)), *context_);
  disks_[inum] = disk;
  const Disk::Cost bound = Disk::TouchBound();
  Charge(bound);
  TransGate::Apply apply(*gate_);
  absl::MutexLock lock(&disk->mu());
  names_->Create(apply.generation(), *pfs_, name, inum, ObjectType::kRegfile);
  Spend(*disk, bound, disk->ApplySize(apply.generation(), size, size, now));
  disk->set_last_opseq(apply.Number());
  return disk;
}

DiskRef EngineWorld::Find(const std::string& name) {
  const Inum inum = Entry(name).inum;
  DiskRef& disk = disks_[inum];
  if (disk == nullptr) {
    const DiskId id{pfs_->key(), inum};
    disk = std::make_shared<Disk>(id, *pfs_, Must(pfs_->GetInode(inum)), *context_);
  }
  return disk;
}

void EngineWorld::Delete(const std::string& name) {
  const Dirent entry = Entry(name);
  const DiskRef disk = Find(name);
  const Disk::Cost bound = Disk::TouchBound();
  Charge(bound);
  TransGate::Apply apply(*gate_);
  names_->Remove(apply.generation(), *pfs_, entry);
  absl::MutexLock lock(&disk->mu());
  disk->MarkDeleted();
  Spend(*disk, bound, disk->Touch(apply.generation()));
  disk->set_last_opseq(apply.Number());
}

void EngineWorld::DeleteName(const std::string& name) {
  const Dirent entry = Entry(name);
  TransGate::Apply apply(*gate_);
  names_->Remove(apply.generation(), *pfs_, entry);
  apply.Number();
}

OpSeq EngineWorld::Write(const DiskRef& disk, uint64_t offset, absl::string_view text) {
  const uint64_t size = disk->size_bytes();
  const Disk::Cost bound = Disk::WriteBound(offset, text.size(), size);
  Charge(bound);
  const ConstByteSpan bytes = AsBytes(text);
  PreparedWrite write(offset, std::span(&bytes, 1));
  TransGate::Apply apply(*gate_);
  absl::MutexLock lock(&disk->mu());
  Spend(*disk, bound, disk->ApplyWrite(apply.generation(), write, size, clock_.WallNow()));
  const OpSeq seq = apply.Number();
  disk->set_last_opseq(seq);
  return seq;
}

OpSeq EngineWorld::Zero(const DiskRef& disk, uint64_t offset, uint64_t length) {
  const uint64_t size = disk->size_bytes();
  const Disk::Cost bound = Disk::ZeroesBound(size);
  Charge(bound);
  TransGate::Apply apply(*gate_);
  absl::MutexLock lock(&disk->mu());
  Spend(*disk, bound,
        disk->ApplyZeroes(apply.generation(), offset, length, size, clock_.WallNow()));
  const OpSeq seq = apply.Number();
  disk->set_last_opseq(seq);
  return seq;
}

OpSeq EngineWorld::Resize(const DiskRef& disk, uint64_t size) {
  const uint64_t bound_size = disk->size_bytes();
  const Disk::Cost bound = Disk::ZeroesBound(bound_size);
  Charge(bound);
  TransGate::Apply apply(*gate_);
  absl::MutexLock lock(&disk->mu());
  Spend(*disk, bound, disk->ApplySize(apply.generation(), size, bound_size, clock_.WallNow()));
  const OpSeq seq = apply.Number();
  disk->set_last_opseq(seq);
  return seq;
}

std::string EngineWorld::Read(const DiskRef& disk) {
  std::string text(disk->size_bytes(), '?');
  EXPECT_EQ(disk->Read(0, std::as_writable_bytes(std::span(text))), absl::OkStatus());
  return text;
}

absl::StatusOr<SyncResult> EngineWorld::Sync() {
  absl::Notification answered;
  absl::StatusOr<SyncResult> answer;
  commit_->SyncTo(gate_->opseq(), [&](absl::StatusOr<SyncResult> result) {
    answer = std::move(result);
    answered.Notify();
  });
  answered.WaitForNotification();
  return answer;
}

}  // namespace h2bd
