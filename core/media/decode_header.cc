#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/media/check_code.h"
#include "core/media/corrupt.h"
#include "core/media/decode.h"

namespace h2bd {
namespace {

absl::Status Bad(absl::string_view field, uint64_t found, absl::string_view legal) {
  return Corrupt("volume header", field, found, legal);
}

absl::Status CheckIcrc(absl::string_view field, uint32_t found, ConstByteSpan covered) {
  const uint32_t computed = Icrc32(covered);
  if (found == computed) return absl::OkStatus();
  return Bad(field, found, absl::StrFormat("0x%x", computed));
}

// Version 1 knows one volume; the fields of more were reserved then.
absl::Status CheckSingleVolume(const VolumeData& h) {
  if (h.nvolumes != 0) return Bad("nvolumes", h.nvolumes, "0 in version 1");
  if (h.volu_id != 0) return Bad("volu_id", h.volu_id, "0 in version 1");
  if (h.total_size != 0) return Bad("total_size", h.total_size, "0 in version 1");
  for (size_t i = 0; i < h.volu_loff.size(); ++i) {
    if (h.volu_loff[i] != 0) {
      return Bad(absl::StrCat("volu_loff[", i, "]"), h.volu_loff[i], "0 in version 1");
    }
  }
  return absl::OkStatus();
}

// The offsets of all volumes, seen from one: ascending by whole GiB from 0 to total_size, and this
// volume fills its place.
absl::Status CheckVolumePlaces(const VolumeData& h) {
  if (h.nvolumes < 1 || h.nvolumes > kMaxVolumes) return Bad("nvolumes", h.nvolumes, "1..64");
  if (h.volu_id >= h.nvolumes) {
    return Bad("volu_id", h.volu_id, absl::StrCat("below nvolumes ", h.nvolumes));
  }
  if (h.total_size > kMaxVolumeBytes || h.total_size % kVolumeAlign != 0) {
    return Bad("total_size", h.total_size, "below 2^63, a multiple of 8 MiB");
  }
  for (size_t i = 0; i < h.volu_loff.size(); ++i) {
    const uint64_t loff = h.volu_loff[i];
    const auto bad = [&](absl::string_view legal) {
      return Bad(absl::StrCat("volu_loff[", i, "]"), loff, legal);
    };
    if (i >= h.nvolumes) {
      if (loff != UINT64_MAX) return bad("2^64-1 past nvolumes");
      continue;
    }
    if (i == 0 && loff != 0) return bad("0");
    if (i > 0 && loff <= h.volu_loff[i - 1]) return bad("above the one before");
    if (loff % kFreemapLeafSpan != 0) return bad("a multiple of 1 GiB");
    if (loff >= h.total_size) return bad(absl::StrFormat("below total_size 0x%x", h.total_size));
  }
  const bool last = h.volu_id + 1 == h.nvolumes;
  const uint64_t end = last ? h.total_size : h.volu_loff[h.volu_id + size_t{1}];
  const uint64_t place = end - h.volu_loff[h.volu_id];
  if (h.volu_size != place) {
    return Bad("volu_size", h.volu_size, absl::StrFormat("0x%x, the place of this volume", place));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckVolumeHeader(const VolumeData& h) {
  if (h.magic == kVolumeMagicSwapped) {
    return absl::FailedPreconditionError(
        "volume header: the volume was written in big-endian byte order, legal: little-endian");
  }
  if (h.magic != kVolumeMagic) {
    return Bad("magic", h.magic, absl::StrFormat("0x%x", kVolumeMagic));
  }
  const auto bytes = std::as_bytes(std::span(&h, 1));
  H2_RETURN_IF_ERROR(CheckIcrc("icrc_sects[7]", h.icrc_sects[7], bytes.first(508)));
  H2_RETURN_IF_ERROR(CheckIcrc("icrc_sects[6]", h.icrc_sects[6], bytes.subspan(512, 512)));
  H2_RETURN_IF_ERROR(
      CheckIcrc("icrc_volheader", h.icrc_volheader, bytes.first(kVolumeHeaderBytes - 4)));
  if (h.version < kVolumeVersionSingle || h.version > kVolumeVersionWip) {
    return absl::FailedPreconditionError(
        absl::StrCat("volume header: version=", h.version, ", legal: 1..3"));
  }
  if (h.fstype != kFstypeUuid) {
    return absl::DataLossError(absl::StrCat("corrupt volume header: fstype=", FormatUuid(h.fstype),
                                            ", legal: ", FormatUuid(kFstypeUuid)));
  }
  if (h.volu_size == 0 || h.volu_size > kMaxVolumeBytes || h.volu_size % kVolumeAlign != 0) {
    return Bad("volu_size", h.volu_size, "8 MiB..2^63-1, a multiple of 8 MiB");
  }
  H2_RETURN_IF_ERROR(h.version >= kVolumeVersionMulti ? CheckVolumePlaces(h)
                                                      : CheckSingleVolume(h));
  if (h.allocator_beg > h.address_space()) {
    return Bad("allocator_beg", h.allocator_beg,
               absl::StrFormat("0..0x%x, the address space", h.address_space()));
  }
  return absl::OkStatus();
}

}  // namespace h2bd
