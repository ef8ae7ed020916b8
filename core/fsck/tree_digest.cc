#include "core/fsck/tree_digest.h"

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/digest/sha256.h"

namespace h2bd {
namespace {

constexpr uint64_t kHashedFileMax = 16 * kGiB;

void AddZeros(Sha256& hash, uint64_t count) {
  static const AlignedBuffer kZeros = AlignedBuffer::Zeroed(kMiB);
  for (uint64_t n; count > 0; count -= n) {
    n = std::min<uint64_t>(count, kZeros.size());
    hash.Add(kZeros.span().first(n));
  }
}

std::string FinishHex(Sha256& hash) { return absl::BytesToHexString(AsText(hash.Finish())); }

std::string TypeName(ObjectType type) {
  switch (type) {
    case ObjectType::kDirectory:
      return "directory";
    case ObjectType::kRegfile:
      return "file";
    case ObjectType::kFifo:
      return "fifo";
    case ObjectType::kCdev:
      return "cdev";
    case ObjectType::kBdev:
      return "bdev";
    case ObjectType::kSoftlink:
      return "symlink";
    case ObjectType::kSocket:
      return "socket";
    case ObjectType::kWhiteout:
      return "whiteout";
    case ObjectType::kUnknown:
      return "unknown";
  }
  return absl::StrCat("type", static_cast<unsigned>(type));
}

// Length of the valid UTF-8 sequence at the start of `text`, 0 when there is none.
size_t Utf8Length(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xc2 && lead <= 0xdf   ? 2
                        : lead >= 0xe0 && lead <= 0xef ? 3
                        : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                       : 0;
  if (length == 0 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, and what lies above U+10FFFF.
  if ((lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xed && byte(1) > 0x9f) ||
      (lead == 0xf0 && byte(1) < 0x90) || (lead == 0xf4 && byte(1) > 0x8f)) {
    return 0;
  }
  return length;
}

class TreeHasher {
 public:
  explicit TreeHasher(MediaReader& reader) : reader_(reader) {}

  absl::StatusOr<std::string> Hash() {
    H2_ASSIGN_OR_RETURN(std::vector<MediaPfs> all, reader_.ListPfs());
    std::vector<std::pair<std::string, const MediaPfs*>> by_name;
    for (const MediaPfs& pfs : all) by_name.emplace_back(ShowName(pfs.name), &pfs);
    std::sort(by_name.begin(), by_name.end());
    for (const auto& [name, pfs] : by_name) {
      pfs_name_ = name;
      H2_RETURN_IF_ERROR(AddTree(*pfs));
    }
    return FinishHex(tree_);
  }

 private:
  void AddLine(const std::string& path, const std::string& type, const std::string& size,
               const std::string& content) {
    std::string line = pfs_name_;
    for (const std::string* field : {&path, &type, &size, &content}) {
      line.push_back('\0');
      line += *field;
    }
    line.push_back('\n');
    tree_.Add(AsBytes(line));
  }

  // What sorts separately: an entry by its path, and what lies below a directory by that path and a
  // slash. So "a", "a.b", "a/x" come in the order of whole paths.
  struct Item {
    std::string sort_key;
    MediaEntry entry;
    bool below = false;
  };
  // A directory whose items are being added; the stack of them is the current path.
  struct OpenDirectory {
    std::string path;
    std::vector<Item> items;
    size_t next = 0;
  };

  absl::Status AddTree(const MediaPfs& pfs) {
    directories_seen_.clear();
    AddLine("/", "directory", "", "");
    std::vector<OpenDirectory> open;
    H2_RETURN_IF_ERROR(Open("", pfs.root, open));
    while (!open.empty()) {
      OpenDirectory& top = open.back();
      if (top.next == top.items.size()) {
        open.pop_back();
        continue;
      }
      const Item item = std::move(top.items[top.next++]);
      const std::string path = absl::StrCat(top.path, "/", ShowName(item.entry.name));
      const absl::StatusOr<InodeData> inode = reader_.ReadEntryInode(pfs, item.entry);
      if (absl::IsNotFound(inode.status())) {
        if (!item.below) AddLine(path, "dangling", "", "");
        continue;
      }
      H2_RETURN_IF_ERROR(inode.status());
      H2_RETURN_IF_ERROR(CheckSameKind(path, item.entry, *inode));
      H2_RETURN_IF_ERROR(item.below ? Open(path, *inode, open) : AddEntry(path, *inode));
    }
    return absl::OkStatus();
  }

  absl::Status Open(const std::string& path, const InodeData& dir,
                    std::vector<OpenDirectory>& open) {
    // A directory with two names, or one below itself, would be walked without end.
    if (!directories_seen_.insert(dir.meta.inum).second) {
      return absl::DataLossError(absl::StrCat(pfs_name_, ":", path, ": directory inode ",
                                              dir.meta.inum.v, " is reached twice"));
    }
    std::vector<Item> items;
    H2_RETURN_IF_ERROR(
        reader_.ForEachEntry(dir, [&](const MediaEntry& entry) -> absl::StatusOr<bool> {
          const std::string name = ShowName(entry.name);
          if (entry.type == ObjectType::kDirectory) items.push_back({name + "/", entry, true});
          items.push_back({name, entry, false});
          return true;
        }));
    std::stable_sort(items.begin(), items.end(),
                     [](const Item& a, const Item& b) { return a.sort_key < b.sort_key; });
    open.push_back({path, std::move(items)});
    return absl::OkStatus();
  }

  absl::Status CheckSameKind(const std::string& path, const MediaEntry& entry,
                             const InodeData& inode) const {
    const bool entry_is_dir = entry.type == ObjectType::kDirectory;
    if (entry_is_dir == (inode.meta.type == ObjectType::kDirectory)) return absl::OkStatus();
    return absl::DataLossError(absl::StrFormat("%s:%s: the entry says %s, its inode %s", pfs_name_,
                                               path, TypeName(entry.type),
                                               TypeName(inode.meta.type)));
  }

  absl::Status AddEntry(const std::string& path, const InodeData& inode) {
    const bool sized =
        inode.meta.type == ObjectType::kRegfile || inode.meta.type == ObjectType::kSoftlink;
    const absl::StatusOr<std::string> content = ContentOf(inode);
    if (!content.ok()) return Annotate(content.status(), absl::StrCat(pfs_name_, ":", path));
    AddLine(path, TypeName(inode.meta.type), sized ? absl::StrCat(inode.meta.size) : "", *content);
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> ContentOf(const InodeData& inode) {
    if (inode.meta.type == ObjectType::kSoftlink) {
      H2_ASSIGN_OR_RETURN(const std::string target, reader_.ReadLink(inode));
      return ShowName(target);
    }
    if (inode.meta.type != ObjectType::kRegfile) return std::string();
    if (inode.meta.size > kHashedFileMax) return std::string("-");
    return FileSha256(reader_, inode);
  }

  MediaReader& reader_;
  Sha256 tree_;
  std::string pfs_name_;
  absl::flat_hash_set<Inum> directories_seen_;
};

}  // namespace

std::string ShowName(absl::string_view raw) {
  std::string shown;
  while (!raw.empty()) {
    const size_t length = Utf8Length(raw);
    if (length == 0) {
      absl::StrAppendFormat(&shown, "\\x%02x", static_cast<unsigned char>(raw[0]));
    } else if (raw[0] == '\\') {
      shown += "\\\\";
    } else {
      absl::StrAppend(&shown, raw.substr(0, length));
    }
    raw.remove_prefix(std::max<size_t>(length, 1));
  }
  return shown;
}

absl::StatusOr<std::string> FileSha256(MediaReader& reader, const InodeData& file) {
  Sha256 hash;
  uint64_t at = 0;
  H2_RETURN_IF_ERROR(reader.ForEachBlock(file, [&](uint64_t off, ConstByteSpan bytes) {
    AddZeros(hash, off - at);
    hash.Add(bytes);
    at = off + bytes.size();
    return absl::OkStatus();
  }));
  AddZeros(hash, file.meta.size - at);
  return FinishHex(hash);
}

absl::StatusOr<std::string> TreeDigest(MediaReader& reader) { return TreeHasher(reader).Hash(); }

}  // namespace h2bd
