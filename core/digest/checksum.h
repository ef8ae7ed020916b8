// Checksums that tell damage from intent. They protect against accidents, not against attackers.
#pragma once

#include <cstdint>

#include "core/base/bytes.h"

namespace h2bd {

// CRC-32C (Castagnoli) of the bytes that gave `before`, followed by `bytes`. Of "123456789":
// 0xe3069283. At most 2^31 - 1 bytes in one call.
uint32_t Crc32c(ConstByteSpan bytes, uint32_t before = 0);

uint64_t Xxh64(ConstByteSpan bytes, uint64_t seed = 0);

}  // namespace h2bd
