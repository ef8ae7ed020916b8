// Constants of the HAMMER2 media format (spec 01 section 1.3, spec 02 section 1.1).
#pragma once

#include <cstdint>

#include "core/base/types.h"

namespace h2bd {

inline constexpr unsigned kRadixMin = 10;  // 1 KiB, smallest block
inline constexpr unsigned kRadixMax = 16;  // 64 KiB, largest block
inline constexpr uint64_t kAllocMin = 1024;
inline constexpr uint64_t kAllocMax = 65536;
inline constexpr unsigned kPbufRadix = 16;
inline constexpr uint64_t kPbufBytes = 65536;     // device buffer
inline constexpr uint64_t kLogicalBytes = 65536;  // logical file block
inline constexpr unsigned kLogicalRadix = 16;

inline constexpr uint64_t kSegBytes = 4 * kMiB;  // freemap level 0 segment
inline constexpr unsigned kSegRadix = 22;
inline constexpr uint64_t kZoneSegBytes = 4 * kMiB;     // reserved head of each 1 GiB range
inline constexpr uint64_t kFreemapLeafSpan = 1 * kGiB;  // range that one freemap leaf covers
inline constexpr unsigned kFreemapLeafRadix = 30;
inline constexpr uint64_t kVolumeHeaderSpacing = 2 * kGiB;  // ZONE_BYTES
inline constexpr uint64_t kVolumeAlign = 8 * kMiB;
inline constexpr uint64_t kVolumeHeaderBytes = 65536;
inline constexpr int kVolumeHeaderSlots = 4;
inline constexpr int kMaxVolumes = 64;
inline constexpr uint64_t kMaxVolumeBytes = (uint64_t{1} << 63) - 1;

inline constexpr uint64_t kBlockrefBytes = 128;
inline constexpr int kBlocksetCount = 4;
inline constexpr uint64_t kEmbeddedBytes = 512;
inline constexpr uint64_t kInodeBytes = 1024;
inline constexpr unsigned kInodeRadix = 10;
inline constexpr unsigned kNameMax = 255;
inline constexpr Inum kInumSuperRoot{0};
inline constexpr Inum kInumPfsRoot{1};
inline constexpr uint64_t kInodeStart = 1024;  // first dynamic inode number

inline constexpr uint64_t kIndirectBytesMin = 4096;
inline constexpr uint64_t kIndirectBytesNom = 16384;
inline constexpr uint64_t kIndirectBytesMax = 65536;

inline constexpr uint64_t kFreemapBlockBytes = 32768;  // every freemap node or leaf
inline constexpr unsigned kFreemapBlockRadix = 15;
inline constexpr int kFreemapEntries = 256;
inline constexpr uint64_t kChunkBytes = 16384;  // what one 2-bit freemap cell stands for
inline constexpr unsigned kChunkRadix = 14;
inline constexpr int kChunksPerSegment = 256;
inline constexpr int kFreemapCopies = 8;    // NFREEMAPS
inline constexpr int kFreemapCopyStep = 5;  // ZONE_FREEMAP_INC

inline constexpr uint64_t kBootMin = 8 * kMiB, kBootNominal = 64 * kMiB, kBootMax = 256 * kMiB;
inline constexpr uint64_t kAuxMin = 8 * kMiB, kAuxNominal = 256 * kMiB, kAuxMax = 1024 * kMiB;

inline constexpr uint64_t kXxhashSeed = 0x4d617474446c6c6e;
inline constexpr uint64_t kVolumeMagic = 0x48414d3205172011;
inline constexpr uint64_t kVolumeMagicSwapped = 0x11201705324d4148;
inline constexpr uint32_t kVolumeVersionSingle = 1;
inline constexpr uint32_t kVolumeVersionMulti = 2;
inline constexpr uint32_t kVolumeVersionWip = 3;  // still accepted on read
inline constexpr Tid kFormatTid{16};              // mirror_tid and freemap_tid after format

inline constexpr uint64_t kDirhashVisible = uint64_t{1} << 63;
inline constexpr uint64_t kDirhashLoMask = 0x7fff;
inline constexpr uint16_t kLeafCountMax = 65535;

// Tables on the way from an inode to a leaf that a walker follows at most (spec 01 section 4.10).
inline constexpr int kMaxTreeDepth = 64;

// Highest mirror_tid or modify_tid that h2bd commits; beyond it a volume is served read-only
// (spec 04 section 11, row 27).
inline constexpr uint64_t kTidLimit = uint64_t{1} << 63;

}  // namespace h2bd
