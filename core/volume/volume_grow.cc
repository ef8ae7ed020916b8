// Growth of the only device of a volume, while it is served (spec 02 section 8.4).
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/media/placement.h"
#include "core/volume/volume_impl.h"

namespace h2bd {
namespace {

// A header that an older volume has left there would be chosen by every mount as soon as the device
// is this large (spec 01 section 2.7).
absl::Status EraseHeaderPlaces(BlockDevice& device, uint64_t from) {
  const AlignedBuffer zeros = AlignedBuffer::Zeroed(kVolumeHeaderBytes);
  for (int slot = 0; slot < kVolumeHeaderSlots; ++slot) {
    const ByteOff off = HeaderSlotOffset(slot);
    if (off.v < from || off.v + kVolumeHeaderBytes > device.size_bytes()) continue;
    H2_RETURN_IF_ERROR(device.Write(off, zeros.span()));
  }
  return device.Sync();
}

}  // namespace

absl::StatusOr<uint64_t> Volume::Impl::NewSize(const GrowOptions& grow) {
  BlockDevice& device = set.devices->root();
  H2_ASSIGN_OR_RETURN(uint64_t on_device, device.RefreshSize());
  const uint64_t bytes = RoundDown(grow.bytes.value_or(on_device), kVolumeAlign);
  const uint64_t present = freemap->total_size();
  if (bytes > kMaxVolumeBytes || bytes < present) {
    return absl::InvalidArgumentError(absl::StrCat("the volume has ", present,
                                                   " bytes and cannot have ", bytes,
                                                   "; legal: from what it has up to 2^63 - 1"));
  }
  if (bytes > on_device) {
    const absl::Status extended = device.Extend(bytes);
    if (absl::IsFailedPrecondition(extended)) {
      return absl::InvalidArgumentError(extended.message());
    }
    H2_RETURN_IF_ERROR(extended);
  }
  return bytes;
}

absl::StatusOr<GrowReport> Volume::Grow(const GrowOptions& options, const IoOptions& io) {
  Impl& v = *impl_;
  H2_RETURN_IF_ERROR(v.CheckWritable());
  if (v.set.devices->size() != 1) {
    return absl::UnimplementedError(absl::StrCat("the volume has ", v.set.devices->size(),
                                                 " devices; only one of one device can grow"));
  }
  absl::MutexLock lock(&v.grow_mu);
  GrowReport report;
  report.old_bytes = v.freemap->total_size();
  H2_ASSIGN_OR_RETURN(report.new_bytes, v.NewSize(options));
  report.header_slots = v.ring->slot_count();
  report.mirror_tid = v.flusher->mirror_tid();
  if (report.new_bytes == v.store->total_size() && report.new_bytes == report.old_bytes) {
    return report;
  }
  H2_RETURN_IF_ERROR(EraseHeaderPlaces(v.set.devices->root(), v.store->total_size()));
  // Reads of the new part are legal from here on; nothing lies there before a header says so.
  v.set.devices->GrowLast(report.new_bytes);
  v.store->Grow(report.new_bytes);
  v.flusher->GrowTo(report.new_bytes);
  H2_ASSIGN_OR_RETURN(const SyncResult synced,
                      v.WaitFor(v.gate->opseq(), io.deadline, /*fresh=*/true));
  report.header_slots = v.ring->slot_count();
  report.mirror_tid = synced.mirror_tid;
  v.env.logger->Info("the volume has grown", {{"from", FormatBytes(report.old_bytes)},
                                              {"to", FormatBytes(report.new_bytes)}});
  return report;
}

}  // namespace h2bd
