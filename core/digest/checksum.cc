#include "core/digest/checksum.h"

#include <isa-l/crc.h>
#include <xxhash.h>

#include "core/base/status.h"

namespace h2bd {

uint32_t Crc32c(ConstByteSpan bytes, uint32_t before) {
  // ISA-L neither inverts its start value nor its result. It takes its input as non-const and an
  // int length, but only reads it.
  H2_ASSERT(bytes.size() <= INT32_MAX);
  auto* data = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(bytes.data()));
  return ~crc32_iscsi(data, static_cast<int>(bytes.size()), ~before);
}

uint64_t Xxh64(ConstByteSpan bytes, uint64_t seed) {
  return XXH64(bytes.data(), bytes.size(), seed);
}

}  // namespace h2bd
