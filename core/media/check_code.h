// Check codes over physical blocks (spec 01 section 5).
#pragma once

#include <array>
#include <cstdint>

#include "core/media/blockref.h"

namespace h2bd {

uint32_t Icrc32(ConstByteSpan bytes);    // CRC-32C; of "123456789": 0xe3069283
uint64_t Xxhash64(ConstByteSpan bytes);  // with the HAMMER2 seed
std::array<std::byte, 24> Sha192(ConstByteSpan bytes);

// Both take the physical block, exactly data_off.bytes() long, padding included. A blockref with
// radix 0 has no check code: its check area is a name, or nothing. Calling them with one is a bug
// of the caller.

// Writes the check code of `block` as `bref.methods` names it into
// bref.check. Only the bytes of the value change; NONE and DISABLED change nothing; FREEMAP leaves
// bigmask and avail alone. A method above FREEMAP is a bug of the caller.
void SetCheck(Blockref& bref, ConstByteSpan block);

// OK when the check code matches or the method is NONE or DISABLED, kDataLoss otherwise (also
// for an unknown method: the reference accepts those, but then nothing is verified).
absl::Status VerifyCheck(const Blockref& bref, ConstByteSpan block);

}  // namespace h2bd
