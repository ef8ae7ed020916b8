#include "core/freemap/freemap.h"

#include <algorithm>
#include <atomic>
#include <set>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "core/freemap/copy_ledger.h"
#include "core/freemap/cycle_blocks.h"
#include "core/freemap/freemap_load.h"
#include "core/freemap/freemap_tree.h"
#include "core/freemap/held_chunks.h"
#include "core/freemap/space_budget.h"
#include "core/freemap/space_map.h"
#include "core/media/decode.h"
#include "core/media/placement.h"

namespace h2bd {
namespace {

std::vector<Tid> TidsOf(const std::vector<RingEntry>& ring) {
  std::vector<Tid> tids;
  for (const RingEntry& entry : ring) tids.push_back(entry.mirror_tid);
  return tids;
}

Key ZoneBase(size_t zone) { return Key(static_cast<uint64_t>(zone) << kFreemapLeafRadix); }
size_t ZoneAt(Key base) { return static_cast<size_t>(base.v >> kFreemapLeafRadix); }
uint64_t ChunkBytes(int64_t chunks) { return static_cast<uint64_t>(chunks) * kChunkBytes; }

// A leaf of which nothing is known.
const FreemapLeafData kAllInUse = [] {
  FreemapLeafData leaf{};
  for (BmapData& segment : leaf) {
    for (int c = 0; c < kChunksPerSegment; ++c) segment.set_chunk(c, ChunkState::kAllocated);
  }
  return leaf;
}();
// Free 64 KiB groups that commits need to overwrite all headers of the ring: 64 MiB.
constexpr int64_t kGroupsToGoOn = 1024;

constexpr std::array kAllocated = {BrefType::kInode, BrefType::kIndirect, BrefType::kData,
                                   BrefType::kDirent};
size_t IndexOf(BrefType type) {
  return static_cast<size_t>(type) - static_cast<size_t>(BrefType::kInode);
}

}  // namespace

struct Freemap::Impl {
  Impl(const VolumeData& header, Dio& device_buffers, Logger& log)
      : allocator_beg(header.allocator_beg),
        allocator_size(header.allocator_size),
        total_size(header.address_space()),
        dio(device_buffers),
        logger(log),
        budget(header.allocator_size),
        map(header.allocator_beg, header.address_space()) {}

  const uint64_t allocator_beg;
  std::atomic<uint64_t> allocator_size;
  std::atomic<uint64_t> total_size;
  Dio& dio;
  Logger& logger;
  SpaceBudget budget;
  // Changed by Open and Grow only.
  std::atomic<uint64_t> usable_bytes{0}, unreadable_bytes{0};
  uint64_t allocator_free_at_open = 0;
  uint64_t not_free_at_open = 0;  // in zones whose leaf can be read
  std::vector<Tid> headers_in_part;

  mutable absl::Mutex mu;
  SpaceMap map ABSL_GUARDED_BY(mu);
  FreemapTree tree ABSL_GUARDED_BY(mu);
  CopyLedger ledger ABSL_GUARDED_BY(mu);
  CycleBlocks cycle ABSL_GUARDED_BY(mu);
  HeldChunks held ABSL_GUARDED_BY(mu);
  std::set<size_t> written_zones ABSL_GUARDED_BY(mu);  // since the open

  std::array<Counter, kAllocated.size()> allocations, dropped;
  Counter undone, refused, forced, corrected;
  struct Written {
    Counter visited, finalized;
  } leaf_blocks, node_blocks;

  Written& CountOf(BrefType type) {
    return type == BrefType::kFreemapLeaf ? leaf_blocks : node_blocks;
  }

  void PublishCounts() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) { budget.SetCounts(map.counts()); }

  // --- open
  absl::Status LoadNewest(const VolumeData& header) ABSL_LOCKS_EXCLUDED(mu);
  void LoadLeaf(const Blockref& bref) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  void LoadOlder(const RingEntry& entry) ABSL_LOCKS_EXCLUDED(mu);
  void HoldLeaf(const RingEntry& entry, const Blockref& leaf) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);

  // --- flush
  absl::StatusOr<FreemapTree::Plan> PlanFlush(const FlushTids& tids, const std::vector<Tid>& ring)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  uint64_t AllocatorFree() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
};

// --- open
// --------------------------------------------------------------------------------------------

void Freemap::Impl::LoadLeaf(const Blockref& bref) {
  const size_t zone = ZoneAt(bref.key);
  absl::StatusOr<std::unique_ptr<FreemapLeafData>> leaf = LoadFreemapLeaf(bref, dio);
  if (leaf.ok()) {
    corrected.Add(static_cast<uint64_t>(map.Load(zone, *std::move(leaf))));
    return;
  }
  map.SetUnreadable(zone);
  logger.Error("a freemap leaf cannot be read: nothing will be allocated in its GiB",
               {{"zone", absl::StrFormat("%#x", bref.key.v)},
                {"error", std::string(leaf.status().message())}});
}

absl::Status Freemap::Impl::LoadNewest(const VolumeData& header) {
  absl::MutexLock lock(&mu);
  H2_ASSIGN_OR_RETURN(FreemapNode root, LoadFreemapTables(header.freemap_blockset, total_size,
                                                          BadNode::kFail, dio, logger));
  std::vector<Blockref> leaves;
  VisitFreemap(root, [&](const FreemapEntry& entry) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    const Blockref& bref = entry.bref;
    ledger.Record({bref.key, bref.keybits}, header.mirror_tid,
                  FreemapCopyOf(bref.data_off, bref.key, bref.keybits));
    if (entry.node == nullptr) leaves.push_back(bref);
  });
  for (const Blockref& leaf : leaves) LoadLeaf(leaf);
  tree = FreemapTree(std::move(root));
  usable_bytes = map.usable_bytes();
  unreadable_bytes = map.unreadable_bytes();
  allocator_free_at_open = header.allocator_free;
  not_free_at_open = ChunkBytes(map.counts().staged + map.counts().used);  // nothing is held yet
  return absl::OkStatus();
}

// What an older header names must not be overwritten while it may still be mounted.
void Freemap::Impl::HoldLeaf(const RingEntry& entry, const Blockref& leaf) {
  const size_t zone = ZoneAt(leaf.key);
  const absl::StatusOr<std::unique_ptr<FreemapLeafData>> then = LoadFreemapLeaf(leaf, dio);
  if (then.ok()) {
    held.Hold(entry.mirror_tid, zone, map.Stage(zone, **then, held.In(zone)));
    return;
  }
  // What it has in use is not known, so all may be.
  logger.Warning(
      "an older header's freemap leaf cannot be read: its GiB is not allocated from until that "
      "header has been overwritten",
      {{"mirror_tid", absl::StrCat(entry.mirror_tid.v)},
       {"error", std::string(then.status().message())}});
  const ChunkSet before = held.In(zone);
  ChunkSet staged = map.Stage(zone, kAllInUse, before);
  if (map.counts().groups >= kGroupsToGoOn) {
    held.Hold(entry.mirror_tid, zone, staged);
    return;
  }
  // Without space no commit could ever overwrite that header.
  for (size_t s = 0; s < staged.size(); ++s) staged[s] &= ~before[s];
  map.Unstage(zone, staged);
}

void Freemap::Impl::LoadOlder(const RingEntry& entry) {
  absl::MutexLock lock(&mu);
  const absl::StatusOr<FreemapNode> root =
      LoadFreemapTables(entry.freemap_blockset, total_size, BadNode::kLeaveOut, dio, logger);
  if (!root.ok()) {
    logger.Warning("an older header's freemap cannot be read",
                   {{"mirror_tid", absl::StrCat(entry.mirror_tid.v)},
                    {"error", std::string(root.status().message())}});
    headers_in_part.push_back(entry.mirror_tid);
    return;
  }
  absl::flat_hash_set<uint64_t> newest;
  VisitFreemap(tree.root(), [&](const FreemapEntry& e) { newest.insert(e.bref.data_off.raw); });
  bool in_part = false;
  VisitFreemap(*root, [&](const FreemapEntry& e) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    const Blockref& bref = e.bref;
    const int copy = FreemapCopyOf(bref.data_off, bref.key, bref.keybits);
    if (copy >= 0) ledger.Record({bref.key, bref.keybits}, entry.mirror_tid, copy);
    if (e.node == nullptr && bref.type == BrefType::kFreemapLeaf &&
        !newest.contains(bref.data_off.raw)) {
      HoldLeaf(entry, bref);
    }
    in_part |= e.node == nullptr && bref.type == BrefType::kFreemapNode;
  });
  if (in_part) headers_in_part.push_back(entry.mirror_tid);
}

absl::StatusOr<std::unique_ptr<Freemap>> Freemap::Open(const VolumeData& header,
                                                       const std::vector<RingEntry>& ring, Dio& dio,
                                                       Logger& logger) {
  auto impl = std::make_unique<Impl>(header, dio, logger);
  H2_RETURN_IF_ERROR(impl->LoadNewest(header));
  for (const RingEntry& entry : ring) {
    const bool is_newest =
        entry.mirror_tid == header.mirror_tid && entry.freemap_blockset == header.freemap_blockset;
    if (!is_newest) impl->LoadOlder(entry);
  }
  {
    absl::MutexLock lock(&impl->mu);
    impl->PublishCounts();
  }
  if (impl->corrected.value() != 0) {
    logger.Info("freemap segments with a wrong free count were corrected in memory",
                {{"segments", absl::StrCat(impl->corrected.value())}});
  }
  return std::unique_ptr<Freemap>(new Freemap(std::move(impl)));
}

Freemap::Freemap(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Freemap::~Freemap() = default;

// --- blocks
// ------------------------------------------------------------------------------------------

absl::StatusOr<Allocation> Freemap::Allocate(BrefType type, unsigned radix, Key key) {
  absl::MutexLock lock(&impl_->mu);
  const std::optional<SpaceMap::Found> found = impl_->map.Allocate(type, radix, key);
  if (!found.has_value()) {
    impl_->refused.Add();
    return absl::ResourceExhaustedError(absl::StrFormat(
        "no free run of %d bytes for a block of type %s; %s are free in smaller or other pieces",
        uint64_t{1} << radix, Name(type), FormatBytes(ChunkBytes(impl_->map.counts().free))));
  }
  // BeginCycle puts each open iterator on a unit of its own, and no iterator that was open on the
  // media is used: units are never shared with an earlier cycle.
  const Allocation allocation{DataOff::Make(found->address, radix), /*fresh_units=*/true};
  impl_->cycle.Given(allocation.data_off, found->opened_chunk);
  impl_->allocations[IndexOf(type)].Add();
  impl_->PublishCounts();
  return allocation;
}

void Freemap::Undo(DataOff data_off, BrefType type) {
  absl::MutexLock lock(&impl_->mu);
  switch (impl_->cycle.Return(data_off)) {
    case CycleBlocks::Returned::kUnknown:
      impl_->logger.Warning(
          "a block that is not of this cycle was to be undone; it stays allocated",
          {{"data_off", absl::StrFormat("%#x", data_off.raw)}, {"type", std::string(Name(type))}});
      return;
    case CycleBlocks::Returned::kBlock:
      impl_->map.FreeChunks(ByteOff(RoundDown(data_off.offset().v, kChunkBytes)),
                            RoundUp(data_off.bytes(), kChunkBytes));
      break;
    case CycleBlocks::Returned::kPart:
      impl_->map.Rewind(data_off.offset(), data_off.bytes());
      break;
  }
  impl_->undone.Add();
  impl_->PublishCounts();
}

void Freemap::Dropped(std::span<const DroppedBlock> blocks, std::span<const DroppedTree> trees) {
  const auto count = [&](BrefType type, DataOff data_off) {
    H2_ASSERT(type >= BrefType::kInode && type <= BrefType::kDirent);
    impl_->dropped[IndexOf(type)].Add(data_off.bytes());
  };
  for (const DroppedBlock& block : blocks) count(block.type, block.data_off);
  for (const DroppedTree& tree : trees) count(tree.root.type, tree.root.data_off);
}

bool Freemap::TryReserve(uint64_t bytes, bool use_reserve) {
  return impl_->budget.TryReserve(bytes, use_reserve);
}

void Freemap::Unreserve(uint64_t bytes) { impl_->budget.Unreserve(bytes); }

absl::StatusOr<bool> Freemap::MarkAllocated(const Blockref& bref) {
  const DataOff at = bref.data_off;
  if (at.radix() == 0 || at.offset().v < impl_->allocator_beg) return false;
  absl::Status place = CheckPlacement(at, impl_->total_size);
  if (!place.ok()) return Annotate(place, h2bd::Describe(bref));
  absl::MutexLock lock(&impl_->mu);
  const bool changed = impl_->map.ForceAllocated(at, bref.type);
  if (changed) impl_->forced.Add();
  impl_->PublishCounts();
  return changed;
}

void Freemap::HoldFor(Tid header, const Blockref& bref) {
  const DataOff at = bref.data_off;
  if (at.radix() == 0 || at.offset().v < impl_->allocator_beg ||
      !CheckPlacement(at, impl_->total_size).ok()) {
    return;
  }
  const auto zone = static_cast<size_t>(at.offset().v >> kFreemapLeafRadix);
  const auto segment = static_cast<size_t>((at.offset().v % kFreemapLeafSpan) / kSegBytes);
  absl::MutexLock lock(&impl_->mu);
  const SegmentChunks reached = impl_->map.StageBlock(at, impl_->held.In(zone, segment));
  impl_->held.Hold(header, zone, segment, reached);
  impl_->PublishCounts();
}

void Freemap::Grow(uint64_t total_size, uint64_t allocator_size) {
  absl::MutexLock lock(&impl_->mu);
  impl_->map.Grow(total_size);
  impl_->total_size = total_size;
  impl_->allocator_free_at_open += allocator_size - impl_->allocator_size;
  impl_->allocator_size = allocator_size;
  impl_->usable_bytes = impl_->map.usable_bytes();
  impl_->unreadable_bytes = impl_->map.unreadable_bytes();
  impl_->budget.SetAllocatorSize(allocator_size);
  impl_->PublishCounts();
}

uint64_t Freemap::total_size() const { return impl_->total_size; }

const std::vector<Tid>& Freemap::headers_in_part() const { return impl_->headers_in_part; }

void Freemap::BeginCycle() {
  absl::MutexLock lock(&impl_->mu);
  impl_->map.RoundLinears();
}

// --- flush
// -------------------------------------------------------------------------------------------

absl::StatusOr<FreemapTree::Plan> Freemap::Impl::PlanFlush(const FlushTids& tids,
                                                           const std::vector<Tid>& ring) {
  for (const auto& [zone, chunks] : held.Leave(ring)) map.Unstage(zone, chunks);
  PublishCounts();
  ledger.Trim(ring);
  std::vector<Key> dirty;
  for (const size_t zone : map.dirty()) {
    dirty.push_back(ZoneBase(zone));
    if (tree.HasLeaf(dirty.back())) continue;
    tree.AddLeaf(dirty.back(), static_cast<uint64_t>(map.usable_segments(zone)) * kSegBytes);
  }
  const auto image = [&](Key base) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return AlignedBuffer::CopyOf(std::as_bytes(std::span(*map.leaf(ZoneAt(base)))));
  };
  H2_ASSIGN_OR_RETURN(FreemapTree::Plan plan, tree.PlanFlush(dirty, image, tids, ledger, ring));
  map.TakeDirty();
  return plan;
}

uint64_t Freemap::Impl::AllocatorFree() const {
  // What is staged for older headers is free on the media until its leaf is written.
  int64_t for_older = 0;
  for (const size_t zone : held.zones()) {
    if (!written_zones.contains(zone)) for_older += map.CountStaged(zone, held.In(zone));
  }
  const uint64_t not_free = ChunkBytes(map.counts().staged + map.counts().used - for_older);
  // What is free where a leaf cannot be read is not known, but it does not change: the figure of
  // the header goes on.
  if (unreadable_bytes != 0) {
    const uint64_t then =
        std::min(allocator_size.load(), allocator_free_at_open + not_free_at_open);
    return then - std::min(then, not_free);
  }
  return allocator_size - std::min(allocator_size.load(), not_free);
}

absl::StatusOr<Freemap::Flushed> Freemap::Flush(const FlushTids& tids,
                                                const std::vector<RingEntry>& ring) {
  FreemapTree::Plan plan;
  {
    absl::MutexLock lock(&impl_->mu);
    H2_ASSIGN_OR_RETURN(plan, impl_->PlanFlush(tids, TidsOf(ring)));
  }
  absl::Status written;
  for (const PlannedBlock& block : plan.blocks) {
    impl_->CountOf(block.bref.type).visited.Add();
    // Nothing shares the 64 KiB slot of a freemap block.
    written = impl_->dio.WriteBlock(block.bref.data_off, block.image, /*fresh_units=*/true);
    if (!written.ok()) break;
  }
  absl::MutexLock lock(&impl_->mu);
  if (!written.ok()) {
    impl_->tree.Rollback(plan);
    for (const PlannedBlock& block : plan.blocks) {
      if (block.bref.type == BrefType::kFreemapLeaf) impl_->map.MarkDirty(ZoneAt(block.bref.key));
    }
    return Annotate(written, "freemap flush");
  }
  for (const PlannedBlock& block : plan.blocks) {
    const Blockref& bref = block.bref;
    impl_->ledger.Record({bref.key, bref.keybits}, tids.mirror_tid,
                         FreemapCopyOf(bref.data_off, bref.key, bref.keybits));
    impl_->CountOf(bref.type).finalized.Add();
    if (bref.type == BrefType::kFreemapLeaf) impl_->written_zones.insert(ZoneAt(bref.key));
  }
  return Flushed{impl_->tree.Blockset(), impl_->AllocatorFree(), plan.blocks.size()};
}

void Freemap::Published(Tid, bool) {
  absl::MutexLock lock(&impl_->mu);
  impl_->cycle.Clear();
}

// --- figures
// -----------------------------------------------------------------------------------------

SpaceUsage Freemap::usage() const {
  const SpaceCounts counts = impl_->budget.counts();
  SpaceUsage usage;
  usage.total_bytes = impl_->usable_bytes;
  usage.allocated_bytes = ChunkBytes(counts.used);
  usage.staged_bytes = ChunkBytes(counts.staged);
  usage.free_bytes = ChunkBytes(counts.free);
  usage.reserved_bytes = impl_->budget.reserved();
  usage.unreadable_bytes = impl_->unreadable_bytes;
  return usage;
}

int Freemap::rotations_left(const std::vector<RingEntry>& ring) const {
  const std::vector<Tid> tids = TidsOf(ring);
  absl::MutexLock lock(&impl_->mu);
  return impl_->ledger.FewestFree(tids);
}

void Freemap::Describe(MetricVisitor& visitor) const {
  const SpaceUsage space = usage();
  const auto gauge = [&](const char* state, uint64_t bytes) {
    visitor.OnGauge("h2bd_space_bytes", "Allocatable space by state.", {{"state", state}},
                    static_cast<double>(bytes));
  };
  gauge("allocated", space.allocated_bytes);
  gauge("staged", space.staged_bytes);
  gauge("free", space.free_bytes);
  gauge("reserved", space.reserved_bytes);
  gauge("unreadable", space.unreadable_bytes);
  visitor.OnGauge("h2bd_reserved_bytes", "Space promised to changes that no cycle has stored.", {},
                  static_cast<double>(space.reserved_bytes));

  const auto count = [&](const char* name, const char* help, MetricLabels labels,
                         const Counter& counter) {
    visitor.OnCounter(name, help, labels, static_cast<double>(counter.value()));
  };
  for (const BrefType type : kAllocated) {
    const MetricLabels labels = {{"type", std::string(Name(type))}};
    count("h2bd_freemap_allocations_total", "Blocks allocated.", labels,
          impl_->allocations[IndexOf(type)]);
    count("h2bd_freemap_dropped_bytes_total", "Bytes of blocks that the live tree no longer names.",
          labels, impl_->dropped[IndexOf(type)]);
  }
  for (const BrefType type : {BrefType::kFreemapLeaf, BrefType::kFreemapNode}) {
    const MetricLabels labels = {{"type", std::string(Name(type))}};
    const Impl::Written& written = impl_->CountOf(type);
    count(kFlushVisited.name, kFlushVisited.help, labels, written.visited);
    count(kFlushFinalized.name, kFlushFinalized.help, labels, written.finalized);
    visitor.OnCounter(kFlushBytes.name, kFlushBytes.help, labels,
                      static_cast<double>(written.finalized.value() * kFreemapBlockBytes));
  }
  count("h2bd_freemap_undone_total", "Allocations taken back in their cycle.", {}, impl_->undone);
  count("h2bd_freemap_refusals_total", "Allocations refused for want of space.", {},
        impl_->refused);
  count("h2bd_freemap_forced_total", "Blocks that recovery had to mark allocated.", {},
        impl_->forced);
  count("h2bd_freemap_corrected_segments_total",
        "Segments whose free count on the media was wrong at open.", {}, impl_->corrected);
}

}  // namespace h2bd
