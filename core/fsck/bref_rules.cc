#include "core/fsck/bref_rules.h"

#include "absl/strings/str_cat.h"
#include "core/media/dirhash.h"
#include "core/media/placement.h"

namespace h2bd {
namespace {

constexpr uint8_t kKnownFlags = kBrefFlagPfsroot | 0x02 | kBrefFlagEmergMip;
constexpr size_t kDirentEmbedUsed = 11;  // inum, namlen, type

bool TypeBelongs(BrefType type, TableKind kind) {
  switch (kind) {
    case TableKind::kSuperRootSet:
      return type == BrefType::kInode;
    case TableKind::kSuperRoot:
      return type == BrefType::kInode || type == BrefType::kIndirect;
    case TableKind::kPfsRoot:
    case TableKind::kDirectory:
      return type == BrefType::kInode || type == BrefType::kDirent || type == BrefType::kIndirect;
    case TableKind::kFile:
      return type == BrefType::kData || type == BrefType::kIndirect;
    case TableKind::kOther:
    case TableKind::kFreemap:
      break;
  }
  return false;
}

class BrefRules {
 public:
  BrefRules(const Blockref& bref, const TableContext& table, const Place& place, FindingLog& log)
      : bref_(bref), table_(table), place_(place), log_(log) {}

  bool Check() {
    if (!TypeBelongs(bref_.type, table_.kind)) {
      Bad(FindingCode::kBrefType,
          absl::StrFormat("type %d cannot stand in this table", static_cast<unsigned>(bref_.type)));
      return false;
    }
    CheckKey();
    CheckSize();
    CheckMethods();
    CheckTids();
    CheckSmallFields();
    if (bref_.data_off.radix() != 0 && usable_) CheckPlace();
    return usable_ && BorderAccepts();
  }

 private:
  // A finding after which the block is not looked at.
  void Bad(FindingCode code, std::string text) {
    usable_ = false;
    Note(code, std::move(text));
  }
  void Note(FindingCode code, std::string text) {
    any_ = true;
    log_.Add(code, place_.ToString(), std::move(text));
  }

  void CheckKey() {
    const unsigned keybits = bref_.keybits;
    const bool indirect = bref_.type == BrefType::kIndirect;
    const unsigned leaf_bits = bref_.type == BrefType::kData ? kLogicalRadix : 0;
    if (indirect ? keybits < 1 || keybits > 63 : keybits != leaf_bits) {
      Bad(FindingCode::kBrefKeybits, absl::StrFormat("keybits %d, legal: %s", keybits,
                                                     indirect ? "1..63" : absl::StrCat(leaf_bits)));
      return;
    }
    if ((bref_.key.v & ((uint64_t{1} << keybits) - 1)) != 0) {
      Bad(FindingCode::kBrefKey, "key is not a multiple of 2^keybits");
      return;
    }
    if (bref_.key < table_.key || bref_.last_key() > table_.last_key() ||
        (indirect && keybits >= table_.keybits)) {
      Bad(FindingCode::kBrefRange,
          absl::StrFormat("outside the range 0x%x/%d of its table", table_.key.v, table_.keybits));
    }
    CheckKeySpace();
  }

  // Names have bit 63 set, inode numbers have it clear (spec 01 section 8.5).
  void CheckKeySpace() {
    const bool visible = (bref_.key.v & kDirhashVisible) != 0;
    if (table_.kind == TableKind::kSuperRootSet) {
      if (bref_.key.v != 0) Bad(FindingCode::kBrefKey, "the super-root has key 0");
    } else if (bref_.type == BrefType::kDirent || table_.kind == TableKind::kSuperRoot) {
      if (!visible && bref_.type != BrefType::kIndirect) {
        Bad(FindingCode::kBrefKey, "a name hash has bit 63 set");
      }
    }
  }

  void CheckSize() {
    const unsigned radix = bref_.data_off.radix();
    switch (bref_.type) {
      case BrefType::kInode:
        if (radix != kInodeRadix) Bad(FindingCode::kBrefSize, Radix("10"));
        break;
      case BrefType::kDirent: {
        const unsigned namlen = bref_.dirent_namlen();
        const bool in_block = namlen > kDirentInlineNameMax;
        if (namlen < 1 || namlen > kNameMax) {
          Bad(FindingCode::kDirentName, absl::StrFormat("name of %d bytes, legal: 1..255", namlen));
        } else if (in_block && radix != kInodeRadix) {
          Bad(FindingCode::kBrefSize, Radix("10 for a name above 64 bytes"));
        } else if (!in_block && bref_.data_off.raw != 0) {
          Bad(FindingCode::kBrefSize, "a name of up to 64 bytes has no block");
        }
        break;
      }
      case BrefType::kIndirect:
        if (radix < kRadixMin || radix > kRadixMax) {
          Bad(FindingCode::kBrefSize, Radix("12, 14, 16"));
        } else if (radix != 12 && radix != 14 && radix != 16) {
          Note(FindingCode::kIndirectSize, Radix("12, 14, 16"));
        }
        break;
      default:
        if (radix < kRadixMin || radix > kRadixMax) Bad(FindingCode::kBrefSize, Radix("10..16"));
        break;
    }
  }
  std::string Radix(absl::string_view legal) const {
    return absl::StrFormat("radix %d, legal: %s", bref_.data_off.radix(), legal);
  }

  void CheckMethods() {
    if (bref_.data_off.radix() != 0 && bref_.check_method() > CheckMethod::kSha192) {
      Bad(FindingCode::kCheckMethod, absl::StrFormat("check method %d, legal: 0..4",
                                                     static_cast<unsigned>(bref_.check_method())));
    }
    if (bref_.type != BrefType::kData) return;
    const CompMethod comp = bref_.comp_method();
    if (comp != CompMethod::kNone && comp != CompMethod::kLz4 && comp != CompMethod::kZlib) {
      Bad(FindingCode::kCompMethod,
          absl::StrFormat("compression method %d, legal: 0, 2, 3", static_cast<unsigned>(comp)));
    }
  }

  void CheckTids() {
    if (bref_.mirror_tid > table_.parent_tid) {
      Note(FindingCode::kMirrorTid, absl::StrFormat("mirror_tid %d, the parent has %d",
                                                    bref_.mirror_tid.v, table_.parent_tid.v));
    }
  }

  void CheckSmallFields() {
    const bool pfs_root = bref_.type == BrefType::kInode && table_.kind == TableKind::kSuperRoot;
    if (((bref_.flags & kBrefFlagPfsroot) != 0) != pfs_root) {
      Note(FindingCode::kBrefFlags,
           pfs_root ? "flag PFSROOT is missing" : "flag PFSROOT on what is no PFS root");
    }
    if ((bref_.flags & ~kKnownFlags) != 0) {
      Note(FindingCode::kBrefFlags, absl::StrFormat("unknown flags 0x%02x", bref_.flags));
    }
    if (bref_.update_tid.v != 0) Note(FindingCode::kReserved, "update_tid is not zero");
    const bool leaf = bref_.type == BrefType::kData || bref_.type == BrefType::kDirent;
    if (leaf && bref_.leaf_count != 0) Note(FindingCode::kReserved, "leaf_count is not zero");
    const size_t embed_used = bref_.type == BrefType::kData     ? 0
                              : bref_.type == BrefType::kDirent ? kDirentEmbedUsed
                                                                : bref_.embed.size();
    if (!IsAllZero(ConstByteSpan(bref_.embed).subspan(embed_used))) {
      Note(FindingCode::kReserved, "unused bytes of the embed area are not zero");
    }
  }

  void CheckPlace() {
    const VolumeData& header = *table_.header;
    const absl::Status placed = CheckPlacement(bref_.data_off, header.address_space());
    if (!placed.ok()) {
      Bad(FindingCode::kBrefPlace, std::string(placed.message()));
      return;
    }
    const uint64_t off = bref_.data_off.offset().v;
    if (off >= RoundUp(header.allocator_beg, kSegBytes)) return;
    // Only what format wrote lies below: the super-root and the first PFS roots.
    const bool initial =
        bref_.type == BrefType::kInode && off < header.allocator_beg && off >= header.aux_end &&
        (table_.kind == TableKind::kSuperRootSet || table_.kind == TableKind::kSuperRoot);
    if (!initial) {
      Note(FindingCode::kBrefPlace,
           absl::StrFormat("data_off 0x%x lies below the first segment that is given out, 0x%x",
                           bref_.data_off.raw, RoundUp(header.allocator_beg, kSegBytes)));
    }
  }

  // Whatever stops the engine is damage, also where no rule above has a name for it.
  bool BorderAccepts() {
    const absl::Status border = CheckBlockref(bref_, table_.kind, table_.key, table_.keybits,
                                              table_.header->address_space());
    if (!border.ok() && !any_) Bad(FindingCode::kRefused, std::string(border.message()));
    return border.ok();
  }

  const Blockref& bref_;
  const TableContext& table_;
  const Place& place_;
  FindingLog& log_;
  bool usable_ = true;
  bool any_ = false;
};

}  // namespace

void CheckEmptySlot(const Blockref& bref, const Place& place, FindingLog& log) {
  if (bref == Blockref{}) return;
  if (bref.data_off.raw != 0) {
    log.Add(FindingCode::kBrefType, place.ToString(),
            absl::StrFormat("an empty slot with data_off 0x%x", bref.data_off.raw));
  } else {
    log.Add(FindingCode::kReserved, place.ToString(), "an empty slot is not all zero");
  }
}

bool CheckBrefRules(const Blockref& bref, const TableContext& table, const Place& place,
                    FindingLog& log) {
  return BrefRules(bref, table, place, log).Check();
}

void CheckDirentName(const Blockref& bref, absl::string_view name, const Place& place,
                     FindingLog& log) {
  const absl::Status legal = CheckName(name, "directory entry");
  if (!legal.ok()) {
    log.Add(FindingCode::kDirentName, place.ToString(), std::string(legal.message()));
    return;
  }
  const Key hash = Dirhash(name);
  if (((bref.key.v ^ hash.v) & ~kDirhashLoMask) != 0) {
    log.Add(FindingCode::kDirentHash, place.ToString(),
            absl::StrFormat("the name hashes to 0x%x, legal keys: up to 0x%x", hash.v,
                            hash.v + kDirhashLoMask));
  }
}

}  // namespace h2bd
