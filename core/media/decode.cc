#include "core/media/decode.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/media/corrupt.h"
#include "core/media/placement.h"

namespace h2bd {
namespace {

constexpr uint64_t kInumLimit = uint64_t{1} << 63;

absl::string_view Name(TableKind kind) {
  switch (kind) {
    case TableKind::kSuperRootSet:
      return "sroot_blockset";
    case TableKind::kSuperRoot:
      return "super-root";
    case TableKind::kPfsRoot:
      return "PFS root";
    case TableKind::kDirectory:
      return "directory";
    case TableKind::kFile:
      return "file";
    case TableKind::kOther:
      return "special file";
    case TableKind::kFreemap:
      return "freemap";
  }
  return "unknown";
}

absl::string_view LegalTypes(TableKind kind) {
  switch (kind) {
    case TableKind::kSuperRootSet:
      return "1 inode";
    case TableKind::kSuperRoot:
      return "0 empty, 1 inode, 2 indirect";
    case TableKind::kPfsRoot:
    case TableKind::kDirectory:
      return "0 empty, 1 inode, 2 indirect, 4 dirent";
    case TableKind::kFile:
      return "0 empty, 2 indirect, 3 data";
    case TableKind::kOther:
      return "0 empty";
    case TableKind::kFreemap:
      return "0 empty, 5 freemap_node, 6 freemap_leaf";
  }
  return "none";
}

bool TypeIsLegal(BrefType type, TableKind kind) {
  switch (type) {
    case BrefType::kInode:
      return kind == TableKind::kSuperRootSet || kind == TableKind::kSuperRoot ||
             kind == TableKind::kPfsRoot || kind == TableKind::kDirectory;
    case BrefType::kIndirect:
      return kind == TableKind::kSuperRoot || kind == TableKind::kPfsRoot ||
             kind == TableKind::kDirectory || kind == TableKind::kFile;
    case BrefType::kData:
      return kind == TableKind::kFile;
    case BrefType::kDirent:
      return kind == TableKind::kPfsRoot || kind == TableKind::kDirectory;
    case BrefType::kFreemapNode:
    case BrefType::kFreemapLeaf:
      return kind == TableKind::kFreemap;
    case BrefType::kEmpty:
    case BrefType::kInvalid:
    case BrefType::kFreemap:
    case BrefType::kVolume:
      break;
  }
  return false;
}

// One non-empty blockref at the border: the checks, and how a message names the place.
class Border {
 public:
  Border(const Blockref& bref, TableKind kind, Key table_key, unsigned table_keybits,
         uint64_t total_size)
      : bref_(bref),
        kind_(kind),
        table_key_(table_key),
        table_keybits_(table_keybits),
        total_size_(total_size) {}

  absl::Status Check() const {
    if (!TypeIsLegal(bref_.type, kind_)) {
      return Bad("type", static_cast<uint64_t>(bref_.type), LegalTypes(kind_));
    }
    H2_RETURN_IF_ERROR(CheckKeybits());
    H2_RETURN_IF_ERROR(CheckKey());
    H2_RETURN_IF_ERROR(CheckRadix());
    if (bref_.type == BrefType::kDirent) H2_RETURN_IF_ERROR(CheckDirentHead());
    if (kind_ == TableKind::kFreemap) return CheckFreemap();
    if (bref_.type == BrefType::kData) H2_RETURN_IF_ERROR(CheckCompression());
    if (bref_.data_off.radix() == 0) return absl::OkStatus();
    const absl::Status placement = CheckPlacement(bref_.data_off, total_size_);
    return placement.ok() ? placement : Annotate(placement, Place());
  }

 private:
  std::string Place() const {
    return absl::StrFormat("blockref %s in the %s table 0x%x/%d", Describe(bref_), Name(kind_),
                           table_key_.v, table_keybits_);
  }
  absl::Status Bad(absl::string_view field, uint64_t found, absl::string_view legal) const {
    return Corrupt(Place(), field, found, legal);
  }

  absl::Status CheckKeybits() const {
    const unsigned keybits = bref_.keybits;
    switch (bref_.type) {
      case BrefType::kIndirect:
        if (keybits >= 1 && keybits <= 63) return absl::OkStatus();
        return Bad("keybits", keybits, "1..63");
      case BrefType::kData:
        if (keybits == kLogicalRadix) return absl::OkStatus();
        return Bad("keybits", keybits, "16");
      case BrefType::kFreemapLeaf:
        if (keybits == kFreemapLeafRadix) return absl::OkStatus();
        return Bad("keybits", keybits, "30");
      case BrefType::kFreemapNode:
        if (FreemapLevel(keybits) >= 1) return absl::OkStatus();
        return Bad("keybits", keybits, "38, 46, 54, 62");
      default:
        if (keybits == 0) return absl::OkStatus();
        return Bad("keybits", keybits, "0");
    }
  }

  // Alignment, then the range of the table, then what the type says about keys.
  absl::Status CheckKey() const {
    const uint64_t key = bref_.key.v;
    if ((key & ((uint64_t{1} << bref_.keybits) - 1)) != 0) {
      return Bad("key", key, "a multiple of 2^keybits");
    }
    const uint64_t table_last =
        table_keybits_ >= 64 ? UINT64_MAX : table_key_.v + ((uint64_t{1} << table_keybits_) - 1);
    if (key < table_key_.v || bref_.last_key().v > table_last) {
      return Bad("key", key, absl::StrFormat("range within 0x%x..0x%x", table_key_.v, table_last));
    }
    if (kind_ == TableKind::kSuperRootSet && key != 0) return Bad("key", key, "0");
    const bool visible = (key & kDirhashVisible) != 0;
    const bool must_be_visible =
        bref_.type == BrefType::kDirent ||
        (bref_.type == BrefType::kInode &&
         (kind_ == TableKind::kSuperRoot || kind_ == TableKind::kDirectory));
    if (must_be_visible && !visible) return Bad("key", key, "bit 63 set");
    return absl::OkStatus();
  }

  absl::Status CheckRadix() const {
    const unsigned radix = bref_.data_off.radix();
    switch (bref_.type) {
      case BrefType::kInode:
        if (radix == kInodeRadix) return absl::OkStatus();
        return Bad("radix", radix, "10");
      case BrefType::kDirent: {
        const bool in_block = bref_.dirent_namlen() > kDirentInlineNameMax;
        if (in_block && radix != kInodeRadix)
          return Bad("radix", radix, "10 for a name > 64 bytes");
        if (!in_block && bref_.data_off.raw != 0) {
          return Bad("data_off", bref_.data_off.raw, "0 for a name <= 64 bytes");
        }
        return absl::OkStatus();
      }
      case BrefType::kFreemapNode:
      case BrefType::kFreemapLeaf:
        if (radix == kFreemapBlockRadix) return absl::OkStatus();
        return Bad("radix", radix, "15");
      default:
        if (radix >= kRadixMin && radix <= kRadixMax) return absl::OkStatus();
        return Bad("radix", radix, "10..16");
    }
  }

  absl::Status CheckDirentHead() const {
    const unsigned namlen = bref_.dirent_namlen();
    if (namlen < 1 || namlen > kNameMax) return Bad("namlen", namlen, "1..255");
    const uint64_t inum = bref_.dirent_inum().v;
    if (inum >= kInumLimit) return Bad("inum", inum, "bit 63 clear");
    // Only readdir shows it; a value of older media may be unused today.
    const unsigned type = bref_.dirent_type();
    if (type > static_cast<unsigned>(ObjectType::kWhiteout))
      return Bad("dirent type", type, "0..10");
    return absl::OkStatus();
  }

  absl::Status CheckCompression() const {
    switch (bref_.comp_method()) {
      case CompMethod::kNone:
      case CompMethod::kLz4:
      case CompMethod::kZlib:
        return absl::OkStatus();
      case CompMethod::kAutozero:
        break;
    }
    return Bad("comp", static_cast<uint64_t>(bref_.comp_method()), "0 none, 2 lz4, 3 zlib");
  }

  absl::Status CheckFreemap() const {
    if (bref_.check_method() != CheckMethod::kFreemap) {
      return Bad("check method", static_cast<uint64_t>(bref_.check_method()), "5 freemap");
    }
    if (FreemapCopyOf(bref_.data_off, bref_.key, bref_.keybits) < 0) {
      return Bad("data_off", bref_.data_off.raw, "one of the 8 places of this range and level");
    }
    // The place lies a few MiB above the key, so this also keeps it from wrapping.
    const uint64_t bytes = bref_.data_off.bytes();
    if (bytes > total_size_ || bref_.data_off.offset().v > total_size_ - bytes) {
      return Bad("data_off", bref_.data_off.raw,
                 absl::StrFormat("block ends by 0x%x", total_size_));
    }
    return absl::OkStatus();
  }

  const Blockref& bref_;
  const TableKind kind_;
  const Key table_key_;
  const unsigned table_keybits_;
  const uint64_t total_size_;
};

}  // namespace

std::string Describe(const Blockref& bref) {
  return absl::StrFormat("type=%s key=0x%016x keybits=%d data_off=0x%x", Name(bref.type),
                         bref.key.v, bref.keybits, bref.data_off.raw);
}

std::string InlineDirentName(const Blockref& bref) {
  H2_ASSERT(bref.type == BrefType::kDirent && bref.dirent_namlen() <= kDirentInlineNameMax);
  return std::string(AsText(ConstByteSpan(bref.check).first(bref.dirent_namlen())));
}

absl::Status CheckBlockref(const Blockref& bref, TableKind kind, Key table_key,
                           unsigned table_keybits, uint64_t total_size) {
  if (bref.empty()) {
    if (bref.data_off.raw == 0) return absl::OkStatus();
    return Corrupt(absl::StrFormat("blockref %s in the %s table 0x%x/%d", Describe(bref),
                                   Name(kind), table_key.v, table_keybits),
                   "data_off", bref.data_off.raw, "0 in an empty slot");
  }
  return Border(bref, kind, table_key, table_keybits, total_size).Check();
}

absl::StatusOr<std::vector<Blockref>> DecodeTable(ConstByteSpan raw, TableKind kind, Key table_key,
                                                  unsigned table_keybits, uint64_t total_size) {
  H2_ASSERT(raw.size() % kBlockrefBytes == 0);
  std::vector<Blockref> entries;
  for (size_t at = 0; at < raw.size(); at += kBlockrefBytes) {
    const auto bref = LoadAs<Blockref>(raw, at);
    const auto slot = [&] { return absl::StrCat("slot ", at / kBlockrefBytes); };
    const absl::Status status = CheckBlockref(bref, kind, table_key, table_keybits, total_size);
    if (!status.ok()) return Annotate(status, slot());
    if (bref.empty()) continue;
    if (!entries.empty() && bref.key <= entries.back().last_key()) {
      return Corrupt(
          absl::StrFormat("%s table 0x%x/%d, %s", Name(kind), table_key.v, table_keybits, slot()),
          "key", bref.key.v,
          absl::StrFormat("above 0x%x, the end of the entry before", entries.back().last_key().v));
    }
    entries.push_back(bref);
  }
  if (kind == TableKind::kSuperRootSet && entries.empty()) {
    return Corrupt("sroot_blockset", "entries", 0, "1, the super-root");
  }
  return entries;
}

TableKind TableKindOf(const InodeData& inode) {
  switch (inode.meta.type) {
    case ObjectType::kDirectory:
      if (inode.meta.inum == kInumSuperRoot) return TableKind::kSuperRoot;
      return inode.meta.pfsroot() ? TableKind::kPfsRoot : TableKind::kDirectory;
    case ObjectType::kRegfile:
    case ObjectType::kSoftlink:
      return TableKind::kFile;
    default:
      return TableKind::kOther;
  }
}

absl::StatusOr<std::unique_ptr<FreemapLeafData>> DecodeFreemapLeaf(ConstByteSpan raw) {
  H2_ASSERT(raw.size() == sizeof(FreemapLeafData));
  auto leaf = std::make_unique<FreemapLeafData>(LoadAs<FreemapLeafData>(raw));
  for (size_t i = 0; i < leaf->size(); ++i) {
    const BmapData& segment = (*leaf)[i];
    const auto corrupt = [&](absl::string_view field, uint64_t found, absl::string_view legal) {
      return Corrupt(absl::StrCat("freemap leaf, segment ", i), field, found, legal);
    };
    // Out of range or off the 1 KiB grid it would hand out blocks that cross a chunk.
    if (segment.linear < 0 || segment.linear > kLinearOff ||
        static_cast<uint64_t>(segment.linear) % kAllocMin != 0) {
      return corrupt("linear", static_cast<uint32_t>(segment.linear),
                     "0..0x400000, a multiple of 1 KiB");
    }
    if (segment.avail > kSegBytes || segment.avail % kChunkBytes != 0) {
      return corrupt("avail", segment.avail, "0..0x400000, a multiple of 16 KiB");
    }
    for (const uint64_t word : segment.bitmapq) {
      // A low bit without its high bit is state 01.
      constexpr uint64_t kLowBits = 0x5555555555555555;
      if ((word & kLowBits & ~(word >> 1)) != 0) {
        return corrupt("bitmap word", word, "chunk states 00, 10, 11");
      }
    }
  }
  return leaf;
}

}  // namespace h2bd
