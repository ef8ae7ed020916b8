#include "core/fsck/header_check.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/media/placement.h"
#include "core/volhdr/volume_set.h"

namespace h2bd {
namespace {

using Probes = std::array<HeaderProbe, kVolumeHeaderSlots>;
constexpr uint8_t kPeerTypeHammer2 = 3;

// AssembleVolumeSet owns its devices; ours belong to somebody else.
class LentDevice final : public BlockDevice {
 public:
  explicit LentDevice(BlockDevice& inner) : inner_(inner) {}
  absl::Status Read(ByteOff off, ByteSpan into) override { return inner_.Read(off, into); }
  absl::Status Write(ByteOff, ConstByteSpan) override {
    return absl::FailedPreconditionError("the checker does not write");
  }
  absl::Status Sync() override { return absl::OkStatus(); }
  uint64_t size_bytes() const override { return inner_.size_bytes(); }
  uint32_t sector_bytes() const override { return inner_.sector_bytes(); }
  bool read_only() const override { return true; }
  const std::string& name() const override { return inner_.name(); }

 private:
  BlockDevice& inner_;
};

struct Device {
  BlockDevice* device = nullptr;
  Probes probes;
  const VolumeData* best = nullptr;  // in `probes`
  int best_slot = -1;
};

template <class T>
ConstByteSpan BytesOf(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

bool Blank(const HeaderProbe& probe) {
  return probe.header != nullptr && IsAllZero(BytesOf(*probe.header).first(kBufferAlignment));
}

// --- slots ----------------------------------------------------------------------------------

void CheckSlots(const Device& d, FindingLog& log) {
  for (const HeaderProbe& probe : d.probes) {
    if (!probe.present) continue;
    const std::string place = absl::StrFormat("%s: header slot %d", d.device->name(), probe.slot);
    const bool inside = HeaderSlotOffset(probe.slot).v < d.best->volu_size;
    if (probe.status.ok()) {
      if (probe.header->fsid != d.best->fsid) {
        log.Add(FindingCode::kHeaderStale, place, "a header of another volume");
      } else if (!inside) {
        log.Add(
            FindingCode::kHeaderStale, place,
            absl::StrFormat("past the end of the volume at 0x%x, yet valid", d.best->volu_size));
      }
    } else if (inside && Blank(probe)) {
      log.Add(FindingCode::kHeaderBlank, place, "blank; it is filled again in its turn");
    } else if (inside) {
      log.Add(FindingCode::kHeaderInvalid, place, std::string(probe.status.message()));
    }
  }
  if (HeaderSlotOffset(d.best_slot).v >= d.best->volu_size) {
    log.Add(FindingCode::kHeaderField,
            absl::StrFormat("%s: header slot %d", d.device->name(), d.best_slot),
            "the header that everybody chooses lies past the end of the volume it describes");
  }
}

// --- the set --------------------------------------------------------------------------------

void CheckMember(const Device& d, const VolumeData& root, FindingLog& log) {
  const VolumeData& h = *d.best;
  const auto add = [&](const std::string& text) {
    log.Add(FindingCode::kVolumeSet, d.device->name(), text);
  };
  if (h.fsid != root.fsid) {
    add(absl::StrCat("fsid ", FormatUuid(h.fsid), ", the root volume has ", FormatUuid(root.fsid)));
  }
  if (h.version != root.version) {
    add(absl::StrCat("version ", h.version, ", the root volume has ", root.version));
  }
  if (h.nvolumes != root.nvolumes) {
    add(absl::StrCat("nvolumes ", h.nvolumes, ", the root volume has ", root.nvolumes));
  }
  if (h.volu_size > d.device->size_bytes()) {
    add(absl::StrFormat("volu_size 0x%x, but the device has 0x%x bytes", h.volu_size,
                        d.device->size_bytes()));
  }
  if (h.volu_id == 0) return;
  for (const Blockref& bref : h.sroot_blockset) {
    if (bref.type != BrefType::kInvalid || !IsAllZero(BytesOf(bref).subspan(1))) {
      add("sroot_blockset is not four entries of type 7, as on every volume but the root");
      break;
    }
  }
  if (!IsAllZero(BytesOf(h.freemap_blockset))) add("freemap_blockset is not zero");
  if (h.boot_beg != 0 || h.boot_end != 0 || h.aux_beg != 0 || h.aux_end != 0 ||
      h.allocator_beg != 0 || h.allocator_free != 0) {
    add("boot, aux or allocator fields are set on a volume that is not the root");
  }
}

// Ids dense and distinct, offsets contiguous, sizes rounded as spec 01 section 2.6 demands.
void CheckLayout(const std::vector<const Device*>& members, const VolumeData& root,
                 FindingLog& log) {
  const auto add = [&](const std::string& text) { log.Add(FindingCode::kVolumeSet, "", text); };
  const size_t expected = root.version >= kVolumeVersionMulti ? root.nvolumes : 1;
  if (members.size() != expected) {
    add(absl::StrFormat("%d devices given, the volume has %d", members.size(), expected));
  }
  uint64_t at = 0;
  for (size_t i = 0; i < members.size(); ++i) {
    const VolumeData& h = *members[i]->best;
    if (h.volu_id != i) {
      add(absl::StrFormat("volume ids are not 0 to %d: %d where %d is due", members.size() - 1,
                          h.volu_id, i));
      return;
    }
    if (root.version >= kVolumeVersionMulti && root.volu_loff[i] != at) {
      add(absl::StrFormat("volume %d begins at 0x%x, legal: 0x%x", i, root.volu_loff[i], at));
    }
    const bool last = i + 1 == members.size();
    if (!last && (h.volu_size % kFreemapLeafSpan != 0 || h.volu_size == 0)) {
      add(absl::StrFormat("volume %d has 0x%x bytes, legal: whole GiB", i, h.volu_size));
    }
    at += h.volu_size;
  }
  if (members.size() == expected && root.address_space() != at) {
    add(absl::StrFormat("the volumes add up to 0x%x, the header says 0x%x", at,
                        root.address_space()));
  }
}

// --- fields of one header -------------------------------------------------------------------

void CheckAreas(const VolumeData& h, const std::string& place, FindingLog& log) {
  const bool unset = h.boot_beg == 0 && h.boot_end == 0 && h.aux_beg == 0 && h.aux_end == 0;
  if (!unset &&
      !(kZoneSegBytes <= h.boot_beg && h.boot_beg <= h.boot_end && h.boot_end <= h.aux_beg &&
        h.aux_beg <= h.aux_end && h.aux_end <= h.allocator_beg)) {
    log.Add(FindingCode::kHeaderField, place,
            absl::StrFormat("boot 0x%x..0x%x, aux 0x%x..0x%x and allocator_beg 0x%x are not in "
                            "order behind the first 4 MiB",
                            h.boot_beg, h.boot_end, h.aux_beg, h.aux_end, h.allocator_beg));
  }
  if (h.aux_end % kPbufBytes != 0 || h.aux_end >= kFreemapLeafSpan) {
    log.Add(FindingCode::kHeaderField, place,
            absl::StrFormat("aux_end 0x%x, legal: 64 KiB aligned, below 1 GiB", h.aux_end));
  }
  if (h.allocator_beg % kAllocMin != 0) {
    log.Add(FindingCode::kHeaderField, place,
            absl::StrFormat("allocator_beg 0x%x, legal: 1 KiB aligned", h.allocator_beg));
  }
  const uint64_t areas = (h.boot_end - h.boot_beg) + (h.aux_end - h.aux_beg);
  const uint64_t size = h.address_space() - ReservedBytes(h.address_space()) - areas;
  if (h.allocator_size != size) {
    log.Add(FindingCode::kAllocatorSize, place,
            absl::StrFormat("allocator_size 0x%x, by the sizes it is 0x%x (others grow a volume "
                            "without counting reserved segments)",
                            h.allocator_size, size));
  }
}

void CheckReserved(const VolumeData& h, const std::string& place, FindingLog& log) {
  const std::pair<const char*, bool> fields[] = {
      {"flags", h.flags == 0},
      {"copyid", h.copyid == 0},
      {"freemap_version", h.freemap_version == 0},
      {"reserved003D", h.reserved003D == 0},
      {"reserved003E", h.reserved003E == 0},
      {"reserved0080", h.reserved0080 == 0},
      {"reserved0088", h.reserved0088 == 0},
      {"bulkfree_tid", h.bulkfree_tid.v == 0},
      {"reserved00A0", IsAllZero(BytesOf(h.reserved00A0))},
      {"copyexists", IsAllZero(BytesOf(h.copyexists))},
      {"reserved00E8", IsAllZero(h.reserved00E8)},
      {"icrc_sects[0..5]", IsAllZero(BytesOf(h.icrc_sects).first(24))},
      {"sector2", IsAllZero(h.sector2)},
      {"sector3", IsAllZero(h.sector3)},
      {"sector5", IsAllZero(h.sector5)},
      {"sector6", IsAllZero(h.sector6)},
      {"copyinfo", IsAllZero(h.copyinfo)},
      {"reserved9000", IsAllZero(h.reserved9000)},
  };
  for (const auto& [name, zero] : fields) {
    if (!zero) log.Add(FindingCode::kReserved, place, absl::StrCat(name, " is not zero"));
  }
  if (h.peer_type != kPeerTypeHammer2) {
    log.Add(FindingCode::kReserved, place, absl::StrCat("peer_type ", h.peer_type, ", legal: 3"));
  }
}

void CheckTids(const VolumeData& h, const std::string& place, FindingLog& log) {
  if (h.freemap_tid > h.mirror_tid || h.mirror_tid.v > kTidLimit) {
    log.Add(FindingCode::kMirrorTid, place,
            absl::StrFormat("freemap_tid %d, mirror_tid %d, legal: freemap_tid <= mirror_tid <= "
                            "2^63",
                            h.freemap_tid.v, h.mirror_tid.v));
  } else if (h.freemap_tid != h.mirror_tid) {
    log.Add(
        FindingCode::kHeaderTid, place,
        absl::StrFormat("freemap_tid %d is behind mirror_tid %d", h.freemap_tid.v, h.mirror_tid.v));
  }
}

// --- what to walk ---------------------------------------------------------------------------

// The shadow that h2bd keeps of the only slot of a small volume.
std::unique_ptr<VolumeData> FindShadow(std::span<BlockDevice* const> devices, FindingLog& log) {
  std::vector<std::unique_ptr<BlockDevice>> lent;
  for (BlockDevice* device : devices) lent.push_back(std::make_unique<LentDevice>(*device));
  absl::StatusOr<VolumeSet> set = AssembleVolumeSet(std::move(lent), NullLogger());
  if (!set.ok() || !set->from_shadow) return nullptr;
  log.Add(FindingCode::kHeaderShadow, set->devices->root().name(),
          "the header is damaged; only its shadow in the aux area is left");
  return std::move(set->header);
}

std::vector<HeaderToWalk> HeadersToWalk(Device& root, std::optional<int> only_slot,
                                        FindingLog& log) {
  const Uuid fsid = root.best->fsid;
  const uint64_t volu_size = root.best->volu_size;
  std::vector<HeaderToWalk> headers;
  for (HeaderProbe& probe : root.probes) {
    const bool ours = probe.present && probe.status.ok() && probe.header->fsid == fsid &&
                      HeaderSlotOffset(probe.slot).v < volu_size;
    if (!ours || (only_slot.has_value() && *only_slot != probe.slot)) continue;
    const bool newest = only_slot.has_value() || probe.slot == root.best_slot;
    headers.push_back({probe.slot, newest, std::move(probe.header)});
  }
  if (headers.empty() && only_slot.has_value()) {
    log.Add(FindingCode::kDevice, absl::StrFormat("header slot %d", *only_slot),
            "holds no valid header of this volume");
  }
  std::stable_sort(headers.begin(), headers.end(), [](const auto& a, const auto& b) {
    return a.newest != b.newest ? a.newest : a.header->mirror_tid > b.header->mirror_tid;
  });
  return headers;
}

std::vector<MediaSource::Part> PartsOf(const std::vector<const Device*>& members,
                                       const VolumeData& root) {
  std::vector<MediaSource::Part> parts;
  for (const Device* d : members) {
    const uint64_t start = root.version >= kVolumeVersionMulti && d->best->volu_id < kMaxVolumes
                               ? root.volu_loff[d->best->volu_id]
                               : 0;
    parts.push_back({d->device, start, std::min(d->best->volu_size, d->device->size_bytes())});
  }
  return parts;
}

}  // namespace

HeaderCheck CheckHeaders(std::span<BlockDevice* const> devices, std::optional<int> only_slot,
                         FindingLog& log) {
  HeaderCheck result;
  std::vector<Device> all;
  std::unique_ptr<VolumeData> shadow;
  for (BlockDevice* device : devices) {
    Device d{device, ProbeHeaders(*device)};
    if (const std::optional<int> best = BestSlot(d.probes); best.has_value()) {
      d.best_slot = *best;
      d.best = d.probes[static_cast<size_t>(*best)].header.get();
      all.push_back(std::move(d));
      continue;
    }
    if (devices.size() == 1) shadow = FindShadow(devices, log);
    if (shadow != nullptr) {
      result.parts = {{device, 0, std::min(shadow->volu_size, device->size_bytes())}};
      result.headers.push_back({0, true, std::move(shadow)});
      return result;
    }
    log.Add(FindingCode::kDevice, device->name(),
            absl::StrCat("no valid volume header; slot 0: ", d.probes[0].status.ToString()));
  }
  std::vector<const Device*> members;
  for (const Device& d : all) {
    CheckSlots(d, log);
    members.push_back(&d);
  }
  std::stable_sort(members.begin(), members.end(), [](const Device* a, const Device* b) {
    return a->best->volu_id < b->best->volu_id;
  });
  if (members.empty() || members.front()->best->volu_id != 0) {
    log.Add(FindingCode::kVolumeSet, "", "no device holds the root volume (volume id 0)");
    return result;
  }
  const VolumeData& root = *members.front()->best;
  for (const Device* member : members) CheckMember(*member, root, log);
  CheckLayout(members, root, log);
  result.parts = PartsOf(members, root);
  for (Device& d : all) {
    if (&d != members.front()) continue;
    result.headers = HeadersToWalk(d, only_slot, log);
    break;
  }
  for (const HeaderToWalk& h : result.headers) {
    const std::string place = "volume header";
    log.BeginSlot(h.slot, h.newest);
    CheckAreas(*h.header, place, log);
    CheckReserved(*h.header, place, log);
    CheckTids(*h.header, place, log);
  }
  log.EndSlots();
  return result;
}

}  // namespace h2bd
