#include "core/fsck/freemap_repair.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "core/freemap/copy_ledger.h"
#include "core/freemap/freemap_load.h"
#include "core/media/placement.h"

namespace h2bd {
namespace {

uint64_t ZoneBase(size_t zone) { return static_cast<uint64_t>(zone) << kFreemapLeafRadix; }

// Which copies the headers of the ring name, as far as their tables can be read.
CopyLedger CopiesOf(const std::vector<RingEntry>& ring, uint64_t total_size, Dio& dio) {
  CopyLedger ledger;
  std::vector<const RingEntry*> ascending;
  for (const RingEntry& entry : ring) ascending.push_back(&entry);
  std::stable_sort(ascending.begin(), ascending.end(),
                   [](const auto* a, const auto* b) { return a->mirror_tid < b->mirror_tid; });
  for (const RingEntry* entry : ascending) {
    const auto record = [&](const Blockref& bref) {
      const int copy = FreemapCopyOf(bref.data_off, bref.key, bref.keybits);
      if (copy >= 0) ledger.Record({bref.key, bref.keybits}, entry->mirror_tid, copy);
    };
    const absl::StatusOr<FreemapNode> root = LoadFreemapTables(
        entry->freemap_blockset, total_size, BadNode::kLeaveOut, dio, NullLogger());
    if (root.ok()) {
      VisitFreemap(*root, [&](const FreemapEntry& e) { record(e.bref); });
    } else {
      for (const Blockref& bref : entry->freemap_blockset) record(bref);
    }
  }
  return ledger;
}

}  // namespace

FreemapRepair::FreemapRepair(const VolumeData& header, const FreemapView& found, bool rebuild)
    : header_(header),
      found_(found),
      rebuild_(rebuild),
      map_(header.allocator_beg, header.address_space()) {}

BmapData FreemapRepair::Wanted(uint64_t base, const BmapData* before, const SpaceInUse& in_use) {
  if (found_.Reserved(base)) return BmapData::Reserved();
  const std::bitset<kChunksPerSegment> used = in_use.chunks.Segment(base);
  const bool hidden = before == nullptr && found_.Hidden(base);
  BmapData wanted = BmapData::Free();
  for (int c = 0; c < kChunksPerSegment; ++c) {
    const ChunkState was = before != nullptr ? before->chunk(c)
                           : hidden          ? ChunkState::kAllocated
                                             : ChunkState::kFree;
    const bool in = used[static_cast<size_t>(c)];
    const bool stays = in_use.keep_marked && was != ChunkState::kFree;
    const ChunkState now = in || stays ? ChunkState::kAllocated : ChunkState::kFree;
    wanted.set_chunk(c, now);
    marked_ += now == ChunkState::kAllocated && was == ChunkState::kFree;
    freed_ += now == ChunkState::kFree && was != ChunkState::kFree;
  }
  const int free = wanted.CountFree();
  if (free == kChunksPerSegment) return BmapData::Free();
  wanted.avail = static_cast<uint32_t>(free) * static_cast<uint32_t>(kChunkBytes);
  wanted.class_ = before != nullptr ? before->class_ : FreemapClass(BrefType::kData);
  wanted.linear = kLinearOff;
  if (before == nullptr) return wanted;
  const bool linear_legal = before->linear >= 0 && before->linear <= kLinearOff &&
                            before->linear % static_cast<int32_t>(kAllocMin) == 0;
  const bool open = LinearIsOpen(before->linear);
  const bool believed = linear_legal && wanted.bitmapq == before->bitmapq &&
                        !(open && in_use.linears_off) &&
                        !FreemapView::LinearBroken(*before, base, *in_use.newest);
  if (believed) wanted.linear = before->linear;
  return wanted;
}

void FreemapRepair::Compare(const SpaceInUse& in_use, std::vector<RepairAction>& actions) {
  uint64_t new_leaves = 0;
  for (size_t zone = 0; zone < map_.zone_count(); ++zone) {
    const uint64_t base = ZoneBase(zone);
    const FreemapLeafData* const before = found_.leaf(base);
    auto leaf = std::make_unique<FreemapLeafData>();
    bool any_used = false, differs = false;
    for (size_t s = 0; s < leaf->size(); ++s) {
      const uint64_t segment = base + s * kSegBytes;
      const BmapData* const was = before != nullptr ? &(*before)[s] : nullptr;
      (*leaf)[s] = Wanted(segment, was, in_use);
      any_used |= !found_.Reserved(segment) && (*leaf)[s] != BmapData::Free();
      if (was == nullptr || *was == (*leaf)[s]) continue;
      // A segment that was used and is all free again keeps its class and iterator for nothing.
      BmapData virgin = *was;
      virgin.class_ = 0;
      virgin.linear = 0;
      const bool only_virgin = (*leaf)[s] == BmapData::Free() && virgin == BmapData::Free() &&
                               was->linear >= 0 && was->linear <= kLinearOff;
      if (only_virgin) {
        (*leaf)[s] = *was;
        continue;
      }
      differs = true;
      mended_ += was->bitmapq == (*leaf)[s].bitmapq;
    }
    if (before == nullptr && !any_used) continue;
    new_leaves += before == nullptr;
    map_.Load(zone, std::move(leaf));
    if (differs || before == nullptr || rebuild_) map_.MarkDirty(zone);
  }
  const auto add = [&](uint64_t count, absl::string_view text) {
    if (count != 0) {
      actions.push_back({RepairKind::kFreemap, "freemap", absl::StrFormat("%d %s", count, text)});
    }
  };
  if (rebuild_) actions.push_back({RepairKind::kFreemap, "freemap", "all its tables are made new"});
  add(new_leaves, "leaves are made new");
  add(marked_, "chunks of 16 KiB that are in use are marked as allocated");
  add(freed_, "chunks of 16 KiB that no header reaches become free");
  add(mended_, "segments get their right avail, linear, cells or reserved bytes");
}

std::optional<DataOff> FreemapRepair::Allocate(BrefType type, unsigned radix, Key key) {
  const std::optional<SpaceMap::Found> found = map_.Allocate(type, radix, key);
  if (!found.has_value()) return std::nullopt;
  return DataOff::Make(found->address, radix);
}

uint64_t FreemapRepair::allocator_free(uint64_t allocator_size) const {
  const SpaceCounts& counts = map_.counts();
  const uint64_t not_free = static_cast<uint64_t>(counts.used + counts.staged) * kChunkBytes;
  return allocator_size - std::min(allocator_size, not_free);
}

absl::StatusOr<std::array<Blockref, 4>> FreemapRepair::Write(const FlushTids& tids,
                                                             const std::vector<RingEntry>& ring,
                                                             DeviceSet& devices) {
  const uint64_t total_size = header_.address_space();
  Dio dio(devices, DioOptions{.writer_threads = 0}, NullLogger());
  FreemapTree tree;
  if (!rebuild_) {
    H2_ASSIGN_OR_RETURN(FreemapNode root, LoadFreemapTables(header_.freemap_blockset, total_size,
                                                            BadNode::kFail, dio, NullLogger()));
    tree = FreemapTree(std::move(root));
  }
  std::vector<Key> dirty;
  for (const size_t zone : map_.dirty()) {
    const Key base(ZoneBase(zone));
    dirty.push_back(base);
    if (tree.HasLeaf(base)) continue;
    tree.AddLeaf(base, static_cast<uint64_t>(map_.usable_segments(zone)) * kSegBytes);
  }
  std::vector<Tid> ring_tids;
  for (const RingEntry& entry : ring) ring_tids.push_back(entry.mirror_tid);
  const auto image = [&](Key base) {
    const auto zone = static_cast<size_t>(base.v >> kFreemapLeafRadix);
    return AlignedBuffer::CopyOf(std::as_bytes(std::span(*map_.leaf(zone))));
  };
  H2_ASSIGN_OR_RETURN(
      const FreemapTree::Plan plan,
      tree.PlanFlush(dirty, image, tids, CopiesOf(ring, total_size, dio), ring_tids));
  for (const PlannedBlock& block : plan.blocks) {
    H2_RETURN_IF_ERROR(devices.Write(block.bref.data_off.offset(), block.image->span()));
  }
  return tree.Blockset();
}

}  // namespace h2bd
