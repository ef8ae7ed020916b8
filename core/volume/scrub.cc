#include "core/volume/scrub.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/media/check_code.h"
#include "core/media/codec.h"
#include "core/media/placement.h"

namespace h2bd {
namespace {

bool IsFreemap(BrefType type) {
  return type == BrefType::kFreemapNode || type == BrefType::kFreemapLeaf;
}

}  // namespace

absl::string_view Name(ScrubKind kind) {
  constexpr std::array<absl::string_view, kScrubKinds> kNames = {
      "header", "super-root", "pfs-root",     "inode",        "indirect",
      "data",   "dirent",     "freemap-node", "freemap-leaf", "freemap-state"};
  return kNames[static_cast<size_t>(kind)];
}

std::string ScrubFinding::ToString() const {
  std::string text = absl::StrCat(Name(kind), older ? " (older header)" : "", " on ", device,
                                  absl::StrFormat(" at %#x", device_offset));
  if (!pfs.empty()) absl::StrAppend(&text, ", PFS ", pfs);
  if (!disk.empty()) {
    absl::StrAppend(&text, ", disk ", disk);
  } else if (inum.v != 0) {
    absl::StrAppend(&text, ", inode ", inum.v);
  }
  if (length != 0) absl::StrAppendFormat(&text, ", bytes %d to %d", offset, offset + length);
  return absl::StrCat(text, ": ", error.message());
}

// --- the log
// -----------------------------------------------------------------------------------------

void ScrubLog::Begin(absl::Time now) {
  absl::MutexLock lock(&mu_);
  report_ = ScrubReport();
  report_.began = now;
}

void ScrubLog::Count(uint64_t blocks, uint64_t bytes) {
  absl::MutexLock lock(&mu_);
  report_.blocks += blocks;
  report_.bytes += bytes;
}

void ScrubLog::Add(ScrubFinding finding) {
  errors_[static_cast<size_t>(finding.kind)].Add();
  absl::MutexLock lock(&mu_);
  ++report_.errors;
  if (report_.findings.size() < ScrubReport::kFindings) {
    report_.findings.push_back(std::move(finding));
  }
}

void ScrubLog::End(absl::Time now, bool complete) {
  absl::MutexLock lock(&mu_);
  report_.ended = now;
  report_.complete = complete;
  if (complete && report_.errors == 0) last_success_ = now;
}

ScrubReport ScrubLog::report() const {
  absl::MutexLock lock(&mu_);
  return report_;
}

void ScrubLog::Describe(MetricVisitor& visitor) const {
  for (size_t kind = 0; kind < kScrubKinds; ++kind) {
    visitor.OnCounter("h2bd_scrub_errors_total", "Damaged blocks that scrubs have found.",
                      {{"kind", std::string(Name(static_cast<ScrubKind>(kind)))}},
                      static_cast<double>(errors_[kind].value()));
  }
  absl::MutexLock lock(&mu_);
  visitor.OnGauge("h2bd_scrub_last_success_time_seconds",
                  "When the last scrub ended that found nothing, since 1970; 0: none yet.", {},
                  last_success_ == absl::InfinitePast()
                      ? 0
                      : absl::ToDoubleSeconds(last_success_ - absl::UnixEpoch()));
}

// --- headers
// -----------------------------------------------------------------------------------------

bool Scrub::Visited::Insert(ByteOff off) {
  auto& segment = segments_[off.v / kSegBytes];
  if (segment == nullptr) segment = std::make_unique<std::bitset<kGranules>>();
  const size_t granule = (off.v % kSegBytes) / kAllocMin;
  if (segment->test(granule)) return false;
  segment->set(granule);
  return true;
}

void Scrub::ReadHeaders() {
  BlockDevice& root = parts_.devices.root();
  const auto probes = ProbeHeaders(root);
  const std::optional<int> best = BestSlot(probes);
  generations_.clear();
  if (!best.has_value()) return;
  const VolumeData& newest = *probes[static_cast<size_t>(*best)].header;
  for (const HeaderProbe& probe : probes) {
    if (!probe.present || HeaderSlotOffset(probe.slot).v >= newest.volu_size) continue;
    if (probe.status.ok() && probe.header->fsid == newest.fsid) {
      generations_.push_back(
          {probe.slot, probe.slot != *best, std::make_unique<VolumeData>(*probe.header)});
      continue;
    }
    // What the open fence erases and the format leaves blank is no damage.
    const bool blank = probe.header != nullptr &&
                       IsAllZero(std::as_bytes(std::span(probe.header.get(), 1)).first(4096));
    absl::Status& told = told_[static_cast<size_t>(probe.slot)];
    if (blank || !told.ok()) continue;
    // A header may be on its way to the slot: only what is wrong twice is told.
    const auto second = ProbeHeaders(root);
    const HeaderProbe& again = second[static_cast<size_t>(probe.slot)];
    if (again.status.ok()) continue;
    told = again.status;
    parts_.log.Add({.kind = ScrubKind::kHeader,
                    .header_slot = probe.slot,
                    .older = true,
                    .device = root.name(),
                    .device_offset = HeaderSlotOffset(probe.slot).v,
                    .error = again.status});
  }
  std::stable_sort(generations_.begin(), generations_.end(), [](const auto& a, const auto& b) {
    return a.header->mirror_tid < b.header->mirror_tid;
  });
}

bool Scrub::StillOnMedia(const Generation& generation) {
  const auto probes = ProbeHeaders(parts_.devices.root());
  const HeaderProbe& probe = probes[static_cast<size_t>(generation.slot)];
  return probe.status.ok() && probe.header->mirror_tid == generation.header->mirror_tid;
}

void Scrub::Push(std::span<const Blockref> brefs, TableKind kind) {
  for (const Blockref& bref : brefs) {
    if (!bref.empty()) stack_.push_back({.bref = bref, .kind = kind});
  }
}

bool Scrub::NextGeneration() {
  if (generations_.empty() && std::exchange(again_, false)) ReadHeaders();
  if (generations_.empty()) return false;
  current_ = std::move(generations_.back());
  generations_.pop_back();
  const VolumeData& header = *current_.header;
  if (!current_.older) leaves_.clear();
  total_ = std::max(total_, done_ + (done_ == 0 ? header.sroot_blockset[0].data_count() : 0));
  // The last is looked at first: the freemap, so that blocks can be compared with it.
  Push(header.sroot_blockset, TableKind::kSuperRootSet);
  Push(header.freemap_blockset, TableKind::kFreemap);
  return true;
}

// --- blocks
// ------------------------------------------------------------------------------------------

absl::StatusOr<OperationProgress> Scrub::Step(StepBudget& budget) {
  if (!std::exchange(begun_, true)) {
    parts_.log.Begin(parts_.clock.WallNow());
    ReadHeaders();
  }
  OperationProgress progress;
  while (!budget.Spent()) {
    if (stack_.empty()) {
      if (NextGeneration()) continue;
      parts_.log.End(parts_.clock.WallNow(), /*complete=*/true);
      progress.next = OperationProgress::Next::kFinished;
      total_ = done_;
      break;
    }
    const Item item = stack_.back();
    stack_.pop_back();
    Look(item, budget);
  }
  progress.done = done_;
  progress.total = std::max(total_, done_);
  const ScrubReport report = parts_.log.report();
  progress.result = absl::StrCat(report.errors, " errors in ", report.blocks, " blocks");
  return progress;
}

void Scrub::Look(const Item& item, StepBudget& budget) {
  const Blockref& bref = item.bref;
  if (bref.data_off.radix() == 0) return;  // a short name
  if (!visited_.Insert(bref.data_off.offset())) return;
  // Media first, then what it says: an error of either is the block's.
  const auto look = [&]() -> absl::Status {
    H2_ASSIGN_OR_RETURN(const AlignedBuffer block, ReadMedia(bref));
    return LookAt(item, block.span());
  };
  absl::Status status = look();
  if (!status.ok()) status = look();
  if (bref.type == BrefType::kData) {
    budget.Data(bref.data_off.bytes());
  } else {
    budget.Table(bref.data_off.bytes());
  }
  done_ += bref.data_off.bytes();
  parts_.log.Count(1, bref.data_off.bytes());
  if (!status.ok()) {
    if (!StillOnMedia(current_)) {
      again_ = true;
      return;
    }
    Report(item, KindOf(item), status);
  }
  if (!current_.older && !IsFreemap(bref.type)) CompareWithFreemap(item);
}

// Past all caches. What a header on the media leads to is on the media, and no block shares its
// units with one of a later cycle (F-229), so a write that runs meanwhile does not disturb.
absl::StatusOr<AlignedBuffer> Scrub::ReadMedia(const Blockref& bref) {
  if (!IsFreemap(bref.type)) {
    absl::Status place = CheckPlacement(bref.data_off, parts_.store.total_size());
    if (!place.ok()) return Annotate(place, Describe(bref));
  } else if (FreemapCopyOf(bref.data_off, bref.key, bref.keybits) < 0) {
    return absl::DataLossError(absl::StrCat(Describe(bref), ": in none of its eight places"));
  }
  const uint64_t begin = RoundDown(bref.data_off.offset().v, kBufferAlignment);
  AlignedBuffer units(RoundUp(bref.data_off.end().v, kBufferAlignment) - begin);
  absl::Status read = parts_.devices.Read(ByteOff(begin), units.span());
  if (!read.ok()) return Annotate(read, Describe(bref));
  AlignedBuffer block = AlignedBuffer::CopyOf(
      units.span().subspan(bref.data_off.offset().v - begin, bref.data_off.bytes()));
  H2_RETURN_IF_ERROR(VerifyCheck(bref, block.span()));
  return block;
}

absl::Status Scrub::LookAt(const Item& item, ConstByteSpan block) {
  switch (item.bref.type) {
    case BrefType::kInode:
      return LookAtInode(item, block);
    case BrefType::kIndirect:
    case BrefType::kFreemapNode:
      return LookAtTable(item, block, item.bref.key, item.bref.keybits);
    case BrefType::kFreemapLeaf: {
      H2_ASSIGN_OR_RETURN(auto leaf, DecodeFreemapLeaf(block));
      if (!current_.older) leaves_[item.bref.key.v] = std::move(leaf);
      return absl::OkStatus();
    }
    case BrefType::kData:
      return DecodeBlock(item.bref.comp_method(), block, logical_.span());
    default:
      return absl::OkStatus();
  }
}

absl::Status Scrub::LookAtTable(const Item& item, ConstByteSpan raw, Key key, unsigned keybits) {
  H2_ASSIGN_OR_RETURN(const std::vector<Blockref> entries,
                      DecodeTable(raw, item.kind, key, keybits, parts_.store.total_size()));
  // Ascending keys come off the stack in their order.
  for (auto it = entries.rbegin(); it != entries.rend(); ++it) {
    Item below = item;
    below.bref = *it;
    stack_.push_back(std::move(below));
  }
  return absl::OkStatus();
}

absl::Status Scrub::LookAtInode(const Item& item, ConstByteSpan block) {
  const bool indexed = item.kind == TableKind::kPfsRoot || item.kind == TableKind::kDirectory;
  H2_ASSIGN_OR_RETURN(const InodeData inode, DecodeInode(block, item.bref, indexed));
  Item below = item;
  below.kind = TableKindOf(inode);
  below.inum = inode.meta.inum;
  below.size = inode.meta.size;
  if (item.kind == TableKind::kSuperRoot) {
    pfses_.emplace_back(inode.name());
    below.pfs = static_cast<int>(pfses_.size()) - 1;
  }
  if (inode.meta.directdata()) return absl::OkStatus();
  return LookAtTable(below, ConstByteSpan(inode.u), Key(0), 64);
}

void Scrub::CompareWithFreemap(const Item& item) {
  const DataOff at = item.bref.data_off;
  if (at.offset().v < current_.header->allocator_beg) return;
  const auto leaf = leaves_.find(RoundDown(at.offset().v, kFreemapLeafSpan));
  bool free = false;
  for (uint64_t chunk = RoundDown(at.offset().v, kChunkBytes); chunk < at.end().v;
       chunk += kChunkBytes) {
    if (leaf == leaves_.end()) continue;  // told where the leaf should have been read
    const BmapData& segment = (*leaf->second)[(chunk % kFreemapLeafSpan) / kSegBytes];
    free |= segment.chunk(static_cast<int>((chunk % kSegBytes) / kChunkBytes)) == ChunkState::kFree;
  }
  if (!free || !StillOnMedia(current_)) return;
  if (parts_.freemap != nullptr) parts_.freemap->MarkAllocated(item.bref).status().IgnoreError();
  Report(item, ScrubKind::kFreemapState,
         absl::DataLossError("the block is in use, but free in the freemap; it is marked now"));
}

// --- findings
// ----------------------------------------------------------------------------------------

ScrubKind Scrub::KindOf(const Item& item) const {
  switch (item.bref.type) {
    case BrefType::kInode:
      return item.kind == TableKind::kSuperRootSet ? ScrubKind::kSuperRoot
             : item.kind == TableKind::kSuperRoot  ? ScrubKind::kPfsRoot
                                                   : ScrubKind::kInode;
    case BrefType::kData:
      return ScrubKind::kData;
    case BrefType::kDirent:
      return ScrubKind::kDirent;
    case BrefType::kFreemapNode:
      return ScrubKind::kFreemapNode;
    case BrefType::kFreemapLeaf:
      return ScrubKind::kFreemapLeaf;
    default:
      return ScrubKind::kIndirect;
  }
}

void Scrub::Report(const Item& item, ScrubKind kind, const absl::Status& error) {
  const Blockref& bref = item.bref;
  ScrubFinding finding;
  finding.kind = kind;
  finding.header_slot = current_.slot;
  finding.older = current_.older;
  if (item.pfs >= 0) finding.pfs = pfses_[static_cast<size_t>(item.pfs)];
  const bool of_index = item.kind == TableKind::kPfsRoot;
  finding.inum = of_index && bref.type == BrefType::kInode ? Inum(bref.key.v) : item.inum;
  if (item.kind == TableKind::kFile) {
    finding.offset = bref.key.v;
    finding.length =
        std::min(bref.last_key().v, std::max(item.size, bref.key.v + 1) - 1) + 1 - bref.key.v;
  } else if (IsFreemap(bref.type)) {
    finding.offset = bref.key.v;
    finding.length = bref.last_key().v - bref.key.v + 1;
  }
  if (finding.inum.v >= kInodeStart && !finding.pfs.empty()) {
    finding.disk = parts_.disk_name(finding.pfs, finding.inum);
  }
  const size_t device = parts_.devices.DeviceAt(bref.data_off.offset());
  finding.device = parts_.devices.device(device).name();
  finding.device_offset = bref.data_off.offset().v - parts_.devices.start(device);
  finding.error = error;
  parts_.log.Add(std::move(finding));
}

}  // namespace h2bd
