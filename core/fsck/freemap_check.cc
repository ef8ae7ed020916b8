#include "core/fsck/freemap_check.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/media/check_code.h"
#include "core/media/decode.h"
#include "core/media/placement.h"

namespace h2bd {
namespace {

constexpr uint8_t kFreemapMethods = 0x50;
constexpr uint64_t kInChunk = kChunkBytes - 1;

std::string PlaceOf(const Blockref& bref) {
  return absl::StrFormat("%s 0x%x/%d", Name(bref.type), bref.key.v, bref.keybits);
}

std::string SegmentPlace(uint64_t base) { return absl::StrFormat("freemap segment 0x%x", base); }

}  // namespace

Key FreemapView::LastKey(const Table& table) {
  return Key(table.keybits >= 64 ? UINT64_MAX : table.key.v + ((uint64_t{1} << table.keybits) - 1));
}

FreemapView::FreemapView(const VolumeData& header)
    : total_size_(header.address_space()),
      allocator_beg_(header.allocator_beg),
      mirror_tid_(header.mirror_tid) {}

FreemapView FreemapView::Load(MediaSource& source, const VolumeData& header, FindingLog& log) {
  FreemapView view(header);
  view.Walk(source, {std::as_bytes(std::span(header.freemap_blockset)), Key(0), 64, nullptr}, log);
  return view;
}

void FreemapView::Walk(MediaSource& source, const Table& table, FindingLog& log) {
  std::optional<Blockref> previous;
  uint64_t children = 0;
  for (size_t at = 0; at < table.raw.size(); at += kBlockrefBytes) {
    const auto bref = LoadAs<Blockref>(table.raw, at);
    if (bref.empty()) {
      if (!IsAllZero(table.raw.subspan(at, kBlockrefBytes))) {
        log.Add(FindingCode::kReserved, "freemap", "an empty slot is not all zero");
      }
      continue;
    }
    if (!CheckEntry(bref, table, log)) {
      // Which range it hides is not known either.
      unknown_.Add(table.key.v, LastKey(table).v);
      continue;
    }
    if (previous.has_value() && bref.key <= previous->last_key()) {
      log.Add(bref.key < previous->key ? FindingCode::kTableOrder : FindingCode::kTableOverlap,
              PlaceOf(bref), absl::StrCat("stands behind ", PlaceOf(*previous)));
    }
    previous = bref;
    ++children;
    const Tid parent_tid = table.parent != nullptr ? table.parent->mirror_tid : mirror_tid_;
    if (bref.mirror_tid > parent_tid) {
      log.Add(FindingCode::kMirrorTid, PlaceOf(bref),
              absl::StrFormat("mirror_tid %d, the parent has %d", bref.mirror_tid.v, parent_tid.v));
    }
    Follow(source, bref, log);
  }
  if (table.parent != nullptr && table.parent->data_count() != children * kFreemapBlockBytes) {
    log.Add(FindingCode::kStatistics, PlaceOf(*table.parent),
            absl::StrFormat("data_count %d, %d children make %d", table.parent->data_count(),
                            children, children * kFreemapBlockBytes));
  }
}

// Whether the entry can be followed.
bool FreemapView::CheckEntry(const Blockref& bref, const Table& table, FindingLog& log) const {
  const bool leaf = bref.type == BrefType::kFreemapLeaf;
  if (!leaf && bref.type != BrefType::kFreemapNode) {
    log.Add(FindingCode::kFreemapTree, PlaceOf(bref), "only freemap nodes and leaves are legal");
    return false;
  }
  const int level = FreemapLevel(bref.keybits);
  if (level < 0 || leaf != (level == 0)) {
    log.Add(FindingCode::kFreemapTree, PlaceOf(bref),
            "keybits: 30 belong to a leaf, 38, 46, 54 and 62 to a node");
    return false;
  }
  const bool aligned = (bref.key.v & ((uint64_t{1} << bref.keybits) - 1)) == 0;
  if (!aligned || bref.keybits >= table.keybits || bref.key < table.key ||
      bref.last_key() > LastKey(table) || bref.key.v >= total_size_) {
    log.Add(FindingCode::kFreemapTree, PlaceOf(bref),
            absl::StrFormat("key not aligned, or outside 0x%x/%d, or past the end 0x%x",
                            table.key.v, table.keybits, total_size_));
    return false;
  }
  if (FreemapCopyOf(bref.data_off, bref.key, bref.keybits) < 0) {
    log.Add(FindingCode::kFreemapPlace, PlaceOf(bref),
            absl::StrFormat("data_off 0x%x is none of the eight places of this block",
                            bref.data_off.raw));
    return false;
  }
  if (bref.methods != kFreemapMethods) {
    log.Add(FindingCode::kFreemapTree, PlaceOf(bref),
            absl::StrFormat("methods 0x%02x, legal: 0x50", bref.methods));
    return false;
  }
  const absl::Status border =
      CheckBlockref(bref, TableKind::kFreemap, table.key, table.keybits, total_size_);
  if (!border.ok()) {
    log.Add(FindingCode::kRefused, PlaceOf(bref), std::string(border.message()));
  }
  return border.ok();
}

void FreemapView::Follow(MediaSource& source, const Blockref& bref, FindingLog& log) {
  const absl::StatusOr<MediaBlock> block =
      source.Read(bref.data_off.offset(), bref.data_off.bytes());
  const absl::Status status = block.ok() ? VerifyCheck(bref, block->bytes) : block.status();
  if (!status.ok()) {
    log.Add(block.ok() ? FindingCode::kCheckCode : FindingCode::kRead, PlaceOf(bref),
            std::string(status.message()));
    unknown_.Add(bref.key.v, bref.last_key().v);
    return;
  }
  if (bref.type == BrefType::kFreemapNode) {
    ++nodes_;
    Walk(source, {block->bytes, bref.key, bref.keybits, &bref}, log);
    return;
  }
  auto leaf = std::make_unique<FreemapLeafData>(LoadAs<FreemapLeafData>(block->bytes));
  const uint64_t before = log.total();
  CheckLeaf(bref.key.v, *leaf, log);
  const auto border = DecodeFreemapLeaf(block->bytes);
  if (!border.ok() && log.total() == before) {
    log.Add(FindingCode::kRefused, PlaceOf(bref), std::string(border.status().message()));
  }
  leaves_[bref.key.v] = std::move(leaf);
}

bool FreemapView::Reserved(uint64_t base) const {
  return base % kFreemapLeafSpan < kZoneSegBytes || base < RoundUp(allocator_beg_, kSegBytes) ||
         base >= RoundDown(total_size_, kSegBytes);
}

void FreemapView::CheckLeaf(uint64_t base, const FreemapLeafData& leaf, FindingLog& log) const {
  for (size_t i = 0; i < leaf.size(); ++i) CheckSegment(base + i * kSegBytes, leaf[i], log);
}

void FreemapView::CheckSegment(uint64_t base, const BmapData& s, FindingLog& log) const {
  const auto all = [&](uint64_t word) {
    return std::all_of(s.bitmapq.begin(), s.bitmapq.end(), [&](uint64_t w) { return w == word; });
  };
  if (Reserved(base) && (!all(~uint64_t{0}) || s.avail != 0)) {
    log.Add(FindingCode::kFreemapReserved, SegmentPlace(base),
            "reserved, but not marked as fully allocated");
  }
  int bad_cells = 0;
  for (int c = 0; c < kChunksPerSegment; ++c) bad_cells += s.chunk(c) == ChunkState::kReserved;
  if (bad_cells > 0) {
    log.Add(FindingCode::kFreemapCell, SegmentPlace(base),
            absl::StrFormat("%d cells in state 01, which nobody writes", bad_cells));
  }
  const uint64_t free_bytes = static_cast<uint64_t>(s.CountFree()) * kChunkBytes;
  if (s.avail != free_bytes) {
    log.Add(FindingCode::kFreemapAvail, SegmentPlace(base),
            absl::StrFormat("avail 0x%x, the cells say 0x%x", s.avail, free_bytes));
  }
  if (s.linear < 0 || s.linear > kLinearOff || s.linear % static_cast<int>(kAllocMin) != 0) {
    log.Add(FindingCode::kFreemapLinear, SegmentPlace(base),
            absl::StrFormat("linear 0x%x, legal: 0..0x400000, 1 KiB aligned",
                            static_cast<uint32_t>(s.linear)));
  }
  const bool reserved_zero =
      s.reserved06 == 0 && s.reserved07 == 0 &&
      std::all_of(s.reserved08.begin(), s.reserved08.end(), [](uint32_t v) { return v == 0; }) &&
      std::all_of(s.reserved20.begin(), s.reserved20.end(), [](uint32_t v) { return v == 0; });
  if (!reserved_zero) {
    log.Add(FindingCode::kReserved, SegmentPlace(base), "reserved bytes are not zero");
  }
}

FreemapView::State FreemapView::StateOf(uint64_t off) const {
  const auto it = leaves_.find(RoundDown(off, kFreemapLeafSpan));
  if (it == leaves_.end()) return unknown_.Contains(off) ? State::kUnknown : State::kNoLeaf;
  const BmapData& segment = (*it->second)[(off % kFreemapLeafSpan) / kSegBytes];
  switch (segment.chunk(static_cast<int>((off % kSegBytes) / kChunkBytes))) {
    case ChunkState::kFree:
      return State::kFree;
    case ChunkState::kReserved:
      return State::kReserved;
    case ChunkState::kStaged:
      return State::kStaged;
    case ChunkState::kAllocated:
      break;
  }
  return State::kAllocated;
}

bool FreemapView::LinearBroken(const BmapData& segment, uint64_t base, const BlockLedger& used) {
  const auto linear = static_cast<uint32_t>(segment.linear);
  if ((linear & kInChunk) == 0 || linear >= kSegBytes || linear % kAllocMin != 0) return false;
  return used.AnyUsed(base + linear, base + RoundUp(linear, kChunkBytes));
}

void FreemapView::CheckLinear(const BlockLedger& used, FindingLog& log) const {
  for (const auto& [base, leaf] : leaves_) {
    for (size_t i = 0; i < leaf->size(); ++i) {
      const uint64_t segment = base + i * kSegBytes;
      if (!LinearBroken((*leaf)[i], segment, used)) continue;
      log.Add(FindingCode::kFreemapLinear, SegmentPlace(segment),
              absl::StrFormat("linear 0x%x promises that the rest of its chunk is unused, but "
                              "blocks lie there",
                              static_cast<uint32_t>((*leaf)[i].linear)));
    }
  }
}

void FreemapView::CheckFreeCount(const VolumeData& header, FindingLog& log) const {
  if (!unknown_.empty()) return;
  uint64_t used = 0;
  for (const auto& [base, leaf] : leaves_) {
    for (size_t i = 0; i < leaf->size(); ++i) {
      if (Reserved(base + i * kSegBytes)) continue;
      used += static_cast<uint64_t>(kChunksPerSegment - (*leaf)[i].CountFree()) * kChunkBytes;
    }
  }
  if (header.allocator_free != header.allocator_size - used) {
    log.Add(FindingCode::kAllocatorFree, "volume header",
            absl::StrFormat("allocator_free 0x%x, allocator_size less the chunks in use is 0x%x",
                            header.allocator_free, header.allocator_size - used));
  }
}

FreemapView::Space FreemapView::CountSpace(const UsedChunks& used) const {
  Space space;
  for (const auto& [base, leaf] : leaves_) {
    for (size_t i = 0; i < leaf->size(); ++i) {
      const uint64_t segment = base + i * kSegBytes;
      if (Reserved(segment)) continue;
      const std::bitset<kChunksPerSegment> in_use = used.Segment(segment);
      for (int c = 0; c < kChunksPerSegment; ++c) {
        const ChunkState state = (*leaf)[i].chunk(c);
        if (state == ChunkState::kStaged) space.staged_bytes += kChunkBytes;
        if (state == ChunkState::kAllocated && !in_use[static_cast<size_t>(c)]) {
          space.leaked_bytes += kChunkBytes;
        }
      }
    }
  }
  return space;
}

}  // namespace h2bd
