#include "core/chain/table_shape.h"

#include <algorithm>
#include <bit>

namespace h2bd {
namespace {

constexpr uint64_t Low(unsigned bits) {  // a mask of the low `bits`, at most 63
  return (uint64_t{1} << bits) - 1;
}

// Lowest `bits` at which both keys lie in one aligned range of 2^bits keys; 64 when they differ in
// bit 63.
unsigned CommonBits(Key a, Key b) { return static_cast<unsigned>(std::bit_width(a.v ^ b.v)); }

// The smallest entries, joined: `new_slots` neighbours of the smallest one fill one table.
KeyRange FileRange(std::span<const Blockref> entries, size_t new_slots) {
  const auto smallest = std::ranges::min_element(entries, {}, &Blockref::keybits);
  const unsigned keybits =
      std::min(63u, smallest->keybits + static_cast<unsigned>(std::countr_zero(new_slots)));
  return {Key(smallest->key.v & ~Low(keybits)), keybits};
}

// Entries on both sides of one bit of the key space around `inserted`.
class Halves {
 public:
  explicit Halves(Key inserted) : inserted_(inserted) {}
  // The range around `inserted` now has 2^bits keys; what was counted lies on its own side.
  void Widen(unsigned bits) {
    bits_ = bits;
    if (Upper(inserted_)) {
      upper_ += lower_;
      lower_ = 0;
    } else {
      lower_ += upper_;
      upper_ = 0;
    }
  }
  void Count(Key key) { ++(Upper(key) ? upper_ : lower_); }
  unsigned bits() const { return bits_; }
  // The fuller half, the lower one when both are equal.
  KeyRange Fuller() const {
    const unsigned keybits = bits_ - 1;
    const uint64_t half = uint64_t{1} << keybits;
    const uint64_t start = inserted_.v & ~(half | Low(keybits));
    return {Key(upper_ > lower_ ? start | half : start), keybits};
  }

 private:
  bool Upper(Key key) const { return (key.v >> (bits_ - 1) & 1) != 0; }
  const Key inserted_;
  unsigned bits_ = 0;
  size_t lower_ = 0;
  size_t upper_ = 0;
};

KeyRange DirectoryRange(std::span<const Blockref> entries, Key inserted, size_t new_slots) {
  Halves halves(inserted);
  for (const Blockref& entry : entries) {
    const unsigned bits =
        std::max({halves.bits(), unsigned{entry.keybits}, CommonBits(inserted, entry.key)});
    if (bits != halves.bits()) halves.Widen(bits);
    halves.Count(entry.key);
  }
  // A table for fewer keys than it has slots would never fill: so a linear index gets full tables.
  while (uint64_t{1} << (halves.bits() - 1) < new_slots) halves.Widen(halves.bits() + 1);
  return halves.Fuller();
}

}  // namespace

ChainStats StatsOf(std::span<const Blockref> entries) {
  ChainStats sum;
  uint64_t leaves = 0;
  for (const Blockref& entry : entries) {
    sum.data_count += entry.data_off.bytes();
    if (entry.type == BrefType::kInode || entry.type == BrefType::kIndirect) {
      sum.data_count += entry.data_count();
      sum.inode_count += entry.inode_count();
    }
    if (entry.type == BrefType::kInode) ++sum.inode_count;
    leaves += entry.type == BrefType::kIndirect ? entry.leaf_count : 1;
  }
  sum.leaf_count = static_cast<uint16_t>(std::min<uint64_t>(leaves, kLeafCountMax));
  return sum;
}

void SetStats(Blockref& bref, const ChainStats& stats) {
  bref.set_data_count(stats.data_count);
  bref.set_inode_count(stats.inode_count);
  bref.leaf_count = stats.leaf_count;
}

Tid HighestModifyTid(std::span<const Blockref> entries) {
  Tid highest;
  for (const Blockref& entry : entries) highest = std::max(highest, entry.modify_tid);
  return highest;
}

size_t LegalSlots(size_t slots) {
  for (const uint64_t bytes : {kIndirectBytesMin, kIndirectBytesNom}) {
    if (slots <= bytes / kBlockrefBytes) return bytes / kBlockrefBytes;
  }
  return kIndirectBytesMax / kBlockrefBytes;
}

size_t NewTableSlots(TableKind kind, bool under_inode, size_t parent_slots) {
  const uint64_t bytes =
      under_inode && kind != TableKind::kFile ? kIndirectBytesMin : kIndirectBytesNom;
  return std::max<size_t>(bytes / kBlockrefBytes, LegalSlots(parent_slots));
}

KeyRange SplitRange(TableKind kind, std::span<const Blockref> entries, Key inserted,
                    size_t new_slots) {
  H2_ASSERT(!entries.empty());
  return kind == TableKind::kFile ? FileRange(entries, new_slots)
                                  : DirectoryRange(entries, inserted, new_slots);
}

}  // namespace h2bd
