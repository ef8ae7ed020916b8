// The border: bytes from media become values only here, and every field that later code relies on
// is checked here once (spec 01 section 4.10). All errors are kDataLoss with place, field and what
// is legal, except where a function says otherwise.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/media/blockref.h"
#include "core/media/freemap_data.h"
#include "core/media/inode_data.h"
#include "core/media/volume_data.h"

namespace h2bd {

// What owns a table decides what may stand in it (spec 03 section 2.1).
enum class TableKind {
  kSuperRootSet,  // sroot_blockset: one INODE at key 0
  kSuperRoot,     // INODE (PFS roots), INDIRECT
  kPfsRoot,       // INODE with bit 63 clear, DIRENT, INDIRECT
  kDirectory,     // DIRENT, INDIRECT; INODE with bit 63 set is accepted as a legacy entry
  kFile,          // DATA, INDIRECT
  kOther,         // fifo, device, socket: nothing
  kFreemap,       // FREEMAP_NODE, FREEMAP_LEAF
};

// A raw volume header: magic, the three CRCs, version, fstype, sizes and offsets of this one header
// (spec 01 sections 2.6, 2.7 and 3.2); what must agree between volumes is volhdr's.
// kFailedPrecondition for the other byte order and for an unknown version; kDataLoss for the rest.
absl::Status CheckVolumeHeader(const VolumeData& header);

// One blockref found in a table of `kind` that covers [table_key, table_key + 2^table_keybits);
// table_keybits 64 for the whole key space. Checks type, radix, placement, keybits, key alignment,
// range, compression nibble, dirent head. EMPTY passes when its data_off is 0. Statistics, TIDs,
// flags and reserved bytes are not looked at; the check method is VerifyCheck's, except that a
// freemap blockref must carry FREEMAP. An INDIRECT may cover all of the table that holds it, so
// this does not bound the depth of a tree: whoever descends stops at kMaxTreeDepth.
absl::Status CheckBlockref(const Blockref& bref, TableKind kind, Key table_key,
                           unsigned table_keybits, uint64_t total_size);

// A table: checks each entry, ascending order and disjoint ranges (spec 01 T1..T5), and returns the
// non-empty entries compacted to the front.
absl::StatusOr<std::vector<Blockref>> DecodeTable(ConstByteSpan raw, TableKind kind, Key table_key,
                                                  unsigned table_keybits, uint64_t total_size);

// An inode block, 1024 bytes, reached through `bref`. Checks version, type, name_len, the
// DIRECTDATA rules and what the place demands: `indexed` (found in the index of a PFS, bit 63 of
// the key clear) means meta.inum == key; otherwise key 0 is the super-root, PFSROOT in the flags of
// the blockref or the inode means a PFS root (directory, inum 1, proper label), and anything else
// is a legacy directory entry. Its blockset is not looked at: DecodeTable over `u` does that,
// unless meta.directdata().
absl::StatusOr<InodeData> DecodeInode(ConstByteSpan raw, const Blockref& bref, bool indexed);

// What the table of this inode, which DecodeInode accepted, may hold.
TableKind TableKindOf(const InodeData& inode);

// A freemap leaf, 32 KiB. No chunk in state 01, `linear` in 0..4 MiB on the 1 KiB grid, `avail` a
// multiple of 16 KiB up to 4 MiB. `avail` need not match the bitmap and a `class` may be anything
// (spec 02 section 2).
absl::StatusOr<std::unique_ptr<FreemapLeafData>> DecodeFreemapLeaf(ConstByteSpan raw);

// The name of a DIRENT with a namlen of at most 64.
std::string InlineDirentName(const Blockref& bref);

// "type=inode key=0x… keybits=… data_off=0x…" for messages.
std::string Describe(const Blockref& bref);

}  // namespace h2bd
