#include "core/volhdr/shadow.h"

#include "core/media/check_code.h"
#include "core/media/decode.h"
#include "core/volhdr/header_ring.h"

namespace h2bd {
namespace {

bool FirstSectorIsWhole(const HeaderProbe& slot_zero) {
  if (slot_zero.header == nullptr || slot_zero.header->magic != kVolumeMagic) return false;
  const auto bytes = std::as_bytes(std::span(slot_zero.header.get(), 1));
  return Icrc32(bytes.first(508)) == slot_zero.header->icrc_sects[7];
}

// The boot area begins at 4 MiB, and both areas are multiples of 8 MiB that end below 1 GiB, so
// that there are few places where a shadow can be (spec 01 section 2.3). The lowest one wins: what
// precedes the end of the true aux area no guest can write, but an image stored as data behind it
// may hold a shadow of its own.
std::unique_ptr<VolumeData> SearchShadow(BlockDevice& device) {
  for (uint64_t aux_end = kZoneSegBytes + kVolumeAlign;
       aux_end < kFreemapLeafSpan && aux_end <= device.size_bytes(); aux_end += kVolumeAlign) {
    std::unique_ptr<VolumeData> found = ReadShadow(device, ByteOff(aux_end - kVolumeHeaderBytes));
    if (found != nullptr) return found;
  }
  return nullptr;
}

}  // namespace

std::unique_ptr<VolumeData> ReadShadow(BlockDevice& device, ByteOff off) {
  AlignedBuffer raw(kVolumeHeaderBytes);
  if (!device.Read(off, raw.span()).ok()) return nullptr;
  auto header = std::make_unique<VolumeData>(LoadAs<VolumeData>(raw.span()));
  const bool genuine = CheckVolumeHeader(*header).ok() &&
                       header->volu_size <= device.size_bytes() &&
                       HeaderRing::ShadowPlace(*header) == off;
  return genuine ? std::move(header) : nullptr;
}

std::unique_ptr<VolumeData> FindShadow(BlockDevice& device, const HeaderProbe& slot_zero) {
  if (!FirstSectorIsWhole(slot_zero)) return SearchShadow(device);
  const VolumeData& damaged = *slot_zero.header;
  const std::optional<ByteOff> place = HeaderRing::ShadowPlace(damaged);
  if (!place.has_value()) return nullptr;
  std::unique_ptr<VolumeData> shadow = ReadShadow(device, *place);
  const bool ours =
      shadow != nullptr && shadow->fsid == damaged.fsid && shadow->mirror_tid >= damaged.mirror_tid;
  return ours ? std::move(shadow) : nullptr;
}

}  // namespace h2bd
