#include "core/volhdr/volume_size.h"

#include "core/base/status.h"
#include "core/media/placement.h"

namespace h2bd {

uint64_t AllocatorSizeFor(const VolumeData& header, uint64_t total_size) {
  return total_size - ReservedBytes(total_size) - (header.boot_end - header.boot_beg) -
         (header.aux_end - header.aux_beg);
}

void SetVolumeBytes(VolumeData& header, uint64_t bytes) {
  H2_ASSERT(header.nvolumes <= 1);
  header.volu_size = bytes;
  if (header.version >= kVolumeVersionMulti) header.total_size = bytes;
  header.allocator_size = AllocatorSizeFor(header, bytes);
}

}  // namespace h2bd
