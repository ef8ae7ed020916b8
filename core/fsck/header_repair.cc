#include "core/fsck/header_repair.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/media/decode.h"
#include "core/media/placement.h"
#include "core/volhdr/header_ring.h"
#include "core/volhdr/volume_set.h"

namespace h2bd {
namespace {

constexpr uint64_t kErasedBytes = 4096;

using Probes = std::array<HeaderProbe, kVolumeHeaderSlots>;

std::string PlaceOf(const BlockDevice& device, int slot) {
  return absl::StrFormat("%s: header slot %d", device.name(), slot);
}

absl::Status WriteHeader(BlockDevice& device, ByteOff off, const VolumeData& header) {
  const AlignedBuffer image = AlignedBuffer::CopyOf(std::as_bytes(std::span(&header, 1)));
  H2_RETURN_IF_ERROR(device.Write(off, image.span()));
  return device.Sync();
}

// The newest header that only its total_size keeps from being valid.
const HeaderProbe* NewestGrown(const Probes& probes) {
  const HeaderProbe* newest = nullptr;
  for (const HeaderProbe& probe : probes) {
    if (!IsGrownVersion1(probe)) continue;
    if (newest == nullptr || probe.header->mirror_tid > newest->header->mirror_tid) newest = &probe;
  }
  return newest;
}

absl::Status MendGrown(BlockDevice& device, const Probes& probes,
                       std::vector<RepairAction>& actions) {
  const HeaderProbe* const grown = NewestGrown(probes);
  if (grown == nullptr) return absl::OkStatus();
  const std::optional<int> best = BestSlot(probes);
  if (best.has_value() &&
      probes[static_cast<size_t>(*best)].header->mirror_tid >= grown->header->mirror_tid) {
    return absl::OkStatus();  // superseded; the open fence erases it
  }
  auto mended = std::make_unique<VolumeData>(*grown->header);
  const bool lags = mended->freemap_tid < mended->mirror_tid;
  mended->total_size = 0;
  ++mended->mirror_tid.v;
  if (!lags) mended->freemap_tid = mended->mirror_tid;
  SealVolumeData(*mended);
  const int slot = NextHeaderSlot(grown->slot, mended->volu_size);
  actions.push_back({RepairKind::kHeaders, PlaceOf(device, slot),
                     absl::StrFormat("total_size 0x%x becomes 0, as version 1 demands",
                                     grown->header->total_size)});
  // Where there is one slot only, the shadow is whole while it is written.
  if (const std::optional<ByteOff> shadow = HeaderRing::ShadowPlace(*mended)) {
    H2_RETURN_IF_ERROR(WriteHeader(device, *shadow, *mended));
  }
  return WriteHeader(device, HeaderSlotOffset(slot), *mended);
}

// The header of the volume that the device is meant to hold: the first slot is written whenever a
// volume is made, so what it says counts; where it is damaged, the newest.
const VolumeData* Meant(const Probes& probes) {
  if (probes[0].status.ok()) {
    const VolumeData* best = nullptr;
    for (const HeaderProbe& probe : probes) {
      const bool ours = probe.status.ok() && probe.header->fsid == probes[0].header->fsid &&
                        HeaderSlotOffset(probe.slot).v < probe.header->volu_size;
      if (ours && (best == nullptr || probe.header->mirror_tid > best->mirror_tid)) {
        best = probe.header.get();
      }
    }
    return best;
  }
  const std::optional<int> best = BestSlot(probes);
  return best.has_value() ? probes[static_cast<size_t>(*best)].header.get() : nullptr;
}

absl::Status EraseStale(BlockDevice& device, const Probes& probes,
                        std::vector<RepairAction>& actions) {
  const VolumeData* const meant = Meant(probes);
  for (const HeaderProbe& probe : probes) {
    if (meant == nullptr || !probe.status.ok()) continue;
    if (HeaderSlotOffset(probe.slot).v < meant->volu_size) continue;
    const bool foreign = probe.header->fsid != meant->fsid;
    actions.push_back({RepairKind::kHeaders, PlaceOf(device, probe.slot),
                       absl::StrFormat("%s past the end of the volume is erased",
                                       foreign ? "a header of another volume" : "a header")});
    H2_RETURN_IF_ERROR(
        device.Write(HeaderSlotOffset(probe.slot), AlignedBuffer::Zeroed(kErasedBytes).span()));
    H2_RETURN_IF_ERROR(device.Sync());
  }
  return absl::OkStatus();
}

absl::Status RewriteOfMember(BlockDevice& device, const Probes& probes,
                             std::vector<RepairAction>& actions) {
  const VolumeData* const meant = Meant(probes);
  if (meant == nullptr || meant->volu_id == 0) return absl::OkStatus();
  for (int slot = 0; slot < HeaderSlotCount(meant->volu_size); ++slot) {
    const HeaderProbe& probe = probes[static_cast<size_t>(slot)];
    if (!probe.present || probe.status.ok()) continue;
    actions.push_back({RepairKind::kHeaders, PlaceOf(device, slot), "is written again"});
    H2_RETURN_IF_ERROR(WriteHeader(device, HeaderSlotOffset(slot), *meant));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status MendHeaders(std::span<BlockDevice* const> devices,
                         std::vector<RepairAction>& actions) {
  for (BlockDevice* device : devices) {
    H2_RETURN_IF_ERROR(EraseStale(*device, ProbeHeaders(*device), actions));
    H2_RETURN_IF_ERROR(MendGrown(*device, ProbeHeaders(*device), actions));
    H2_RETURN_IF_ERROR(RewriteOfMember(*device, ProbeHeaders(*device), actions));
  }
  return absl::OkStatus();
}

}  // namespace h2bd
