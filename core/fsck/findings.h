// What the checker finds: codes, severities, and the report.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace h2bd {

enum class Severity : uint8_t {
  kNote,     // normal for other writers, or worth knowing
  kWarning,  // no data is lost, but it should not be so
  kError,    // damage, or what a reader or writer of the volume will stumble over
};
absl::string_view Name(Severity severity);  // "note", "warning", "error"

// Each class of finding. findings.cc holds the one table with names and severities; README.md
// explains them.
enum class FindingCode : uint8_t {
  // Devices and volume headers
  kDevice,         // no valid header at all, or the device cannot be read
  kVolumeSet,      // the devices do not form one volume (spec 01 section 2.6)
  kHeaderInvalid,  // a slot inside the volume does not validate
  kHeaderBlank,    // a slot inside the volume holds zeros (h2bd fences damaged slots so)
  kHeaderShadow,   // the volume is readable by the shadow copy of its header only
  kHeaderStale,    // a slot holds a header of another volume, or lies past the end of this one
  kHeaderField,    // boot, aux and allocator fields contradict each other
  kHeaderTid,      // freemap_tid is not mirror_tid
  kAllocatorSize,  // allocator_size is not what the sizes demand
  kAllocatorFree,  // allocator_free is not what the freemap holds (spec 02 section 2.7)
  kReserved,       // bytes that must be zero are not
  // Blockrefs and tables
  kRefused,    // the product's own border (core/media/decode.h) refuses it for another reason
  kBrefType,   // a type that its table cannot hold
  kBrefSize,   // radix
  kBrefPlace,  // outside the volume, first 64 KiB, reserved segment, crossing a buffer or chunk,
               // misaligned
  kBrefKeybits,
  kBrefKey,          // not aligned to its keybits, or not a key that the type can have
  kBrefRange,        // outside the range of its table
  kBrefFlags,        // unknown flags, PFSROOT missing or where it should not be
  kTableOrder,       // entries not ascending
  kTableOverlap,     // ranges of two entries overlap, or two have one key
  kIndirectSize,     // not 4, 16 or 64 KiB
  kCompMethod,       // compression nibble of a DATA blockref
  kCheckMethod,      // unknown check method
  kDepth,            // too many levels of indirect blocks
  kRead,             // the device failed
  kCheckCode,        // check code does not match
  kPayload,          // a DATA block does not decompress
  kBlockOverlap,     // two different blocks of one header share bytes
  kBlockTypes,       // one block used as two types
  kSharedUnchecked,  // a block without check code that may be overwritten in place is shared (R12,
                     // R13)
  kMirrorTid,        // a child is newer than its parent, or than the header
  kModifyTid,        // a PFS root's modify_tid is below a child's or its pfs_lsnap_tid (R9)
  kStatistics,       // data_count, inode_count, leaf_count
  // Inodes
  kInodeFields,  // version, type, flags, name and other fields of the block itself
  kInodeNumber,  // meta.inum is not the key
  kDirectdata,   // DIRECTDATA rules (R15)
  kFileSize,     // blocks past the end, size on an inode that has none
  kInodeOrphan,  // no directory entry leads to it
  kNlinks,
  kIparent,
  // Directory entries
  kDirentName,       // length, '/' or NUL, "." and "..", padding
  kDirentHash,       // the key is not in the bucket of the name
  kDirentDuplicate,  // two entries of one directory have one name
  kDirentDangling,   // its inode does not exist
  kDirentType,       // its type is not the inode's
  kDirectoryLinks,   // a directory has two names
  // PFSs
  kSuperRoot,
  kPfsRoot,        // type, nmasters, name
  kPfsClid,        // two PFSs with one pfs_clid (R11)
  kPfsName,        // two PFSs with one name, or a key outside the bucket of its name
  kPfsInum,        // pfs_inum below a number in use (R10)
  kPfsIncomplete,  // damage above kept the names of a PFS from being checked
  // Freemap
  kFreemapTree,        // type, keybits, methods, order, range of a freemap blockref
  kFreemapPlace,       // a freemap block outside its eight places
  kFreemapCell,        // state 01
  kFreemapAvail,       // avail is not what the cells say
  kFreemapLinear,      // linear out of range, or bytes behind it in use
  kFreemapReserved,    // a reserved segment is not fully allocated
  kFreemapUnmarked,    // a block in use is free in the freemap of its header
  kFreemapLag,         // the same for a block newer than freemap_tid: recovery at mount marks it
  kFreemapStaged,      // a block in use is staged by bulkfree
  kFreemapLeak,        // allocated, but no header refers to it
  kFreedUnderOldSlot,  // the newest freemap calls a block free that an older header refers to
  kCodeCount,
};
inline constexpr size_t kFindingCodes = static_cast<size_t>(FindingCode::kCodeCount);

// "block-overlap"; stable, for machines.
absl::string_view Name(FindingCode code);

struct Finding {
  Severity severity = Severity::kNote;
  FindingCode code{};
  int slot = -1;  // header slot that leads here; -1: none in particular
  // Seen through an older header only, on a volume that h2bd need not have written: at most a
  // warning.
  bool old_slot = false;
  std::string place;  // "DATA: inode 1027: indirect 0x0/23: data 0x10000/16"
  std::string text;   // what was found and what is legal
};

// How many blocks of each kind one header leads to.
struct BlockTotals {
  uint64_t inodes = 0, indirects = 0, data = 0, dirents = 0;  // distinct blocks; dirents: entries
  uint64_t freemap_nodes = 0, freemap_leaves = 0;
  uint64_t bytes = 0;  // of the distinct blocks of the topology
};

struct SlotReport {
  int slot = 0;
  uint64_t mirror_tid = 0;
  bool newest = false;
  BlockTotals blocks;
};

struct CheckReport {
  // At most CheckOptions::findings_max; the counts below go on.
  std::vector<Finding> findings;
  std::array<uint64_t, kFindingCodes> by_code{};
  uint64_t errors = 0, warnings = 0, notes = 0;
  std::vector<SlotReport> slots;  // those that were walked, the newest first
  uint64_t leaked_bytes =
      0;  // allocated in the newest freemap, but referred to by no checked header
  uint64_t staged_bytes = 0;  // state 10 in the newest freemap

  bool clean() const { return errors == 0 && warnings == 0; }
  uint64_t count(FindingCode code) const { return by_code[static_cast<size_t>(code)]; }
  // One line per finding of at least `least`, for messages of tests and logs.
  std::string ToString(Severity least = Severity::kWarning) const;
};

}  // namespace h2bd
