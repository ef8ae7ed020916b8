#include "core/volhdr/volume_set.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/media/decode.h"
#include "core/media/placement.h"
#include "core/volhdr/header_ring.h"
#include "core/volhdr/shadow.h"
#include "core/volhdr/signature.h"

namespace h2bd {
namespace {

// One device and what is on it.
struct Candidate {
  std::unique_ptr<BlockDevice> device;
  std::array<HeaderProbe, kVolumeHeaderSlots> probes;
  std::unique_ptr<VolumeData> header;  // the one to mount
  int slot = 0;
  bool from_shadow = false;

  const std::string& name() const { return device->name(); }
};

absl::Status NotHammer2(const std::string& name, const std::string& found) {
  return absl::FailedPreconditionError(absl::StrCat(
      "not a HAMMER2 volume: ", name,
      " (found: ", found.empty() ? "no known signature" : absl::StrCat(found, " signature"), ")"));
}

// Why a device has no header to mount.
absl::Status ExplainNoHeader(const Candidate& candidate, const std::string& signature) {
  std::vector<std::string> reasons;
  bool any_magic = false;
  bool all_unreadable = true;
  for (const HeaderProbe& probe : candidate.probes) {
    if (!probe.present) continue;
    if (probe.status.code() == absl::StatusCode::kFailedPrecondition) {
      return Annotate(probe.status, candidate.name());
    }
    reasons.push_back(absl::StrCat("slot ", probe.slot, ": ", probe.status.message()));
    any_magic |= probe.header != nullptr && probe.header->magic == kVolumeMagic;
    all_unreadable &= probe.header == nullptr;
  }
  const std::string all = absl::StrJoin(reasons, "; ");
  if (reasons.empty()) {
    return absl::FailedPreconditionError(
        absl::StrFormat("not a HAMMER2 volume: %s (found: %d bytes, too few for a volume header)",
                        candidate.name(), candidate.device->size_bytes()));
  }
  if (all_unreadable) {
    return absl::UnavailableError(
        absl::StrCat(candidate.name(), ": no volume header can be read: ", all));
  }
  if (!any_magic) return NotHammer2(candidate.name(), signature);
  return absl::DataLossError(
      absl::StrCat(candidate.name(), ": all volume headers are damaged: ", all));
}

// A header of an older, larger volume that was left in a later slot would be mounted by everybody,
// when its mirror_tid is higher (spec 01 section 2.7). Which one is meant cannot be known.
absl::Status CheckOneVolume(const Candidate& candidate) {
  for (const HeaderProbe& probe : candidate.probes) {
    if (!probe.present || !probe.status.ok()) continue;
    if (probe.header->fsid != candidate.header->fsid) {
      return absl::FailedPreconditionError(absl::StrFormat(
          "%s: slot %d holds a header of volume %s, slot %d one of volume %s; erase the stale one",
          candidate.name(), candidate.slot, FormatUuid(candidate.header->fsid), probe.slot,
          FormatUuid(probe.header->fsid)));
    }
  }
  return absl::OkStatus();
}

absl::Status ChooseShadow(Candidate& candidate, Logger& logger) {
  const absl::StatusOr<std::string> head = DetectHeadSignature(*candidate.device);
  // Unreadable sectors there are no sign of anybody else.
  const std::string signature = head.ok() ? *head : "";
  if (!signature.empty() && signature.rfind(kSignatureHammer2, 0) != 0) {
    return NotHammer2(candidate.name(), signature);
  }
  candidate.header = FindShadow(*candidate.device, candidate.probes[0]);
  if (candidate.header == nullptr) return ExplainNoHeader(candidate, signature);
  candidate.from_shadow = true;
  candidate.slot = 0;
  logger.Warning(
      "volume header is damaged, its shadow is used",
      {{"device", candidate.name()}, {"mirror_tid", absl::StrCat(candidate.header->mirror_tid.v)}});
  return absl::OkStatus();
}

// Whoever passed over such a header would mount an older one in its place, and lose what only the
// newer one has.
absl::Status CheckNotGrown(const Candidate& candidate, std::optional<int> best) {
  for (const HeaderProbe& probe : candidate.probes) {
    if (!probe.present || !IsGrownVersion1(probe)) continue;
    if (best.has_value() && probe.header->mirror_tid <=
                                candidate.probes[static_cast<size_t>(*best)].header->mirror_tid) {
      continue;
    }
    return absl::FailedPreconditionError(absl::StrFormat(
        "%s: the newest header, slot %d, is of version 1, but has total_size %#x, legal: 0 in "
        "version 1: another system has grown the volume; h2bd media check --repair --write puts it "
        "right",
        candidate.name(), probe.slot, probe.header->total_size));
  }
  return absl::OkStatus();
}

absl::Status ChooseHeader(Candidate& candidate, Logger& logger) {
  const std::optional<int> best = BestSlot(candidate.probes);
  H2_RETURN_IF_ERROR(CheckNotGrown(candidate, best));
  if (!best.has_value()) return ChooseShadow(candidate, logger);
  candidate.slot = *best;
  candidate.header =
      std::make_unique<VolumeData>(*candidate.probes[static_cast<size_t>(*best)].header);
  H2_RETURN_IF_ERROR(CheckOneVolume(candidate));
  for (const HeaderProbe& probe : candidate.probes) {
    if (!probe.present || probe.status.ok()) continue;
    if (HeaderSlotOffset(probe.slot).v >= candidate.header->volu_size) continue;
    logger.Warning("volume header slot is not valid",
                   {{"device", candidate.name()},
                    {"slot", absl::StrCat(probe.slot)},
                    {"why", std::string(probe.status.message())}});
  }
  return absl::OkStatus();
}

// What must be equal on all devices of a volume (spec 01 section 2.6).
absl::Status CheckSameVolume(const Candidate& a, const Candidate& b) {
  const auto differ = [&](absl::string_view field, const std::string& x, const std::string& y) {
    return absl::InvalidArgumentError(absl::StrCat("devices of different volumes: ", a.name(),
                                                   " has ", field, " ", x, ", ", b.name(), " has ",
                                                   y));
  };
  const VolumeData& x = *a.header;
  const VolumeData& y = *b.header;
  if (x.fsid != y.fsid) return differ("fsid", FormatUuid(x.fsid), FormatUuid(y.fsid));
  if (x.fstype != y.fstype) return differ("fstype", FormatUuid(x.fstype), FormatUuid(y.fstype));
  if (x.version != y.version) {
    return differ("version", absl::StrCat(x.version), absl::StrCat(y.version));
  }
  if (x.nvolumes != y.nvolumes) {
    return differ("nvolumes", absl::StrCat(x.nvolumes), absl::StrCat(y.nvolumes));
  }
  if (x.volu_id == y.volu_id) {
    return absl::InvalidArgumentError(
        absl::StrCat("volume ", x.volu_id, " is given twice: ", a.name(), " and ", b.name()));
  }
  return absl::OkStatus();
}

// `members` ascend by volume id and are distinct.
absl::Status CheckComplete(const std::vector<Candidate>& members) {
  const VolumeData& first = *members.front().header;
  const size_t expected = first.version >= kVolumeVersionMulti ? first.nvolumes : 1;
  std::vector<int> missing;
  size_t next = 0;
  for (size_t id = 0; id < expected; ++id) {
    if (next < members.size() && members[next].header->volu_id == id) {
      ++next;
    } else {
      missing.push_back(static_cast<int>(id));
    }
  }
  if (missing.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "the volume of %s has %d devices, %d given; missing volume id: %s", members.front().name(),
      expected, members.size(), absl::StrJoin(missing, ", ")));
}

// Sizes and offsets of all volumes together; each header alone was checked when it was probed.
absl::Status CheckLayout(const std::vector<Candidate>& members) {
  const VolumeData& root = *members.front().header;
  uint64_t at = 0;
  for (size_t i = 0; i < members.size(); ++i) {
    const Candidate& member = members[i];
    const uint64_t bytes = member.header->volu_size;
    if (bytes > member.device->size_bytes()) {
      return absl::DataLossError(
          absl::StrFormat("%s has %d bytes, but its volume has %d: the device was cut short",
                          member.name(), member.device->size_bytes(), bytes));
    }
    if (root.version >= kVolumeVersionMulti && root.volu_loff[i] != at) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "volume %d begins at %#x by the header of %s, legal: %#x, where volume %d "
          "ends",
          i, root.volu_loff[i], members.front().name(), at, i - 1));
    }
    at += bytes;
  }
  if (at != root.address_space()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("total_size of %s is %d, legal: %d, the sum of its volumes",
                        members.front().name(), root.address_space(), at));
  }
  return absl::OkStatus();
}

VolumeSet MakeSet(std::vector<Candidate> members) {
  VolumeSet set;
  Candidate& root = members.front();
  set.slot = root.slot;
  set.from_shadow = root.from_shadow;
  if (const std::optional<ByteOff> place = HeaderRing::ShadowPlace(*root.header)) {
    set.shadow = ReadShadow(*root.device, *place);
    if (set.shadow != nullptr && set.shadow->fsid != root.header->fsid) set.shadow = nullptr;
  }
  set.header = std::move(root.header);
  set.root_probes = std::move(root.probes);

  std::vector<DeviceSet::Member> devices;
  uint64_t at = 0;
  for (Candidate& member : members) {
    const uint64_t bytes =
        member.header != nullptr ? member.header->volu_size : set.header->volu_size;
    devices.push_back({std::move(member.device), at, bytes});
    at += bytes;
  }
  set.devices = std::make_unique<DeviceSet>(std::move(devices));
  return set;
}

// Sector 0 ends with its own CRC, so whatever valid sector 0 stands in front, the CRC over the
// whole header is the same: a write that was torn behind the first sector passes all three, if
// nothing but the freemap has changed. The ids tell (I-05).
absl::Status CheckIsOfOneWrite(const VolumeData& header) {
  for (const auto* blockset : {&header.sroot_blockset, &header.freemap_blockset}) {
    for (const Blockref& bref : *blockset) {
      if (bref.empty() || bref.mirror_tid <= header.mirror_tid) continue;
      return absl::DataLossError(absl::StrCat("torn header: mirror_tid is ", header.mirror_tid.v,
                                              ", but it names ", Describe(bref), " of ",
                                              bref.mirror_tid.v));
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::array<HeaderProbe, kVolumeHeaderSlots> ProbeHeaders(BlockDevice& device) {
  constexpr int kReadTries = 3;
  std::array<HeaderProbe, kVolumeHeaderSlots> probes;
  AlignedBuffer raw(kVolumeHeaderBytes);
  for (int slot = 0; slot < kVolumeHeaderSlots; ++slot) {
    HeaderProbe& probe = probes[static_cast<size_t>(slot)];
    const ByteOff off = HeaderSlotOffset(slot);
    probe.slot = slot;
    probe.present = off.v + kVolumeHeaderBytes <= device.size_bytes();
    if (!probe.present) {
      probe.status = absl::NotFoundError("past the end of the device");
      continue;
    }
    // The newest header may lie here: a device that fails for a moment is asked again.
    for (int tries = 0; tries < kReadTries; ++tries) {
      probe.status = device.Read(off, raw.span());
      if (probe.status.ok()) break;
    }
    if (!probe.status.ok()) continue;
    probe.header = std::make_unique<VolumeData>(LoadAs<VolumeData>(raw.span()));
    probe.status = CheckVolumeHeader(*probe.header);
    if (probe.status.ok()) probe.status = CheckIsOfOneWrite(*probe.header);
  }
  return probes;
}

bool IsGrownVersion1(const HeaderProbe& probe) {
  if (probe.status.ok() || probe.header == nullptr ||
      probe.header->version != kVolumeVersionSingle || probe.header->total_size == 0) {
    return false;
  }
  auto copy = std::make_unique<VolumeData>(*probe.header);
  SealVolumeData(*copy);
  const bool whole = copy->icrc_volheader == probe.header->icrc_volheader &&
                     copy->icrc_sects == probe.header->icrc_sects;
  copy->total_size = 0;
  SealVolumeData(*copy);
  return whole && CheckVolumeHeader(*copy).ok() && CheckIsOfOneWrite(*copy).ok();
}

std::optional<int> BestSlot(const std::array<HeaderProbe, kVolumeHeaderSlots>& probes) {
  const HeaderProbe* best = nullptr;
  for (const HeaderProbe& probe : probes) {
    if (!probe.present || !probe.status.ok()) continue;
    if (best == nullptr || probe.header->mirror_tid > best->header->mirror_tid) best = &probe;
  }
  return best == nullptr ? std::nullopt : std::optional<int>(best->slot);
}

absl::StatusOr<int> SlotOfOlderHeader(const std::array<HeaderProbe, kVolumeHeaderSlots>& probes,
                                      int back) {
  const std::optional<int> best = BestSlot(probes);
  if (!best.has_value()) return absl::NotFoundError("no header slot is valid");
  const VolumeData& newest = *probes[static_cast<size_t>(*best)].header;
  std::map<Tid, int, std::greater<>> slots;
  for (const HeaderProbe& probe : probes) {
    const bool ours = probe.present && probe.status.ok() && probe.header->fsid == newest.fsid &&
                      HeaderSlotOffset(probe.slot).v < newest.volu_size;
    if (ours) slots.emplace(probe.header->mirror_tid, probe.slot);
  }
  if (back < 0 || static_cast<size_t>(back) >= slots.size()) {
    return absl::NotFoundError(
        absl::StrFormat("header -%d: the volume has %d headers of different ids, legal: 0 to -%d",
                        back, slots.size(), slots.size() - 1));
  }
  return std::next(slots.begin(), back)->second;
}

absl::StatusOr<VolumeSet> AssembleVolumeSet(std::vector<std::unique_ptr<BlockDevice>> devices,
                                            Logger& logger, int header_back) {
  if (devices.empty() || devices.size() > kMaxVolumes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%d devices given, legal: 1..%d", devices.size(), kMaxVolumes));
  }
  std::vector<Candidate> members;
  for (std::unique_ptr<BlockDevice>& device : devices) {
    Candidate candidate;
    candidate.probes = ProbeHeaders(*device);
    candidate.device = std::move(device);
    H2_RETURN_IF_ERROR(ChooseHeader(candidate, logger));
    members.push_back(std::move(candidate));
  }
  std::stable_sort(members.begin(), members.end(), [](const Candidate& a, const Candidate& b) {
    return a.header->volu_id < b.header->volu_id;
  });
  for (size_t i = 1; i < members.size(); ++i) {
    H2_RETURN_IF_ERROR(CheckSameVolume(members[i - 1], members[i]));
  }
  if (header_back != 0) {
    Candidate& root = members.front();
    H2_ASSIGN_OR_RETURN(root.slot, SlotOfOlderHeader(root.probes, header_back));
    *root.header = *root.probes[static_cast<size_t>(root.slot)].header;
    root.from_shadow = false;
  }
  H2_RETURN_IF_ERROR(CheckComplete(members));
  H2_RETURN_IF_ERROR(CheckLayout(members));
  return MakeSet(std::move(members));
}

}  // namespace h2bd
