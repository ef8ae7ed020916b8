#include "core/flush/data_stage.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "core/media/codec.h"

namespace h2bd {
namespace {

constexpr size_t kBatchBlocks = 16;
// After so many blocks in a row that did not compress only each so-manieth is tried, as the
// reference does.
constexpr unsigned kTriesBeforeSkipping = 8;

absl::Status AboutDisk(const absl::Status& status, const Disk& disk) {
  return Annotate(status, absl::StrFormat("flushing disk inode %#x of PFS %s", disk.id().inum.v,
                                          disk.pfs().label()));
}

}  // namespace

std::vector<DataStage::Batch> DataStage::MakeBatches(const std::vector<DiskFlush>& disks) const {
  std::vector<Batch> batches;
  for (const DiskFlush& disk : disks) {
    for (const auto& [block, dirty] : disk.frozen->blocks) {
      if (batches.empty() || batches.back().disk != &disk ||
          batches.back().blocks.size() == kBatchBlocks) {
        batches.emplace_back().disk = &disk;
      }
      batches.back().blocks.push_back(block);
    }
  }
  return batches;
}

bool DataStage::IsDiskFault(const absl::Status& status) const {
  // A device that refuses writes is everybody's matter.
  return absl::IsDataLoss(status) || (absl::IsUnavailable(status) && store_.dio().failure().ok());
}

absl::StatusOr<DataStage::Stored> DataStage::Store(const std::vector<DiskFlush>& disks,
                                                   const FlushTids& tids) {
  Stored stored;
  for (const DiskFlush& disk : disks) {
    for (const auto& [first, last] : disk.frozen->holes.intervals()) {
      cache_.Erase(disk.disk->id(), first, last);
    }
  }
  stored.batches = MakeBatches(disks);
  ParallelFor(executor_, stored.batches.size(),
              [&](size_t i) { stored.batches[i].status = StoreBatch(stored.batches[i], tids); });
  for (const Batch& batch : stored.batches) {
    batch.disk->disk->set_incompressible(batch.incompressible);
    if (batch.status.ok()) continue;
    const absl::Status fault = AboutDisk(batch.status, *batch.disk->disk);
    if (!IsDiskFault(batch.status)) {
      GiveBack(stored.batches);
      return fault;
    }
    stored.faults.emplace(batch.disk->disk->id(), fault);
  }
  for (const DiskFlush& disk : disks) {
    const absl::Status read = ReadTablesAroundHoles(disk);
    if (!read.ok()) stored.faults.emplace(disk.disk->id(), AboutDisk(read, *disk.disk));
  }
  return stored;
}

absl::Status DataStage::ReadTablesAroundHoles(const DiskFlush& disk) {
  ChainTree& tree = disk.disk->inode().tree();
  for (const auto& [first, last] : disk.frozen->holes.intervals()) {
    H2_RETURN_IF_ERROR(
        tree.ReadEdges(Key(first << kLogicalRadix), Key((last << kLogicalRadix) - 1)));
  }
  return absl::OkStatus();
}

absl::Status DataStage::Install(const std::vector<DiskFlush>& disks, Stored stored,
                                const HeldDisks::Faults& held, const FlushTids& tids) {
  auto begin = stored.batches.begin();
  for (const DiskFlush& disk : disks) {
    const auto end = std::find_if(begin, stored.batches.end(),
                                  [&](const Batch& batch) { return batch.disk != &disk; });
    const std::span<Batch> batches(begin, end);
    const auto first = static_cast<size_t>(begin - stored.batches.begin());
    begin = end;
    if (held.contains(disk.disk->id())) {
      GiveBack(batches);
      continue;
    }
    ahead_.insert(disk.disk->id());
    const absl::Status installed = InstallDisk(disk, batches, tids);
    if (!installed.ok()) {
      GiveBack(std::span<const Batch>(stored.batches).subspan(first));
      return AboutDisk(installed, *disk.disk);
    }
  }
  std::erase_if(ahead_, [&](const DiskId& disk) { return !held.contains(disk); });
  return absl::OkStatus();
}

void DataStage::GiveBack(std::span<const Batch> batches) {
  // Backwards: small blocks share a chunk, which takes back only what it gave last.
  for (auto batch = batches.rbegin(); batch != batches.rend(); ++batch) {
    for (auto bref = batch->stored.rbegin(); bref != batch->stored.rend(); ++bref) {
      store_.allocator().Undo(bref->data_off, bref->type);
    }
  }
}

absl::Status DataStage::StoreBatch(Batch& batch, const FlushTids& tids) {
  const Disk& disk = *batch.disk->disk;
  const InodeMeta meta = disk.inode().meta();
  const uint64_t size = batch.disk->frozen->size.value_or(meta.size);
  batch.incompressible = disk.incompressible();  // changes between cycles only
  for (const uint64_t block : batch.blocks) {
    H2_RETURN_IF_ERROR(StoreBlock(batch, block, meta, size, tids));
    LetOthersRun();
  }
  return absl::OkStatus();
}

absl::Status DataStage::StoreBlock(Batch& batch, uint64_t block, const InodeMeta& meta,
                                   uint64_t size, const FlushTids& tids) {
  Disk& disk = *batch.disk->disk;
  const Key key(block << kLogicalRadix);
  H2_RETURN_IF_ERROR(disk.inode().tree().CheckPut(key, kLogicalRadix));
  // Bytes past the end of the disk do not exist: the zero tail of a shrunk disk's last block may.
  if (key.v >= size) {
    batch.erased.push_back(key);
    return absl::OkStatus();
  }
  if (!batch.disk->frozen->blocks.at(block).Defines(0, kLogicalBytes)) {
    metrics_.filled_blocks.Add();
  }
  H2_ASSIGN_OR_RETURN(SharedBytes image, disk.FrozenBlock(*batch.disk->frozen, block));
  const ConstByteSpan logical = image->span().first(PblkSize(size, key.v));
  if (IsAllZero(logical)) {
    cache_.Erase(disk.id(), block, block + 1);
    batch.erased.push_back(key);
    metrics_.hole_blocks.Add();
    return absl::OkStatus();
  }
  Blockref bref;
  bref.type = BrefType::kData;
  bref.key = key;
  bref.keybits = kLogicalRadix;
  H2_RETURN_IF_ERROR(StoreLogical(batch, bref, image, logical.size(), meta, tids));
  cache_.Put(disk.id(), block, std::move(image));
  batch.stored.push_back(bref);
  return absl::OkStatus();
}

absl::Status DataStage::StoreLogical(Batch& batch, Blockref& bref, const SharedBytes& image,
                                     uint64_t bytes, const InodeMeta& meta, const FlushTids& tids) {
  const ConstByteSpan logical = image->span().first(bytes);
  std::optional<StoredBlock> compressed;
  if (batch.incompressible < kTriesBeforeSkipping ||
      batch.incompressible % kTriesBeforeSkipping == 0) {
    compressed = CompressBlock(logical, meta.comp_method(), meta.comp_level());
  }
  batch.incompressible = compressed.has_value() ? 0 : batch.incompressible + 1;
  const CompMethod comp = compressed.has_value() ? compressed->comp : CompMethod::kNone;
  bref.set_methods(RealCheckMethod(meta.check_method()), comp);
  metrics_.data_blocks.Add();
  metrics_.data_bytes.Add(compressed.has_value() ? compressed->bytes.size() : bytes);
  if (compressed.has_value()) return store_.Store(bref, std::move(compressed->bytes), tids);
  // What is stored as it is goes out without a copy.
  if (bytes == image->size()) return store_.Store(bref, image, tids);
  return store_.Store(bref, AlignedBuffer::CopyOf(logical), tids);
}

absl::Status DataStage::InstallDisk(const DiskFlush& flush, std::span<Batch> batches,
                                    const FlushTids& tids) {
  Inode& inode = flush.disk->inode();
  ChainTree& tree = inode.tree();
  for (const auto& [first, last] : flush.frozen->holes.intervals()) {
    H2_RETURN_IF_ERROR(
        tree.EraseRange(Key(first << kLogicalRadix), Key((last << kLogicalRadix) - 1)).status());
  }
  for (Batch& batch : batches) {
    size_t put = 0;
    const absl::Status status = tree.PutAll(batch.stored, &put);
    batch.stored.erase(batch.stored.begin(), batch.stored.begin() + static_cast<ptrdiff_t>(put));
    H2_RETURN_IF_ERROR(status);
    for (const Key key : batch.erased) H2_RETURN_IF_ERROR(tree.Erase(key).status());
    LetOthersRun();
  }
  H2_RETURN_IF_ERROR(LeaveDirectData(flush, tids));
  InodeMeta meta = inode.meta();
  meta.size = flush.frozen->size.value_or(meta.size);
  if (flush.frozen->mtime.has_value()) {
    meta.mtime = ToMediaTime(*flush.frozen->mtime);
    if (flush.frozen->size.has_value()) meta.ctime = meta.mtime;
  }
  inode.set_meta(meta);
  return absl::OkStatus();
}

// A small file that another implementation made keeps its bytes in the inode. The first change
// moves them into a DATA block; readers find the bytes in one place or the other at every moment.
absl::Status DataStage::LeaveDirectData(const DiskFlush& flush, const FlushTids& tids) {
  Inode& inode = flush.disk->inode();
  const auto direct = inode.direct_data();
  if (!direct.has_value()) return absl::OkStatus();
  const bool replaced = flush.frozen->blocks.contains(0) || flush.frozen->holes.Contains(0);
  if (!replaced && !IsAllZero(*direct)) {
    const InodeMeta meta = inode.meta();
    AlignedBuffer logical = AlignedBuffer::Zeroed(kAllocMin);
    std::memcpy(logical.data(), direct->data(), direct->size());
    Blockref bref;
    bref.type = BrefType::kData;
    bref.keybits = kLogicalRadix;
    bref.set_methods(RealCheckMethod(meta.check_method()), CompMethod::kNone);
    H2_RETURN_IF_ERROR(store_.Store(bref, std::move(logical), tids));
    const absl::Status put = inode.tree().Put(bref);
    if (!put.ok()) store_.allocator().Undo(bref.data_off, bref.type);
    H2_RETURN_IF_ERROR(put);
  }
  inode.ClearDirectData();
  return absl::OkStatus();
}

}  // namespace h2bd
