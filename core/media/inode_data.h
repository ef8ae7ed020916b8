// The inode block (spec 01 section 7).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/media/blockref.h"

namespace h2bd {

enum class ObjectType : uint8_t {
  kUnknown = 0,
  kDirectory = 1,
  kRegfile = 2,
  kFifo = 4,
  kCdev = 5,
  kBdev = 6,
  kSoftlink = 7,
  kSocket = 9,
  kWhiteout = 10,
};
absl::string_view Name(ObjectType type);
bool IsKnown(ObjectType type);  // one of those above, and not kUnknown

inline constexpr uint8_t kOpFlagDirectdata = 0x01;
inline constexpr uint8_t kOpFlagPfsroot = 0x02;

inline constexpr uint8_t kPfsTypeMaster = 6;
inline constexpr uint8_t kPfsTypeSuproot = 8;
inline constexpr uint8_t kPfsSubtypeSnapshot = 1;

using Uuid = std::array<std::byte, 16>;
std::string FormatUuid(const Uuid& uuid);  // 5cbb9ad1-862d-11dc-a94d-01301bb8a9f5

// hammer2_inode_meta: the first 256 bytes.
struct InodeMeta {
  uint16_t version = 1;                  // 00
  uint8_t reserved02 = 0;                // 02
  uint8_t pfs_subtype = 0;               // 03
  uint32_t uflags = 0;                   // 04
  uint32_t rmajor = 0;                   // 08
  uint32_t rminor = 0;                   // 0c
  uint64_t ctime = 0;                    // 10 microseconds since 1970
  uint64_t mtime = 0;                    // 18
  uint64_t atime = 0;                    // 20
  uint64_t btime = 0;                    // 28
  Uuid uid{};                            // 30
  Uuid gid{};                            // 40
  ObjectType type{};                     // 50
  uint8_t op_flags = 0;                  // 51
  uint16_t cap_flags = 0;                // 52
  uint32_t mode = 0;                     // 54
  Inum inum;                             // 58
  uint64_t size = 0;                     // 60
  uint64_t nlinks = 0;                   // 68
  Inum iparent;                          // 70
  Key name_key;                          // 78
  uint16_t name_len = 0;                 // 80
  uint8_t ncopies = 0;                   // 82
  uint8_t comp_algo = 0;                 // 83 level << 4 | method
  uint8_t unused84 = 0;                  // 84
  uint8_t check_algo = 0;                // 85
  uint8_t pfs_nmasters = 0;              // 86
  uint8_t pfs_type = 0;                  // 87
  uint64_t pfs_inum = 0;                 // 88
  Uuid pfs_clid{};                       // 90
  Uuid pfs_fsid{};                       // a0
  uint64_t data_quota = 0;               // b0
  uint64_t unusedB8 = 0;                 // b8
  uint64_t inode_quota = 0;              // c0
  uint64_t unusedC8 = 0;                 // c8
  Tid pfs_lsnap_tid;                     // d0
  uint64_t reservedD8 = 0;               // d8
  uint64_t decrypt_check = 0;            // e0
  std::array<uint64_t, 3> reservedE8{};  // e8

  constexpr bool directdata() const { return (op_flags & kOpFlagDirectdata) != 0; }
  constexpr bool pfsroot() const { return (op_flags & kOpFlagPfsroot) != 0; }
  constexpr CompMethod comp_method() const { return static_cast<CompMethod>(comp_algo & 0x0f); }
  constexpr int comp_level() const { return comp_algo >> 4; }
  constexpr CheckMethod check_method() const { return static_cast<CheckMethod>(check_algo & 0x0f); }
  friend bool operator==(const InodeMeta&, const InodeMeta&) = default;
};
static_assert(sizeof(InodeMeta) == 256 && std::is_trivially_copyable_v<InodeMeta>);
static_assert(std::has_unique_object_representations_v<InodeMeta>, "no padding reaches the disk");
static_assert(offsetof(InodeMeta, pfs_subtype) == 0x03 && offsetof(InodeMeta, ctime) == 0x10);
static_assert(offsetof(InodeMeta, btime) == 0x28 && offsetof(InodeMeta, uid) == 0x30);
static_assert(offsetof(InodeMeta, type) == 0x50 && offsetof(InodeMeta, op_flags) == 0x51);
static_assert(offsetof(InodeMeta, mode) == 0x54 && offsetof(InodeMeta, inum) == 0x58);
static_assert(offsetof(InodeMeta, size) == 0x60 && offsetof(InodeMeta, nlinks) == 0x68);
static_assert(offsetof(InodeMeta, iparent) == 0x70 && offsetof(InodeMeta, name_key) == 0x78);
static_assert(offsetof(InodeMeta, name_len) == 0x80 && offsetof(InodeMeta, comp_algo) == 0x83);
static_assert(offsetof(InodeMeta, check_algo) == 0x85 && offsetof(InodeMeta, pfs_type) == 0x87);
static_assert(offsetof(InodeMeta, pfs_inum) == 0x88 && offsetof(InodeMeta, pfs_clid) == 0x90);
static_assert(offsetof(InodeMeta, pfs_fsid) == 0xa0 && offsetof(InodeMeta, data_quota) == 0xb0);
static_assert(offsetof(InodeMeta, inode_quota) == 0xc0);
static_assert(offsetof(InodeMeta, pfs_lsnap_tid) == 0xd0);
static_assert(offsetof(InodeMeta, reservedE8) == 0xe8);

// hammer2_inode_data: the whole block. `u` holds 4 blockrefs, or file bytes when DIRECTDATA.
struct InodeData {
  InodeMeta meta;                             // 000
  std::array<char, 256> filename{};           // 100
  std::array<std::byte, kEmbeddedBytes> u{};  // 200

  absl::string_view name() const {
    return {filename.data(), meta.name_len <= 255 ? meta.name_len : size_t{255}};
  }
  void set_name(absl::string_view name);  // at most 255 bytes; sets name_len too
  Blockref blockset(int i) const { return LoadAs<Blockref>(u, static_cast<size_t>(i) * 128); }
  void set_blockset(int i, const Blockref& b) {
    StoreAs(ByteSpan(u), b, static_cast<size_t>(i) * 128);
  }
};
static_assert(sizeof(InodeData) == kInodeBytes && std::is_trivially_copyable_v<InodeData>);
static_assert(offsetof(InodeData, filename) == 0x100 && offsetof(InodeData, u) == 0x200);

// Times on media are microseconds since 1970-01-01 UTC.
uint64_t ToMediaTime(absl::Time time);
absl::Time FromMediaTime(uint64_t microseconds);

// The plain uid or gid inside an owner UUID (spec 01 section 7.5).
inline uint32_t OwnerId(const Uuid& owner) { return LoadAs<uint32_t>(owner, 12); }

// "0x" and 16 lower-case hexadecimal digits: the name an ordinary inode carries.
std::string InodeFilename(Inum inum);

}  // namespace h2bd
