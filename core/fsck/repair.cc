#include "core/fsck/repair.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/fsck/finding_log.h"
#include "core/fsck/freemap_check.h"
#include "core/fsck/freemap_repair.h"
#include "core/fsck/header_check.h"
#include "core/fsck/header_repair.h"
#include "core/fsck/media_reader.h"
#include "core/fsck/table_repair.h"
#include "core/fsck/topology_check.h"
#include "core/fsck/trial_devices.h"
#include "core/media/placement.h"
#include "core/volhdr/volume_size.h"

namespace h2bd {
namespace {

using C = FindingCode;

// Findings of a walk after which nobody knows what else is in use.
constexpr C kHiding[] = {C::kRefused,      C::kBrefType,     C::kBrefSize,     C::kBrefPlace,
                         C::kBrefKeybits,  C::kBrefKey,      C::kBrefRange,    C::kTableOrder,
                         C::kTableOverlap, C::kIndirectSize, C::kCheckMethod,  C::kDepth,
                         C::kRead,         C::kCheckCode,    C::kBlockOverlap, C::kBlockTypes,
                         C::kInodeFields,  C::kInodeNumber,  C::kDirectdata,   C::kSuperRoot,
                         C::kPfsRoot,      C::kCompMethod};
// Findings in a freemap after which its tables are made anew.
constexpr C kBadFreemap[] = {C::kRefused,      C::kTableOrder, C::kTableOverlap, C::kRead,
                             C::kCheckCode,    C::kMirrorTid,  C::kStatistics,   C::kFreemapTree,
                             C::kFreemapPlace, C::kReserved};

template <size_t N>
uint64_t CountOf(const CheckReport& report, const C (&codes)[N]) {
  uint64_t count = 0;
  for (const C code : codes) count += report.count(code);
  return count;
}

// One header and what lies below it.
struct Surveyed {
  int slot = 0;
  std::unique_ptr<VolumeData> header;
  std::unique_ptr<FreemapView> freemap;
  BlockLedger ledger;
  std::vector<MediaPfs> pfses;
  CheckReport freemap_report, report;
  Tid highest_tid;

  bool hides() const { return CountOf(report, kHiding) != 0; }
};

std::unique_ptr<Surveyed> Survey(const std::vector<MediaSource::Part>& parts, int slot,
                                 const VolumeData& header) {
  auto found = std::make_unique<Surveyed>();
  found->slot = slot;
  found->header = std::make_unique<VolumeData>(header);
  MediaSource source(parts);
  FindingLog freemap_log(found->freemap_report, /*strict=*/true, /*findings_max=*/1);
  found->freemap =
      std::make_unique<FreemapView>(FreemapView::Load(source, *found->header, freemap_log));
  FindingLog log(found->report, /*strict=*/true, /*findings_max=*/1);
  CheckOptions options;
  options.read_data = false;
  TopologyCheck topology(source, options, log);
  Generation generation;
  generation.slot = slot;
  generation.header = found->header.get();
  generation.freemap = found->freemap.get();
  TopologyCheck::Result result = topology.Walk(generation);
  found->pfses = std::move(result.pfses);
  found->highest_tid = result.highest_tid;
  found->ledger = std::move(generation.ledger);
  return found;
}

class RepairImpl final : public Repair {
 public:
  RepairImpl(std::span<BlockDevice* const> devices, const RepairOptions& options)
      : devices_(devices.begin(), devices.end()), options_(options), trial_(devices) {}

  absl::Status Work();

  const std::vector<RepairAction>& actions() const override { return actions_; }
  const std::vector<std::string>& refusals() const override { return refusals_; }
  const CheckReport& before() const override { return before_; }
  const CheckReport& after() const override { return after_; }
  absl::Status Write() override { return trial_.Replay(); }

 private:
  CheckReport Check(std::span<BlockDevice* const> devices, std::optional<int> slot) const;
  absl::Status MendVolume();
  void SurveyAll(VolumeSet& set);
  absl::StatusOr<std::map<Key, NameRepairs>> FindNames(VolumeSet& set);
  absl::Status Rewrite(VolumeSet& set, HeaderRing& ring);
  void CompareCounters(const VolumeData& before, const VolumeData& after);
  void NoteSlots(const VolumeSet& set, const HeaderRing& ring);
  absl::Status FillSlots(VolumeSet& set, const VolumeData& header);
  bool Worse() const;

  const std::vector<BlockDevice*> devices_;
  const RepairOptions options_;
  TrialDevices trial_;
  std::vector<RepairAction> actions_;
  std::vector<std::string> refusals_;
  CheckReport before_, after_;
  std::vector<std::unique_ptr<Surveyed>> generations_;  // the newest first
  bool lag_ = false;
};

CheckReport RepairImpl::Check(std::span<BlockDevice* const> devices,
                              std::optional<int> slot) const {
  CheckOptions options;
  options.slot = slot;
  options.read_data = options_.read_data;
  options.progress = options_.progress;
  return CheckDevices(devices, options);
}

absl::Status RepairImpl::Work() {
  before_ = Check(devices_, std::nullopt);
  const std::vector<BlockDevice*> copies = trial_.devices();
  H2_RETURN_IF_ERROR(MendHeaders(copies, actions_));
  H2_RETURN_IF_ERROR(MendVolume());
  if (actions_.empty()) {
    after_ = before_;
    return absl::OkStatus();
  }
  H2_ASSIGN_OR_RETURN(const VolumeSet set, AssembleVolumeSet(trial_.Handles(), NullLogger()));
  after_ = Check(copies, set.slot);
  if (Worse()) {
    return absl::InternalError(absl::StrCat(
        "the repair would not make the volume better; nothing is written. Before: ",
        before_.ToString(Severity::kError), "After: ", after_.ToString(Severity::kError)));
  }
  return absl::OkStatus();
}

bool RepairImpl::Worse() const {
  for (size_t code = 0; code < kFindingCodes; ++code) {
    const auto c = static_cast<C>(code);
    // What nobody reads any more is a leak, and a new header counts all of it.
    if (c == C::kFreemapLeak || c == C::kHeaderBlank || c == C::kFreemapStaged) continue;
    if (after_.count(c) > before_.count(c)) return true;
  }
  return false;
}

void RepairImpl::SurveyAll(VolumeSet& set) {
  std::vector<MediaSource::Part> parts;
  uint64_t start = 0;
  for (size_t i = 0; i < set.devices->size(); ++i) {
    BlockDevice& device = set.devices->device(i);
    const bool last = i + 1 == set.devices->size();
    const uint64_t total = set.header->address_space();
    const uint64_t bytes = last ? total - start : set.header->volu_loff[i + 1] - start;
    parts.push_back({&device, start, bytes});
    start += bytes;
  }
  generations_.push_back(Survey(parts, set.slot, *set.header));
  std::vector<std::pair<int, const VolumeData*>> older;
  for (const HeaderProbe& probe : set.root_probes) {
    if (probe.present && probe.status.ok()) older.emplace_back(probe.slot, probe.header.get());
  }
  if (set.shadow != nullptr) older.emplace_back(0, set.shadow.get());
  for (const auto& [slot, header] : older) {
    const bool same = header->mirror_tid == set.header->mirror_tid &&
                      header->sroot_blockset == set.header->sroot_blockset;
    if (!same) generations_.push_back(Survey(parts, slot, *header));
  }
}

absl::StatusOr<std::map<Key, NameRepairs>> RepairImpl::FindNames(VolumeSet& set) {
  const Surveyed& newest = *generations_.front();
  CheckReport report;
  FindingLog log(report, /*strict=*/false, /*findings_max=*/1);
  std::vector<NameFault> faults;
  MediaReader reader(MediaSource::Of(set), *newest.header);
  NamespaceCheck(log, /*strict=*/false, &faults).Check(reader, newest.pfses);
  return PlanNames(reader, newest.pfses, faults, options_.drop_dangling, actions_);
}

absl::Status RepairImpl::MendVolume() {
  H2_ASSIGN_OR_RETURN(VolumeSet set, AssembleVolumeSet(trial_.Handles(), NullLogger()));
  SurveyAll(set);
  const Surveyed& newest = *generations_.front();
  lag_ = newest.report.count(C::kFreemapLag) != 0 ||
         newest.header->freemap_tid != newest.header->mirror_tid;
  HeaderRing ring(*set.devices, set, NullLogger());
  if (newest.hides() && !options_.keep_leaks) {
    refusals_.push_back(
        "damage hides part of the newest tree, so what is in use is not known: nothing but headers "
        "is repaired. With leaks kept, what is marked as allocated stays so and the rest is done");
    return absl::OkStatus();
  }
  return Rewrite(set, ring);
}

void RepairImpl::CompareCounters(const VolumeData& before, const VolumeData& after) {
  const auto compare = [&](absl::string_view field, uint64_t was, uint64_t is) {
    if (was == is) return;
    actions_.push_back({RepairKind::kCounters, "volume header",
                        absl::StrFormat("%s 0x%x becomes 0x%x", field, was, is)});
  };
  compare("allocator_size", before.allocator_size, after.allocator_size);
  compare("allocator_free", before.allocator_free, after.allocator_free);
  if (before.freemap_tid != before.mirror_tid) {
    compare("freemap_tid", before.freemap_tid.v, after.freemap_tid.v);
  }
}

void RepairImpl::NoteSlots(const VolumeSet& set, const HeaderRing& ring) {
  for (const HeaderProbe& probe : set.root_probes) {
    if (!probe.present || probe.status.ok() || probe.slot >= ring.slot_count()) continue;
    actions_.push_back(
        {RepairKind::kHeaders,
         absl::StrFormat("%s: header slot %d", set.devices->root().name(), probe.slot),
         absl::StrCat("is written again (", probe.status.message(), ")")});
  }
}

absl::Status RepairImpl::Rewrite(VolumeSet& set, HeaderRing& ring) {
  const Surveyed& newest = *generations_.front();
  const VolumeData& was = *newest.header;
  SpaceInUse in_use;
  for (const auto& generation : generations_) in_use.chunks.Add(generation->ledger);
  in_use.newest = &newest.ledger;
  in_use.keep_marked = options_.keep_leaks;
  in_use.linears_off = lag_;
  const bool rebuild = CountOf(newest.freemap_report, kBadFreemap) != 0;
  FreemapRepair freemap(was, *newest.freemap, rebuild);
  freemap.Compare(in_use, actions_);
  NoteSlots(set, ring);

  auto header = std::make_unique<VolumeData>(was);
  const Tid tid(
      std::max({was.mirror_tid, was.freemap_tid, ring.highest_tid_seen(), newest.highest_tid}).v +
      1);
  if (tid.v >= kTidLimit) {
    return absl::FailedPreconditionError("the transaction ids of the volume are used up");
  }
  std::map<Key, NameRepairs> names;
  std::optional<std::array<Blockref, 4>> roots;
  if (!newest.hides()) {
    H2_ASSIGN_OR_RETURN(names, FindNames(set));
    TableRepair tables(
        *set.devices, was, {tid, tid},
        [&](BrefType type, unsigned radix, Key key) { return freemap.Allocate(type, radix, key); },
        names);
    H2_ASSIGN_OR_RETURN(roots, tables.Run(actions_));
  }
  header->allocator_size = AllocatorSizeFor(was, was.address_space());
  header->allocator_free = freemap.allocator_free(header->allocator_size);
  header->mirror_tid = header->freemap_tid = tid;
  CompareCounters(was, *header);
  if (actions_.empty()) return absl::OkStatus();

  H2_RETURN_IF_ERROR(ring.Fence());
  if (roots.has_value()) header->sroot_blockset = *roots;
  if (freemap.changed()) {
    H2_ASSIGN_OR_RETURN(header->freemap_blockset,
                        freemap.Write({tid, tid}, ring.entries(), *set.devices));
  }
  H2_RETURN_IF_ERROR(set.devices->SyncAll());
  SealVolumeData(*header);
  H2_RETURN_IF_ERROR(ring.Publish(*header, nullptr).status());
  return FillSlots(set, *header);
}

// Slots that hold nothing get the new header, too, as after a format.
absl::Status RepairImpl::FillSlots(VolumeSet& set, const VolumeData& header) {
  BlockDevice& root = set.devices->root();
  const AlignedBuffer image = AlignedBuffer::CopyOf(std::as_bytes(std::span(&header, 1)));
  const auto probes = ProbeHeaders(root);
  for (int slot = 0; slot < HeaderSlotCount(header.volu_size); ++slot) {
    const HeaderProbe& probe = probes[static_cast<size_t>(slot)];
    if (!probe.present || probe.status.ok()) continue;
    H2_RETURN_IF_ERROR(root.Write(HeaderSlotOffset(slot), image.span()));
    H2_RETURN_IF_ERROR(root.Sync());
  }
  return absl::OkStatus();
}

}  // namespace

absl::string_view Name(RepairKind kind) {
  switch (kind) {
    case RepairKind::kHeaders:
      return "headers";
    case RepairKind::kFreemap:
      return "freemap";
    case RepairKind::kCounters:
      return "counters";
    case RepairKind::kTables:
      return "tables";
    case RepairKind::kNames:
      return "names";
  }
  return "unknown";
}

absl::StatusOr<std::unique_ptr<Repair>> Repair::Plan(std::span<BlockDevice* const> devices,
                                                     const RepairOptions& options) {
  auto repair = std::make_unique<RepairImpl>(devices, options);
  H2_RETURN_IF_ERROR(repair->Work());
  return repair;
}

}  // namespace h2bd
