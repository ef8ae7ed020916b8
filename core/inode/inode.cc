#include "core/inode/inode.h"

#include <algorithm>
#include <utility>

#include "core/media/decode.h"

namespace h2bd {
namespace {

std::vector<Blockref> Blockset(const InodeData& data) {
  std::vector<Blockref> entries;
  if (data.meta.directdata()) return entries;
  for (int i = 0; i < kBlocksetCount; ++i) {
    const Blockref entry = data.blockset(i);
    if (!entry.empty()) entries.push_back(entry);
  }
  return entries;
}

// A PFS root and the super-root begin a PFS; the super-root's own tables are in no snapshot.
std::shared_ptr<ShareHorizon> OwnHorizon(const InodeMeta& meta) {
  if (meta.pfs_type == kPfsTypeSuproot) return std::make_shared<ShareHorizon>(Tid(0));
  if ((meta.op_flags & kOpFlagPfsroot) == 0) return nullptr;
  return std::make_shared<ShareHorizon>(meta.pfs_lsnap_tid);
}

}  // namespace

absl::StatusOr<std::shared_ptr<Inode>> Inode::Load(const Blockref& bref, bool indexed,
                                                   BlockStore& store, ChainCache& cache,
                                                   std::shared_ptr<ShareHorizon> horizon) {
  H2_ASSERT(bref.type == BrefType::kInode && bref.data_off.radix() == kInodeRadix);
  H2_ASSIGN_OR_RETURN(const AlignedBuffer block, store.Load(bref));
  H2_ASSIGN_OR_RETURN(const InodeData data, DecodeInode(block.span(), bref, indexed));
  if (!data.meta.directdata()) {
    const absl::Status table =
        DecodeTable(data.u, TableKindOf(data), Key(0), 64, store.total_size()).status();
    if (!table.ok()) return Annotate(table, Describe(bref));
  }
  if (!indexed && horizon == nullptr) horizon = OwnHorizon(data.meta);
  return std::make_shared<Inode>(data, bref, store, cache, std::move(horizon));
}

std::shared_ptr<Inode> Inode::Create(const InodeData& data, const Blockref& bref, BlockStore& store,
                                     ChainCache& cache, std::shared_ptr<ShareHorizon> horizon) {
  H2_ASSERT(bref.type == BrefType::kInode);
  if (horizon == nullptr) horizon = OwnHorizon(data.meta);
  auto inode = std::make_shared<Inode>(data, bref, store, cache, std::move(horizon));
  absl::MutexLock lock(&inode->mu_);
  inode->modified_ = true;
  return inode;
}

Inode::Inode(const InodeData& data, const Blockref& bref, BlockStore& store, ChainCache& cache,
             std::shared_ptr<ShareHorizon> horizon)
    : store_(store),
      horizon_(std::move(horizon)),
      data_(data),
      bref_(bref),
      named_(bref.data_off),
      tree_(TableKindOf(data), Blockset(data), bref.methods, store, cache, horizon_) {}

InodeMeta Inode::meta() const {
  absl::ReaderMutexLock lock(&mu_);
  return data_.meta;
}

std::string Inode::filename() const {
  absl::ReaderMutexLock lock(&mu_);
  return std::string(data_.name());
}

Blockref Inode::bref() const {
  absl::ReaderMutexLock lock(&mu_);
  return bref_;
}

std::optional<std::array<std::byte, kEmbeddedBytes>> Inode::direct_data() const {
  absl::ReaderMutexLock lock(&mu_);
  if (!data_.meta.directdata()) return std::nullopt;
  return data_.u;
}

InodeData Inode::flushed_data() const {
  absl::ReaderMutexLock lock(&mu_);
  return data_;
}

void Inode::set_meta(const InodeMeta& meta) {
  absl::MutexLock lock(&mu_);
  H2_ASSERT(meta.directdata() == data_.meta.directdata());  // ClearDirectData is the way out
  if (meta == data_.meta) return;
  data_.meta = meta;
  modified_ = true;
}

void Inode::set_filename(absl::string_view name) {
  absl::MutexLock lock(&mu_);
  if (name == data_.name()) return;
  data_.set_name(name);
  modified_ = true;
}

void Inode::ClearDirectData() {
  absl::MutexLock lock(&mu_);
  if (!data_.meta.directdata()) return;
  data_.meta.op_flags &= static_cast<uint8_t>(~kOpFlagDirectdata);
  data_.u.fill(std::byte{0});
  modified_ = true;
}

bool Inode::modified() const {
  {
    absl::ReaderMutexLock lock(&mu_);
    if (modified_) return true;
  }
  return tree_.modified();
}

absl::StatusOr<Inode::Flushed> Inode::Flush(const FlushTids& tids, Executor& executor) {
  H2_RETURN_IF_ERROR(tree_.Flush(tids, executor));
  InodeData data;
  Blockref next;
  FlushTids own = tids;
  {
    absl::MutexLock lock(&mu_);
    const bool blockset_changed = tree_.modified();
    if (!modified_ && !blockset_changed) return Flushed{bref_, false};
    store_.metrics().visited_inodes.Add();
    // From here on the inode carries the change: TakeBlockset makes the tree forget it.
    modified_ = true;
    if (blockset_changed) {
      H2_ASSERT(!data_.meta.directdata());
      const std::array<Blockref, 4> blockset = tree_.TakeBlockset();
      for (int i = 0; i < kBlocksetCount; ++i) {
        data_.set_blockset(i, blockset[static_cast<size_t>(i)]);
      }
    }
    data = data_;
    next = bref_;
    next.set_methods(RealCheckMethod(bref_.check_method()), bref_.comp_method());
    SetStats(next, tree_.stats());
    // R9, F-146: never below what is beneath, nor below the last snapshot.
    own.modify_tid =
        std::max({tids.modify_tid, tree_.highest_modify_tid(), data.meta.pfs_lsnap_tid});
  }
  AlignedBuffer block(kInodeBytes);
  StoreAs(block.span(), data);
  H2_RETURN_IF_ERROR(store_.Store(next, std::move(block), own));
  absl::MutexLock lock(&mu_);
  DropUnnamed();
  bref_ = next;
  modified_ = false;
  return Flushed{next, true};
}

// A cycle that failed has stored the block and put it nowhere: no table will drop it.
void Inode::DropUnnamed() {
  if (bref_.data_off != named_) tree_.Drop(bref_);
}

void Inode::Named() {
  {
    absl::MutexLock lock(&mu_);
    named_ = bref_.data_off;
  }
  tree_.DeliverDrops();
}

bool Inode::AheadOfIndex() const {
  {
    absl::ReaderMutexLock lock(&mu_);
    if (modified_ || bref_.data_off != named_) return true;
  }
  return tree_.modified();
}

DropList Inode::DropAll() {
  {
    absl::MutexLock lock(&mu_);
    DropUnnamed();
    named_ = bref_.data_off;
  }
  tree_.DropAll();
  return tree_.TakeDrops();
}

}  // namespace h2bd
