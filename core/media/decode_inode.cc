#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/media/corrupt.h"
#include "core/media/decode.h"

namespace h2bd {
namespace {

constexpr uint64_t kBit63 = uint64_t{1} << 63;
constexpr uint8_t kPfsTypeMask = 0x0f;  // the high nibble names a transition target

// The four places where an inode can stand have their own rules.
class InodeBorder {
 public:
  InodeBorder(const InodeData& inode, const Blockref& bref) : inode_(inode), bref_(bref) {}

  absl::Status CheckCommon() const {
    const InodeMeta& meta = inode_.meta;
    if (meta.version != 1) return Bad("version", meta.version, "1");
    if (!IsKnown(meta.type)) {
      return Bad("type", static_cast<uint64_t>(meta.type), "1, 2, 4..7, 9, 10");
    }
    if (meta.name_len > kNameMax) return Bad("name_len", meta.name_len, "0..255");
    if (!meta.directdata()) return absl::OkStatus();
    if (meta.type != ObjectType::kRegfile && meta.type != ObjectType::kSoftlink) {
      return Bad("op_flags", meta.op_flags, "DIRECTDATA only on a regular file or softlink");
    }
    if (meta.size > kEmbeddedBytes) return Bad("size", meta.size, "0..512 with DIRECTDATA");
    return absl::OkStatus();
  }

  absl::Status CheckIndexed() const {
    const InodeMeta& meta = inode_.meta;
    if (meta.inum.v != bref_.key.v) {
      return Bad("inum", meta.inum.v, "the key of its blockref");
    }
    if (meta.name_key.v >= kBit63) return Bad("name_key", meta.name_key.v, "bit 63 clear");
    return CheckOrdinary();
  }

  absl::Status CheckSuperRoot() const {
    const InodeMeta& meta = inode_.meta;
    H2_RETURN_IF_ERROR(CheckIsDirectory());
    if (meta.inum != kInumSuperRoot) return Bad("inum", meta.inum.v, "0 for the super-root");
    if ((meta.pfs_type & kPfsTypeMask) != kPfsTypeSuproot) {
      return Bad("pfs_type", meta.pfs_type, "8 for the super-root");
    }
    return absl::OkStatus();
  }

  absl::Status CheckPfsRoot() const {
    const InodeMeta& meta = inode_.meta;
    H2_RETURN_IF_ERROR(CheckIsDirectory());
    if (!meta.pfsroot()) return Bad("op_flags", meta.op_flags, "PFSROOT, as its blockref says");
    if (meta.inum != kInumPfsRoot) return Bad("inum", meta.inum.v, "1 for a PFS root");
    if (meta.name_len == 0) return Bad("name_len", meta.name_len, "1..255 for a PFS root");
    // Others read the label up to the first NUL.
    if (inode_.name().find('\0') != absl::string_view::npos ||
        inode_.filename[meta.name_len] != '\0') {
      return Bad("name_len", meta.name_len, "the place of the first NUL of the label");
    }
    return absl::OkStatus();
  }

  // An inode below a PFS root: indexed by number, or itself the entry of a directory.
  absl::Status CheckOrdinary() const {
    const InodeMeta& meta = inode_.meta;
    if (meta.inum <= kInumPfsRoot || meta.inum.v >= kBit63) {
      return Bad("inum", meta.inum.v, "2..2^63-1");
    }
    if (meta.pfsroot()) return Bad("op_flags", meta.op_flags, "PFSROOT only below the super-root");
    return absl::OkStatus();
  }

 private:
  absl::Status CheckIsDirectory() const {
    if (inode_.meta.type == ObjectType::kDirectory) return absl::OkStatus();
    return Bad("type", static_cast<uint64_t>(inode_.meta.type), "1 directory");
  }
  absl::Status Bad(absl::string_view field, uint64_t found, absl::string_view legal) const {
    return Corrupt(absl::StrCat("inode at ", Describe(bref_)), field, found, legal);
  }

  const InodeData& inode_;
  const Blockref& bref_;
};

}  // namespace

absl::StatusOr<InodeData> DecodeInode(ConstByteSpan raw, const Blockref& bref, bool indexed) {
  H2_ASSERT(raw.size() == kInodeBytes);
  const auto inode = LoadAs<InodeData>(raw);
  const InodeBorder border(inode, bref);
  H2_RETURN_IF_ERROR(border.CheckCommon());
  absl::Status status;
  if (indexed) {
    status = border.CheckIndexed();
  } else if (bref.key.v == 0) {
    status = border.CheckSuperRoot();
  } else if (inode.meta.pfsroot() || (bref.flags & kBrefFlagPfsroot) != 0) {
    status = border.CheckPfsRoot();
  } else {
    status = border.CheckOrdinary();
  }
  if (!status.ok()) return status;
  return inode;
}

}  // namespace h2bd
