// The blockref and the numbers in it (spec 01 section 4).
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "absl/strings/string_view.h"
#include "core/base/bytes.h"
#include "core/base/status.h"
#include "core/base/types.h"
#include "core/media/constants.h"

namespace h2bd {

static_assert(std::endian::native == std::endian::little, "media fields are read as they lie");

enum class BrefType : uint8_t {
  kEmpty = 0,
  kInode = 1,
  kIndirect = 2,
  kData = 3,
  kDirent = 4,
  kFreemapNode = 5,
  kFreemapLeaf = 6,
  kInvalid = 7,    // marks sroot_blockset of volumes that are not the root volume
  kFreemap = 254,  // in memory only: anchor of the freemap
  kVolume = 255,   // in memory only: anchor of the topology
};

enum class CheckMethod : uint8_t {
  kNone = 0,
  kDisabled = 1,
  kIscsi32 = 2,  // CRC-32C
  kXxhash64 = 3,
  kSha192 = 4,
  kFreemap = 5,
};

enum class CompMethod : uint8_t { kNone = 0, kAutozero = 1, kLz4 = 2, kZlib = 3 };

absl::string_view Name(BrefType type);      // "inode", "indirect", …
absl::string_view Name(CheckMethod check);  // "none", "disabled", "iscsi32", …
absl::string_view Name(CompMethod comp);    // "none", "autozero", "lz4", "zlib"

// data_off: device offset in the high 58 bits, radix (log2 of the size) in the low 6. Radix 0
// means that the blockref has no data block; it does not mean one byte.
struct DataOff {
  uint64_t raw = 0;

  static constexpr uint64_t kRadixMask = 0x3f;

  static constexpr DataOff Make(ByteOff off, unsigned radix) {
    H2_ASSERT((off.v & kRadixMask) == 0);
    H2_ASSERT(radix >= kRadixMin && radix <= kRadixMax);
    return DataOff{off.v | radix};
  }
  constexpr ByteOff offset() const { return ByteOff(raw & ~kRadixMask); }
  constexpr unsigned radix() const { return raw & kRadixMask; }
  constexpr uint64_t bytes() const { return radix() == 0 ? 0 : uint64_t{1} << radix(); }
  constexpr ByteOff end() const { return ByteOff(offset().v + bytes()); }
  // Base of the 64 KiB device buffer that holds the block.
  constexpr ByteOff buffer() const { return ByteOff(raw & ~(kPbufBytes - 1)); }
  constexpr auto operator<=>(const DataOff&) const = default;
};

// size -> radix as writers do it: 0 -> 0, else the smallest radix >= 10 that holds it.
constexpr unsigned RadixFor(uint64_t bytes) {
  if (bytes == 0) return 0;
  const auto radix = static_cast<unsigned>(std::bit_width(bytes - 1));
  return radix < kRadixMin ? kRadixMin : radix;
}

inline constexpr uint8_t kBrefFlagPfsroot = 0x01;
inline constexpr uint8_t kBrefFlagEmergMip = 0x04;

// The 128-byte blockref, byte for byte. Offsets are hexadecimal. Read and written by memcpy only.
struct Blockref {
  BrefType type = BrefType::kEmpty;   // 00
  uint8_t methods = 0;                // 01 check method << 4 | compression method
  uint8_t copyid = 0;                 // 02
  uint8_t keybits = 0;                // 03 covers [key, key + 2^keybits)
  uint8_t vradix = 0;                 // 04
  uint8_t flags = 0;                  // 05
  uint16_t leaf_count = 0;            // 06
  Key key;                            // 08
  Tid mirror_tid;                     // 10 flush that wrote this element; parents are never lower
  Tid modify_tid;                     // 18 last change; raised to the children's maximum
  DataOff data_off;                   // 20
  Tid update_tid;                     // 28 clusters only; 0, preserved on copy
  std::array<std::byte, 16> embed{};  // 30 statistics, or the head of a directory entry
  std::array<std::byte, 64> check{};  // 40 check code, or the name of a directory entry

  constexpr bool empty() const { return type == BrefType::kEmpty; }
  constexpr CheckMethod check_method() const { return static_cast<CheckMethod>(methods >> 4); }
  constexpr CompMethod comp_method() const { return static_cast<CompMethod>(methods & 0x0f); }
  constexpr void set_methods(CheckMethod c, CompMethod z) {
    methods = static_cast<uint8_t>(static_cast<uint8_t>(c) << 4 | static_cast<uint8_t>(z));
  }
  // Last key of the range, inclusive; never wraps.
  constexpr Key last_key() const {
    return Key(keybits >= 64 ? UINT64_MAX : key.v + ((uint64_t{1} << keybits) - 1));
  }
  constexpr bool Contains(Key k) const { return k >= key && k <= last_key(); }

  // Statistics of INODE and INDIRECT blockrefs (spec 01 section 4.6).
  uint64_t data_count() const { return LoadAs<uint64_t>(embed, 0); }
  uint64_t inode_count() const { return LoadAs<uint64_t>(embed, 8); }
  void set_data_count(uint64_t n) { StoreAs(ByteSpan(embed), n, 0); }
  void set_inode_count(uint64_t n) { StoreAs(ByteSpan(embed), n, 8); }

  // Head of a DIRENT (spec 01 section 4.7). A name of up to 64 bytes lies in `check`.
  Inum dirent_inum() const { return Inum(LoadAs<uint64_t>(embed, 0)); }
  uint16_t dirent_namlen() const { return LoadAs<uint16_t>(embed, 8); }
  uint8_t dirent_type() const { return LoadAs<uint8_t>(embed, 10); }
  void set_dirent(Inum inum, uint16_t namlen, uint8_t object_type) {
    embed.fill(std::byte{0});
    StoreAs(ByteSpan(embed), inum.v, 0);
    StoreAs(ByteSpan(embed), namlen, 8);
    StoreAs(ByteSpan(embed), object_type, 10);
  }

  // Freemap statistics kept beside the check code of a FREEMAP_LEAF blockref.
  uint32_t freemap_bigmask() const { return LoadAs<uint32_t>(check, 4); }
  uint64_t freemap_avail() const { return LoadAs<uint64_t>(check, 8); }
  void set_freemap_hints(uint32_t bigmask, uint64_t avail) {
    StoreAs(ByteSpan(check), bigmask, 4);
    StoreAs(ByteSpan(check), avail, 8);
  }

  friend bool operator==(const Blockref&, const Blockref&) = default;
};
static_assert(sizeof(Blockref) == 128 && std::is_trivially_copyable_v<Blockref>);
static_assert(std::has_unique_object_representations_v<Blockref>, "no padding reaches the disk");
static_assert(offsetof(Blockref, methods) == 0x01 && offsetof(Blockref, copyid) == 0x02);
static_assert(offsetof(Blockref, keybits) == 0x03 && offsetof(Blockref, vradix) == 0x04);
static_assert(offsetof(Blockref, flags) == 0x05 && offsetof(Blockref, leaf_count) == 0x06);
static_assert(offsetof(Blockref, key) == 0x08 && offsetof(Blockref, mirror_tid) == 0x10);
static_assert(offsetof(Blockref, modify_tid) == 0x18 && offsetof(Blockref, data_off) == 0x20);
static_assert(offsetof(Blockref, update_tid) == 0x28 && offsetof(Blockref, embed) == 0x30);
static_assert(offsetof(Blockref, check) == 0x40);

// A directory entry's name lies in its check area up to this length, in a block of its own above.
inline constexpr unsigned kDirentInlineNameMax = 64;

}  // namespace h2bd
