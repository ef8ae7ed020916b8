// The volume header (spec 01 section 3).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/media/blockref.h"
#include "core/media/inode_data.h"

namespace h2bd {

// 5cbb9ad1-862d-11dc-a94d-01301bb8a9f5 in the byte order of the media.
inline constexpr Uuid kFstypeUuid = {
    std::byte{0xd1}, std::byte{0x9a}, std::byte{0xbb}, std::byte{0x5c},
    std::byte{0x2d}, std::byte{0x86}, std::byte{0xdc}, std::byte{0x11},
    std::byte{0xa9}, std::byte{0x4d}, std::byte{0x01}, std::byte{0x30},
    std::byte{0x1b}, std::byte{0xb8}, std::byte{0xa9}, std::byte{0xf5}};

// hammer2_volume_data: 64 KiB. Live where it is declared: hold it on the heap.
struct VolumeData {
  uint64_t magic = kVolumeMagic;                // 0000
  uint64_t boot_beg = 0;                        // 0008
  uint64_t boot_end = 0;                        // 0010
  uint64_t aux_beg = 0;                         // 0018
  uint64_t aux_end = 0;                         // 0020
  uint64_t volu_size = 0;                       // 0028
  uint32_t version = 0;                         // 0030
  uint32_t flags = 0;                           // 0034
  uint8_t copyid = 0;                           // 0038
  uint8_t freemap_version = 0;                  // 0039
  uint8_t peer_type = 0;                        // 003a
  uint8_t volu_id = 0;                          // 003b
  uint8_t nvolumes = 0;                         // 003c
  uint8_t reserved003D = 0;                     // 003d
  uint16_t reserved003E = 0;                    // 003e
  Uuid fsid{};                                  // 0040
  Uuid fstype{};                                // 0050
  uint64_t allocator_size = 0;                  // 0060
  uint64_t allocator_free = 0;                  // 0068
  uint64_t allocator_beg = 0;                   // 0070
  Tid mirror_tid;                               // 0078
  uint64_t reserved0080 = 0;                    // 0080
  uint64_t reserved0088 = 0;                    // 0088
  Tid freemap_tid;                              // 0090
  Tid bulkfree_tid;                             // 0098
  std::array<uint64_t, 4> reserved00A0{};       // 00a0
  uint64_t total_size = 0;                      // 00c0
  std::array<uint32_t, 8> copyexists{};         // 00c8
  std::array<std::byte, 248> reserved00E8{};    // 00e8
  std::array<uint32_t, 8> icrc_sects{};         // 01e0
  std::array<Blockref, 4> sroot_blockset{};     // 0200
  std::array<std::byte, 512> sector2{};         // 0400
  std::array<std::byte, 512> sector3{};         // 0600
  std::array<Blockref, 4> freemap_blockset{};   // 0800
  std::array<std::byte, 512> sector5{};         // 0a00
  std::array<std::byte, 512> sector6{};         // 0c00
  std::array<uint64_t, 64> volu_loff{};         // 0e00
  std::array<std::byte, 32768> copyinfo{};      // 1000
  std::array<std::byte, 28668> reserved9000{};  // 9000
  uint32_t icrc_volheader = 0;                  // fffc

  // Bytes of the address space: total_size from version 2 on, volu_size in version 1.
  uint64_t address_space() const { return version >= 2 ? total_size : volu_size; }
};
static_assert(sizeof(VolumeData) == kVolumeHeaderBytes);
static_assert(std::is_trivially_copyable_v<VolumeData>);
static_assert(std::has_unique_object_representations_v<VolumeData>);
static_assert(offsetof(VolumeData, volu_size) == 0x28 && offsetof(VolumeData, version) == 0x30);
static_assert(offsetof(VolumeData, volu_id) == 0x3b && offsetof(VolumeData, nvolumes) == 0x3c);
static_assert(offsetof(VolumeData, fsid) == 0x40 && offsetof(VolumeData, fstype) == 0x50);
static_assert(offsetof(VolumeData, allocator_size) == 0x60);
static_assert(offsetof(VolumeData, allocator_free) == 0x68);
static_assert(offsetof(VolumeData, allocator_beg) == 0x70);
static_assert(offsetof(VolumeData, mirror_tid) == 0x78);
static_assert(offsetof(VolumeData, freemap_tid) == 0x90);
static_assert(offsetof(VolumeData, total_size) == 0xc0);
static_assert(offsetof(VolumeData, copyexists) == 0xc8);
static_assert(offsetof(VolumeData, icrc_sects) == 0x1e0);
static_assert(offsetof(VolumeData, sroot_blockset) == 0x200);
static_assert(offsetof(VolumeData, freemap_blockset) == 0x800);
static_assert(offsetof(VolumeData, volu_loff) == 0xe00);
static_assert(offsetof(VolumeData, copyinfo) == 0x1000);
static_assert(offsetof(VolumeData, reserved9000) == 0x9000);
static_assert(offsetof(VolumeData, icrc_volheader) == 0xfffc);

// Computes the three CRCs in the order that spec 01 section 3.2 demands.
void SealVolumeData(VolumeData& header);

}  // namespace h2bd
