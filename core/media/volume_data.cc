#include "core/media/volume_data.h"

#include "core/media/check_code.h"

namespace h2bd {

void SealVolumeData(VolumeData& header) {
  const auto bytes = std::as_bytes(std::span(&header, 1));
  // Each range contains the result of the one before.
  header.icrc_sects[6] = Icrc32(bytes.subspan(512, 512));
  header.icrc_sects[7] = Icrc32(bytes.first(508));
  header.icrc_volheader = Icrc32(bytes.first(kVolumeHeaderBytes - 4));
}

}  // namespace h2bd
