// Strong types for the numbers that must not be mixed up, and units of size.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

namespace h2bd {

inline constexpr uint64_t kKiB = 1024;
inline constexpr uint64_t kMiB = 1024 * kKiB;
inline constexpr uint64_t kGiB = 1024 * kMiB;
inline constexpr uint64_t kTiB = 1024 * kGiB;

// Same layout as uint64_t, so media structs may hold it. Leaves only through `.v`.
template <class Tag>
struct Strong64 {
  uint64_t v = 0;
  constexpr Strong64() = default;
  constexpr explicit Strong64(uint64_t value) : v(value) {}
  constexpr auto operator<=>(const Strong64&) const = default;

  template <typename H>
  friend H AbslHashValue(H h, const Strong64& s) {
    return H::combine(std::move(h), s.v);
  }
};

using Tid = Strong64<struct TidTag>;          // transaction id; grows, never reused
using Key = Strong64<struct KeyTag>;          // position in a 64-bit key space
using ByteOff = Strong64<struct ByteOffTag>;  // byte offset in the volume's address space
using Inum = Strong64<struct InumTag>;        // inode number, unique within one PFS
using OpSeq = Strong64<struct OpSeqTag>;      // number of an applied mutation (spec 04 section 0.2)
using TxnId = Strong64<struct TxnIdTag>;      // client-visible transaction

constexpr uint64_t RoundUp(uint64_t value, uint64_t power_of_two) {
  return (value + power_of_two - 1) & ~(power_of_two - 1);
}
constexpr uint64_t RoundDown(uint64_t value, uint64_t power_of_two) {
  return value & ~(power_of_two - 1);
}

// "10.0 GiB", "512 B".
std::string FormatBytes(uint64_t bytes);

}  // namespace h2bd
