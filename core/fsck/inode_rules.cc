#include "core/fsck/inode_rules.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/media/dirhash.h"

namespace h2bd {
namespace {

constexpr uint8_t kKnownOpFlags = kOpFlagDirectdata | kOpFlagPfsroot;
constexpr uint32_t kModeBits = 07777;
constexpr uint64_t kSoftlinkMax = 65536;

bool KnownPfsType(uint8_t pfs_type) {
  const unsigned type = pfs_type & 0x0f;
  return type == 1 || (type >= 3 && type <= kPfsTypeMaster) || type == 9;
}

class InodeRules {
 public:
  InodeRules(const InodeData& inode, const Blockref& bref, TableKind kind, const Place& place,
             FindingLog& log)
      : inode_(inode), meta_(inode.meta), bref_(bref), kind_(kind), place_(place), log_(log) {}

  void Check() {
    CheckFields();
    CheckReserved();
    CheckContents();
    if (kind_ == TableKind::kSuperRootSet) {
      CheckSuperRoot();
    } else if (kind_ == TableKind::kSuperRoot) {
      CheckPfsRoot();
    } else {
      CheckOrdinary();
    }
  }
  bool any() const { return any_; }

 private:
  void Add(FindingCode code, std::string text) {
    any_ = true;
    log_.Add(code, place_.ToString(), std::move(text));
  }

  void CheckFields() {
    const auto bad = [&](absl::string_view field, uint64_t found, absl::string_view legal) {
      Add(FindingCode::kInodeFields, absl::StrFormat("%s %d, legal: %s", field, found, legal));
    };
    if (meta_.version != 1) bad("version", meta_.version, "1");
    if (!IsKnown(meta_.type)) {
      bad("type", static_cast<uint64_t>(meta_.type), "1, 2, 4..7, 9, 10");
    }
    if (meta_.name_len > kNameMax) bad("name_len", meta_.name_len, "0..255");
    if (meta_.comp_method() > CompMethod::kZlib) bad("comp_algo", meta_.comp_algo, "methods 0..3");
    if (meta_.check_method() > CheckMethod::kSha192) {
      bad("check_algo", meta_.check_algo, "methods 0..4");
    }
  }

  void CheckReserved() {
    const bool zero = meta_.reserved02 == 0 && meta_.cap_flags == 0 && meta_.ncopies == 0 &&
                      meta_.unused84 == 0 && meta_.unusedB8 == 0 && meta_.unusedC8 == 0 &&
                      meta_.reservedD8 == 0 && meta_.decrypt_check == 0 &&
                      std::all_of(meta_.reservedE8.begin(), meta_.reservedE8.end(),
                                  [](uint64_t v) { return v == 0; });
    if (!zero) Add(FindingCode::kReserved, "reserved bytes of the inode are not zero");
    if ((meta_.op_flags & ~kKnownOpFlags) != 0) {
      Add(FindingCode::kReserved, absl::StrFormat("unknown op_flags 0x%02x", meta_.op_flags));
    }
    if ((meta_.mode & ~kModeBits) != 0) {
      Add(FindingCode::kReserved, absl::StrFormat("mode 0%o, legal: permission bits", meta_.mode));
    }
    const auto filename = std::as_bytes(std::span(inode_.filename));
    const size_t name_len = std::min<size_t>(meta_.name_len, filename.size());
    if (!IsAllZero(filename.subspan(name_len))) {
      Add(FindingCode::kReserved, "bytes behind the filename are not zero");
    }
  }

  void CheckContents() {
    const bool has_data = meta_.type == ObjectType::kRegfile || meta_.type == ObjectType::kSoftlink;
    if (!has_data && meta_.size != 0) {
      Add(FindingCode::kFileSize, absl::StrFormat("size %d on an inode without data", meta_.size));
    }
    if (meta_.type == ObjectType::kSoftlink && meta_.size > kSoftlinkMax) {
      Add(FindingCode::kFileSize,
          absl::StrFormat("softlink of %d bytes, legal: 0..%d", meta_.size, kSoftlinkMax));
    }
    if (!meta_.directdata()) return;
    if (!has_data) {
      Add(FindingCode::kDirectdata, "DIRECTDATA on what is neither a file nor a softlink");
    } else if (meta_.size > kEmbeddedBytes) {
      Add(FindingCode::kDirectdata,
          absl::StrFormat("size %d with DIRECTDATA, legal: 0..512", meta_.size));
    } else if (!IsAllZero(ConstByteSpan(inode_.u).subspan(meta_.size))) {
      Add(FindingCode::kDirectdata, "bytes behind the end of embedded data are not zero");
    }
  }

  void CheckSuperRoot() {
    if (meta_.type != ObjectType::kDirectory || meta_.inum != kInumSuperRoot ||
        meta_.pfs_type != kPfsTypeSuproot || meta_.pfsroot()) {
      Add(FindingCode::kSuperRoot,
          absl::StrFormat("type %d, inum %d, pfs_type %d, op_flags 0x%02x, legal: 1, 0, 8, 0",
                          static_cast<unsigned>(meta_.type), meta_.inum.v, meta_.pfs_type,
                          meta_.op_flags));
    }
  }

  void CheckPfsRoot() {
    if (meta_.type != ObjectType::kDirectory || meta_.inum != kInumPfsRoot || !meta_.pfsroot()) {
      Add(FindingCode::kPfsRoot,
          absl::StrFormat("type %d, inum %d, op_flags 0x%02x, legal: 1, 1, PFSROOT",
                          static_cast<unsigned>(meta_.type), meta_.inum.v, meta_.op_flags));
    }
    if (!KnownPfsType(meta_.pfs_type)) {
      Add(FindingCode::kPfsRoot,
          absl::StrFormat("pfs_type %d, legal: 6 and some older", meta_.pfs_type));
    }
    if (meta_.pfs_nmasters > 1) {
      Add(FindingCode::kPfsRoot,
          absl::StrFormat("pfs_nmasters %d, legal: 0, 1", meta_.pfs_nmasters));
    }
    const absl::string_view name = inode_.name();
    if (name.empty() || name.find('\0') != absl::string_view::npos) {
      Add(FindingCode::kPfsName, "the label is empty or holds a NUL");
    } else if (((bref_.key.v ^ Dirhash(name).v) & ~kDirhashLoMask) != 0) {
      Add(FindingCode::kPfsName, absl::StrFormat("the label hashes to 0x%x", Dirhash(name).v));
    }
    if (meta_.name_key != bref_.key) {
      Add(FindingCode::kPfsName, absl::StrFormat("name_key 0x%x is not the key", meta_.name_key.v));
    }
  }

  void CheckOrdinary() {
    const bool indexed = (bref_.key.v & kDirhashVisible) == 0;
    if (indexed && (meta_.inum.v != bref_.key.v || meta_.inum <= kInumPfsRoot)) {
      Add(FindingCode::kInodeNumber,
          absl::StrFormat("inum %d under key %d", meta_.inum.v, bref_.key.v));
    }
    if (indexed && meta_.name_key.v != meta_.inum.v) {
      Add(FindingCode::kInodeFields,
          absl::StrFormat("name_key 0x%x, legal: the inode number", meta_.name_key.v));
    }
    if (meta_.pfsroot()) Add(FindingCode::kInodeFields, "op_flag PFSROOT on an ordinary inode");
    if (meta_.pfs_type != 0 || meta_.pfs_subtype != 0 || meta_.pfs_inum != 0 ||
        meta_.pfs_nmasters != 0 || meta_.pfs_lsnap_tid.v != 0) {
      Add(FindingCode::kReserved, "PFS fields are set on an ordinary inode");
    }
  }

  const InodeData& inode_;
  const InodeMeta& meta_;
  const Blockref& bref_;
  const TableKind kind_;
  const Place& place_;
  FindingLog& log_;
  bool any_ = false;
};

}  // namespace

std::optional<InodeData> CheckInodeRules(ConstByteSpan raw, const Blockref& bref, TableKind kind,
                                         const Place& place, FindingLog& log) {
  const auto inode = LoadAs<InodeData>(raw);
  InodeRules rules(inode, bref, kind, place, log);
  rules.Check();
  const bool indexed = kind != TableKind::kSuperRootSet && kind != TableKind::kSuperRoot &&
                       (bref.key.v & kDirhashVisible) == 0;
  const absl::Status border = DecodeInode(raw, bref, indexed).status();
  if (border.ok()) return inode;
  if (!rules.any()) {
    log.Add(FindingCode::kRefused, place.ToString(), std::string(border.message()));
  }
  return std::nullopt;
}

}  // namespace h2bd
