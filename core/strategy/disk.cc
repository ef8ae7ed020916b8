#include "core/strategy/disk.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/media/codec.h"

namespace h2bd {
namespace {

// Levels of INDIRECT blocks above a DATA entry of a file of this size in its regular shape (spec 03
// section 3.2.1), one more for the mixed shapes that grown files have.
uint64_t IndirectLevels(uint64_t disk_size) {
  uint64_t levels = 1;
  for (unsigned reach_bits = 18; reach_bits < 63 && uint64_t{1} << reach_bits < disk_size;
       reach_bits += 7) {
    ++levels;
  }
  return levels;
}

// Space that one dirty block can cost in the worst case: itself, and a table of its own on each
// level.
uint64_t BlockReservation(uint64_t disk_size) {
  return kLogicalBytes + kIndirectBytesNom * IndirectLevels(disk_size);
}

// The inode, the inode index on the way to it, PFS root and super-root.
constexpr uint64_t kDiskReservation = 128 * kKiB;
// Memory of a generation without blocks.
constexpr uint64_t kGenerationMemory = 1024;
// Memory of one range of holes: an interval and its tree node.
constexpr uint64_t kHoleMemory = 128;
constexpr uint64_t kReadAheadBlocks = 16;

uint64_t BlockOf(uint64_t offset) { return offset >> kLogicalRadix; }
uint32_t WithinBlock(uint64_t offset) {
  return static_cast<uint32_t>(offset & (kLogicalBytes - 1));
}

}  // namespace

PreparedWrite::PreparedWrite(uint64_t offset, std::span<const ConstByteSpan> pieces)
    : offset_(offset) {
  for (const ConstByteSpan piece : pieces) length_ += piece.size();
  size_t piece = 0;
  size_t in_piece = 0;
  for (uint64_t done = 0; done < length_;) {
    Part part;
    part.block = BlockOf(offset + done);
    part.at = WithinBlock(offset + done);
    const uint64_t n = std::min(length_ - done, kLogicalBytes - part.at);
    if (n == kLogicalBytes) part.whole = AlignedBuffer(kLogicalBytes);
    for (uint64_t taken = 0; taken < n;) {
      const uint64_t run = std::min<uint64_t>(n - taken, pieces[piece].size() - in_piece);
      const ConstByteSpan source = pieces[piece].subspan(in_piece, run);
      if (n == kLogicalBytes) {
        if (run != 0) std::memcpy(part.whole.data() + taken, source.data(), run);
      } else if (run != 0) {
        part.sources.push_back(source);
      }
      taken += run;
      in_piece += run;
      if (in_piece == pieces[piece].size()) {
        ++piece;
        in_piece = 0;
      }
    }
    parts_.push_back(std::move(part));
    done += n;
  }
}

Disk::Disk(DiskId id, Pfs& pfs, std::shared_ptr<Inode> inode, StrategyContext& context)
    : id_(id), pfs_(pfs), inode_(std::move(inode)), context_(context) {}

Disk::~Disk() = default;

uint64_t Disk::SizeLocked() const {
  if (open_ != nullptr && open_->size.has_value()) return *open_->size;
  if (frozen_ != nullptr && frozen_->size.has_value()) return *frozen_->size;
  return inode_->meta().size;
}

uint64_t Disk::size_bytes() const {
  absl::ReaderMutexLock lock(&mu_);
  return SizeLocked();
}

uint64_t Disk::dirty_bytes() const {
  absl::ReaderMutexLock lock(&mu_);
  uint64_t bytes = 0;
  if (open_ != nullptr) bytes += open_->memory_bytes;
  if (frozen_ != nullptr) bytes += frozen_->memory_bytes;
  return bytes;
}

absl::Time Disk::modify_time() const {
  absl::ReaderMutexLock lock(&mu_);
  if (open_ != nullptr && open_->mtime.has_value()) return *open_->mtime;
  if (frozen_ != nullptr && frozen_->mtime.has_value()) return *frozen_->mtime;
  return FromMediaTime(inode_->meta().mtime);
}

absl::Status Disk::CheckRange(uint64_t offset, uint64_t length) const {
  return CheckRangeIn(SizeLocked(), offset, length);
}

absl::Status Disk::CheckRangeIn(uint64_t size, uint64_t offset, uint64_t length) const {
  if (deleted()) return absl::NotFoundError("the disk has been deleted");
  if (offset > size || length > size - offset) {
    return absl::OutOfRangeError(absl::StrFormat(
        "range [%d, +%d) is not within the disk; legal are 0 to %d", offset, length, size));
  }
  return absl::OkStatus();
}

Disk::Cost Disk::WriteBound(uint64_t offset, uint64_t length, uint64_t disk_size) {
  const uint64_t first = BlockOf(offset);
  const uint64_t blocks = length == 0 ? 0 : BlockOf(offset + length - 1) - first + 1;
  // The ends of a write may touch one page more each.
  Cost cost = BlocksBound(blocks, length / DirtyBlock::kPageBytes + 2, disk_size);
  cost += TouchBound();
  return cost;
}

Disk::Cost Disk::BlocksBound(uint64_t blocks, uint64_t pages, uint64_t disk_size) {
  return {static_cast<int64_t>(pages * DirtyBlock::kPageBytes + blocks * 512),
          blocks * BlockReservation(disk_size)};
}

Disk::Cost Disk::ZeroesBound(uint64_t disk_size) {
  Cost cost;
  cost.memory_bytes = static_cast<int64_t>(2 * kLogicalBytes + 4 * kGenerationMemory);
  // Two partial blocks, and the two paths on which tables lose entries.
  cost.reserved_bytes = 4 * BlockReservation(disk_size) + kDiskReservation;
  return cost;
}

DirtyGeneration& Disk::Open(Generation generation) {
  if (open_ != nullptr && open_->id < generation) MoveOpenToFrozen();
  if (open_ == nullptr) {
    open_ = std::make_unique<DirtyGeneration>();
    open_->id = generation;
    open_->memory_bytes = kGenerationMemory;
    open_->reserved_bytes = kDiskReservation;
    context_.dirty.Add(generation, shared_from_this());
  }
  return *open_;
}

void Disk::MoveOpenToFrozen() {
  if (frozen_ == nullptr) {
    frozen_ = std::move(open_);
  } else {
    frozen_->Absorb(std::move(*open_));
    open_.reset();
  }
}

Disk::Cost Disk::ApplyWrite(Generation generation, PreparedWrite& write, uint64_t bound_size,
                            absl::Time now) {
  const bool opens = open_ == nullptr || open_->id < generation;
  DirtyGeneration& gen = Open(generation);
  const uint64_t per_block = BlockReservation(bound_size);
  Cost cost;
  if (opens) cost = TouchBound();
  for (PreparedWrite::Part& part : write.parts_) {
    const bool is_new = !gen.blocks.contains(part.block);
    DirtyBlock& block = gen.At(part.block);
    const uint64_t before = is_new ? 0 : block.memory_bytes();
    if (!part.whole.empty()) {
      block.WriteWhole(std::move(part.whole));
    } else {
      uint32_t at = part.at;
      for (const ConstByteSpan source : part.sources) {
        block.Write(at, source);
        at += static_cast<uint32_t>(source.size());
      }
    }
    const auto grown = static_cast<int64_t>(block.memory_bytes()) - static_cast<int64_t>(before);
    cost.memory_bytes += grown;
    gen.memory_bytes = static_cast<uint64_t>(static_cast<int64_t>(gen.memory_bytes) + grown);
    if (is_new) {
      cost.reserved_bytes += per_block;
      gen.reserved_bytes += per_block;
    }
  }
  gen.mtime = now;
  return cost;
}

Disk::Cost Disk::ApplyZeroes(Generation generation, uint64_t offset, uint64_t length,
                             uint64_t bound_size, absl::Time now) {
  Cost cost;
  if (length == 0) return cost;
  const bool opens = open_ == nullptr || open_->id < generation;
  DirtyGeneration& gen = Open(generation);
  const uint64_t before = opens ? 0 : gen.memory_bytes;
  if (opens) cost.reserved_bytes = kDiskReservation;
  const uint64_t end = offset + length;
  const uint64_t first_whole = BlockOf(offset + kLogicalBytes - 1);
  const uint64_t size = SizeLocked();
  // Where everything up to the end goes, all that a larger size may have left behind it goes, too:
  // then no table need be read to cut it in two.
  const uint64_t last_whole = end == size ? UINT64_MAX >> kLogicalRadix : BlockOf(end);

  const auto zero_part = [&](uint64_t block, uint32_t begin, uint32_t finish) {
    if (begin >= finish) return;
    const bool is_new = !gen.blocks.contains(block);
    if (is_new && gen.holes.Contains(block)) return;  // it is zero already
    DirtyBlock& dirty = gen.At(block);
    const uint64_t was = is_new ? 0 : dirty.memory_bytes();
    dirty.WriteZeros(begin, finish);
    gen.memory_bytes += dirty.memory_bytes() - was;
    if (is_new) {
      const uint64_t per_block = BlockReservation(bound_size);
      gen.reserved_bytes += per_block;
      cost.reserved_bytes += per_block;
    }
  };
  if (first_whole < last_whole) {
    zero_part(BlockOf(offset), WithinBlock(offset),
              WithinBlock(offset) == 0 ? 0 : static_cast<uint32_t>(kLogicalBytes));
    const bool is_hole_already = gen.holes.Covers(first_whole, last_whole);
    gen.Punch(first_whole, last_whole);
    if (!is_hole_already) {
      gen.memory_bytes += kHoleMemory;
      const uint64_t paths = 2 * BlockReservation(bound_size);
      gen.reserved_bytes += paths;
      cost.reserved_bytes += paths;
    }
    if (BlockOf(end) >= last_whole) zero_part(BlockOf(end), 0, WithinBlock(end));
  } else {
    for (uint64_t at = offset; at < end;) {
      const uint64_t stop = std::min(end, (BlockOf(at) + 1) << kLogicalRadix);
      zero_part(BlockOf(at), WithinBlock(at), WithinBlock(at) + static_cast<uint32_t>(stop - at));
      at = stop;
    }
  }
  gen.mtime = now;
  cost.memory_bytes = static_cast<int64_t>(gen.memory_bytes) - static_cast<int64_t>(before);
  return cost;
}

Disk::Cost Disk::ApplySize(Generation generation, uint64_t size, uint64_t bound_size,
                           absl::Time now) {
  Cost cost;
  const uint64_t old_size = SizeLocked();
  if (size < old_size) {
    cost = ApplyZeroes(generation, size, old_size - size, bound_size, now);
  } else {
    cost = Touch(generation);
  }
  open_->size = size;
  open_->mtime = now;
  return cost;
}

Disk::Cost Disk::TouchBound() {
  return {static_cast<int64_t>(kGenerationMemory), kDiskReservation};
}

Disk::Cost Disk::Touch(Generation generation) {
  const bool opens = open_ == nullptr || open_->id < generation;
  Open(generation);
  return opens ? TouchBound() : Cost{};
}

bool Disk::DefinedLocked(uint64_t block, uint32_t begin, uint32_t end) const {
  std::vector<std::pair<uint64_t, uint64_t>> missing = {{begin, end}};
  for (const DirtyGeneration* gen : {std::as_const(open_).get(), std::as_const(frozen_).get()}) {
    if (gen == nullptr) continue;
    const auto it = gen->blocks.find(block);
    if (it == gen->blocks.end()) {
      if (gen->holes.Contains(block)) return true;
      continue;
    }
    std::vector<std::pair<uint64_t, uint64_t>> still;
    for (const auto& [first, last] : missing) {
      const auto gaps =
          it->second.Missing(static_cast<uint32_t>(first), static_cast<uint32_t>(last));
      still.insert(still.end(), gaps.begin(), gaps.end());
    }
    if (still.empty()) return true;
    missing = std::move(still);
  }
  return false;
}

void Disk::OverlayLocked(uint64_t block, uint32_t begin, ByteSpan into) const {
  for (const DirtyGeneration* gen : {std::as_const(frozen_).get(), std::as_const(open_).get()}) {
    if (gen == nullptr) continue;
    const auto it = gen->blocks.find(block);
    if (it != gen->blocks.end()) {
      it->second.CopyOver(begin, into);
    } else if (gen->holes.Contains(block)) {
      std::memset(into.data(), 0, into.size());
    }
  }
}

absl::Status Disk::Read(uint64_t offset, ByteSpan into) {
  {
    absl::ReaderMutexLock lock(&mu_);
    H2_RETURN_IF_ERROR(CheckRange(offset, into.size()));
  }
  ReadAhead(offset, into.size());
  while (!into.empty()) {
    const uint32_t begin = WithinBlock(offset);
    const size_t n = std::min<size_t>(into.size(), kLogicalBytes - begin);
    H2_RETURN_IF_ERROR(ReadPart(BlockOf(offset), begin, into.first(n)));
    into = into.subspan(n);
    offset += n;
  }
  return absl::OkStatus();
}

absl::Status Disk::ReadPart(uint64_t block, uint32_t begin, ByteSpan into) {
  const auto end = static_cast<uint32_t>(begin + into.size());
  for (;;) {
    uint64_t epoch = 0;
    {
      absl::ReaderMutexLock lock(&mu_);
      epoch = base_epoch_;
      if (DefinedLocked(block, begin, end)) {
        std::memset(into.data(), 0, into.size());
        OverlayLocked(block, begin, into);
        return absl::OkStatus();
      }
    }
    bool from_media = false;
    absl::StatusOr<SharedBytes> base = LoadBase(block, &from_media);
    if (deleted()) return absl::NotFoundError("the disk has been deleted");
    if (!base.ok()) {
      {
        // The block that it looked for may have been given away since.
        absl::ReaderMutexLock lock(&mu_);
        if (base_epoch_ != epoch) continue;
      }
      return Annotate(
          base.status(),
          absl::StrFormat("reading [%d, +%d)", (block << kLogicalRadix) + begin, into.size()));
    }
    absl::ReaderMutexLock lock(&mu_);
    if (base_epoch_ != epoch) continue;  // a flush has replaced what we read
    std::memcpy(into.data(), (*base)->data() + begin, into.size());
    OverlayLocked(block, begin, into);
    // While a frozen generation has this block, the flusher is replacing it in the cache itself.
    const bool being_flushed =
        frozen_ != nullptr && (frozen_->blocks.contains(block) || frozen_->holes.Contains(block));
    if (from_media && !being_flushed) context_.cache.Put(id_, block, *std::move(base));
    return absl::OkStatus();
  }
}

absl::StatusOr<SharedBytes> Disk::LoadBase(uint64_t block, bool* from_media) {
  SharedBytes cached = context_.cache.Find(id_, block);
  *from_media = cached == nullptr;
  if (cached != nullptr) return cached;
  H2_ASSIGN_OR_RETURN(AlignedBuffer bytes, LoadMedia(block));
  return std::make_shared<const AlignedBuffer>(std::move(bytes));
}

absl::StatusOr<AlignedBuffer> Disk::LoadMedia(uint64_t block) {
  if (const auto direct = inode_->direct_data(); direct.has_value()) {
    AlignedBuffer bytes = AlignedBuffer::Zeroed(kLogicalBytes);
    if (block == 0) std::memcpy(bytes.data(), direct->data(), direct->size());
    return bytes;
  }
  const ReaderEpochs::Scope scope(context_.store.readers());
  H2_ASSIGN_OR_RETURN(const std::optional<Blockref> bref,
                      inode_->tree().Find(Key(block << kLogicalRadix)));
  if (!bref.has_value()) return AlignedBuffer::Zeroed(kLogicalBytes);
  H2_ASSIGN_OR_RETURN(AlignedBuffer stored, context_.store.Load(*bref));
  if (bref->comp_method() == CompMethod::kNone && stored.size() == kLogicalBytes) return stored;
  AlignedBuffer bytes(kLogicalBytes);
  H2_RETURN_IF_ERROR(DecodeBlock(bref->comp_method(), stored.span(), bytes.span()));
  return bytes;
}

void Disk::ReadAhead(uint64_t offset, uint64_t length) {
  const uint64_t end = offset + length;
  const bool sequential = sequential_end_.exchange(end) == offset;
  if (!sequential || context_.read_ahead == nullptr) return;
  const uint64_t next = BlockOf(end + kLogicalBytes - 1);
  const uint64_t wanted = next + kReadAheadBlocks;
  const uint64_t done = read_ahead_end_.load();
  // What an earlier sequence far away has read ahead does not count here.
  const uint64_t first = done > wanted ? next : std::max(next, done);
  // In halves, so that not every small read schedules one block.
  if (first + kReadAheadBlocks / 2 > wanted) return;
  read_ahead_end_ = wanted;
  for (uint64_t block = first; block < wanted; ++block) {
    if (block << kLogicalRadix >= size_bytes()) break;
    context_.read_ahead->Schedule([self = shared_from_this(), block] {
      // A block that cannot be read is reported when somebody asks for it.
      std::byte unused[1];
      self->ReadPart(block, 0, ByteSpan(unused)).IgnoreError();
    });
  }
}

std::shared_ptr<const DirtyGeneration> Disk::Freeze(Generation frozen) {
  absl::MutexLock lock(&mu_);
  if (open_ != nullptr && open_->id <= frozen) MoveOpenToFrozen();
  return frozen_;
}

absl::StatusOr<SharedBytes> Disk::FrozenBlock(const DirtyGeneration& frozen, uint64_t block) {
  const DirtyBlock& dirty = frozen.blocks.at(block);
  if (SharedBytes whole = dirty.whole(); whole != nullptr) return whole;
  AlignedBuffer image;
  if (dirty.Defines(0, kLogicalBytes)) {
    image = AlignedBuffer::Zeroed(kLogicalBytes);
  } else if (const SharedBytes clean = context_.cache.Find(id_, block); clean != nullptr) {
    image = AlignedBuffer::CopyOf(clean->span());
  } else {
    H2_ASSIGN_OR_RETURN(image, LoadMedia(block));
  }
  dirty.CopyOver(0, image.span());
  return std::make_shared<const AlignedBuffer>(std::move(image));
}

Disk::Cost Disk::Installed() {
  absl::MutexLock lock(&mu_);
  H2_ASSERT(frozen_ != nullptr);
  ++base_epoch_;
  const Cost cost{static_cast<int64_t>(frozen_->memory_bytes), frozen_->reserved_bytes};
  frozen_.reset();
  return cost;
}

}  // namespace h2bd
