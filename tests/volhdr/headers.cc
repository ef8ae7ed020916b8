#include "tests/volhdr/headers.h"

#include <algorithm>
#include <numeric>

#include "core/media/placement.h"

namespace h2bd {

std::unique_ptr<VolumeData> MakeHeader(const std::vector<uint64_t>& sizes, int id, Tid mirror_tid,
                                       int fsid, uint32_t version) {
  auto header = std::make_unique<VolumeData>();
  const uint64_t total = std::accumulate(sizes.begin(), sizes.end(), uint64_t{0});
  const AreaSizes areas = DefaultAreas(total);
  header->version = version;
  header->peer_type = 3;
  header->volu_id = static_cast<uint8_t>(id);
  header->volu_size = sizes[static_cast<size_t>(id)];
  header->fsid.fill(static_cast<std::byte>(fsid));
  header->fstype = kFstypeUuid;
  header->mirror_tid = header->freemap_tid = mirror_tid;
  header->allocator_size = total - ReservedBytes(total) - areas.boot - areas.aux;
  if (id == 0) {
    header->boot_beg = kZoneSegBytes;
    header->boot_end = header->aux_beg = header->boot_beg + areas.boot;
    header->aux_end = header->aux_beg + areas.aux;
    header->allocator_beg = header->aux_end + 3 * kInodeBytes;
    header->allocator_free = header->allocator_size;
  } else {
    for (Blockref& bref : header->sroot_blockset) bref.type = BrefType::kInvalid;
  }
  if (version >= kVolumeVersionMulti) {
    header->nvolumes = static_cast<uint8_t>(sizes.size());
    header->total_size = total;
    header->volu_loff.fill(UINT64_MAX);
    uint64_t at = 0;
    for (size_t i = 0; i < sizes.size(); at += sizes[i++]) header->volu_loff[i] = at;
  }
  SealVolumeData(*header);
  return header;
}

std::unique_ptr<VolumeData> MakeHeader(uint64_t size, Tid mirror_tid) {
  return MakeHeader(std::vector<uint64_t>{size}, 0, mirror_tid);
}

void Stamp(VolumeData& header, Tid tid) {
  header.mirror_tid = header.freemap_tid = tid;
  header.copyinfo.fill(static_cast<std::byte>(tid.v));
  header.reserved9000.fill(static_cast<std::byte>(tid.v));
  SealVolumeData(header);
}

void WriteBytes(BlockDevice& device, uint64_t off, ConstByteSpan bytes) {
  H2_ASSERT(device.Write(ByteOff(off), AlignedBuffer::CopyOf(bytes).span()).ok());
}

void WriteHeader(BlockDevice& device, int slot, const VolumeData& header) {
  WriteBytes(device, HeaderSlotOffset(slot).v, std::as_bytes(std::span(&header, 1)));
}

std::unique_ptr<MemoryDevice> MakeDevice(uint64_t size, const VolumeData& header,
                                         const std::string& name) {
  auto device = std::make_unique<MemoryDevice>(size, 512, name);
  for (int slot = 0; slot < kVolumeHeaderSlots; ++slot) {
    if (HeaderSlotOffset(slot).v < std::min(size, header.volu_size)) {
      WriteHeader(*device, slot, header);
    }
  }
  return device;
}

absl::StatusOr<VolumeSet> Assemble(const std::vector<BlockDevice*>& devices) {
  std::vector<std::unique_ptr<BlockDevice>> lent;
  for (BlockDevice* device : devices) lent.push_back(std::make_unique<BorrowedDevice>(*device));
  return AssembleVolumeSet(std::move(lent), NullLogger());
}

}  // namespace h2bd
