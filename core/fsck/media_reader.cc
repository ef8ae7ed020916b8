#include "core/fsck/media_reader.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "core/fsck/tree_walk.h"
#include "core/media/codec.h"
#include "core/media/decode.h"
#include "core/media/dirhash.h"

namespace h2bd {
namespace {

constexpr Key kLastKey{UINT64_MAX};
constexpr Key kFirstName{kDirhashVisible};
constexpr Key kLastInum{kDirhashVisible - 1};

bool HasContents(const InodeData& inode) {
  return inode.meta.type == ObjectType::kRegfile || inode.meta.type == ObjectType::kSoftlink;
}

std::string InodePlace(const InodeData& inode) { return absl::StrCat("inode ", inode.meta.inum.v); }

}  // namespace

MediaReader::MediaReader(MediaSource source, const VolumeData& header)
    : source_(std::move(source)), header_(std::make_unique<VolumeData>(header)) {}

absl::StatusOr<MediaReader> MediaReader::Open(VolumeSet& set, std::optional<int> slot) {
  if (!slot.has_value()) return MediaReader(MediaSource::Of(set), *set.header);
  if (*slot < 0 || *slot >= kVolumeHeaderSlots) {
    return absl::InvalidArgumentError(absl::StrCat("header slot ", *slot, ", legal: 0..3"));
  }
  const HeaderProbe& probe = set.root_probes[static_cast<size_t>(*slot)];
  if (!probe.present || !probe.status.ok()) {
    return absl::NotFoundError(
        absl::StrCat("header slot ", *slot, " holds no valid header: ",
                     probe.present ? std::string(probe.status.message()) : "past the device"));
  }
  return MediaReader(MediaSource::Of(set), *probe.header);
}

absl::StatusOr<InodeData> MediaReader::LoadInode(const Blockref& bref, bool indexed) {
  H2_ASSIGN_OR_RETURN(const MediaBlock block, source_.ReadBlock(bref));
  return DecodeInode(block.bytes, bref, indexed);
}

absl::StatusOr<InodeData> MediaReader::SuperRoot() {
  const auto raw = std::as_bytes(std::span(header_->sroot_blockset));
  H2_ASSIGN_OR_RETURN(
      const std::vector<Blockref> entries,
      DecodeTable(raw, TableKind::kSuperRootSet, Key(0), 64, header_->address_space()));
  if (entries.size() != 1) {
    return absl::DataLossError(absl::StrCat("sroot_blockset holds ", entries.size(),
                                            " blockrefs, legal: 1, the super-root"));
  }
  absl::StatusOr<InodeData> root = LoadInode(entries.front(), /*indexed=*/false);
  if (!root.ok()) return Annotate(root.status(), "super-root");
  return root;
}

absl::StatusOr<std::vector<MediaPfs>> MediaReader::ListPfs() {
  H2_ASSIGN_OR_RETURN(const InodeData super_root, SuperRoot());
  std::vector<MediaPfs> all;
  const auto walked = WalkEntries(source_, header_->address_space(), TableOf(super_root), Key(0),
                                  kLastKey, [&](const Blockref& bref) -> absl::StatusOr<bool> {
                                    absl::StatusOr<InodeData> root =
                                        LoadInode(bref, /*indexed=*/false);
                                    if (!root.ok()) return root.status();
                                    all.push_back({std::string(root->name()), bref, *root});
                                    return true;
                                  });
  if (!walked.ok()) return Annotate(walked.status(), "super-root");
  return all;
}

absl::StatusOr<MediaPfs> MediaReader::FindPfs(absl::string_view name) {
  H2_ASSIGN_OR_RETURN(std::vector<MediaPfs> all, ListPfs());
  for (MediaPfs& pfs : all) {
    if (pfs.name == name) return std::move(pfs);
  }
  return absl::NotFoundError(absl::StrCat("no PFS is called \"", name, "\""));
}

absl::StatusOr<InodeData> MediaReader::ReadInode(const MediaPfs& pfs, Inum inum) {
  if (inum == kInumPfsRoot) return pfs.root;
  std::optional<InodeData> found;
  const auto walked = WalkEntries(source_, header_->address_space(), TableOf(pfs.root), Key(inum.v),
                                  Key(inum.v), [&](const Blockref& bref) -> absl::StatusOr<bool> {
                                    if (bref.type != BrefType::kInode) return true;
                                    absl::StatusOr<InodeData> inode =
                                        LoadInode(bref, /*indexed=*/true);
                                    if (!inode.ok()) return inode.status();
                                    found = *inode;
                                    return false;
                                  });
  if (!walked.ok()) return Annotate(walked.status(), absl::StrCat(pfs.name, ", inode ", inum.v));
  if (found.has_value()) return *found;
  return absl::NotFoundError(absl::StrCat("PFS \"", pfs.name, "\" has no inode ", inum.v));
}

absl::StatusOr<InodeData> MediaReader::ReadEntryInode(const MediaPfs& pfs,
                                                      const MediaEntry& entry) {
  if (entry.legacy_inode.has_value()) return LoadInode(*entry.legacy_inode, /*indexed=*/false);
  return ReadInode(pfs, entry.inum);
}

absl::StatusOr<MediaEntry> MediaReader::DecodeEntry(const Blockref& bref) {
  MediaEntry entry;
  entry.key = bref.key;
  if (bref.type == BrefType::kInode) {
    H2_ASSIGN_OR_RETURN(const InodeData inode, LoadInode(bref, /*indexed=*/false));
    entry.name = std::string(inode.name());
    entry.inum = inode.meta.inum;
    entry.type = inode.meta.type;
    entry.legacy_inode = bref;
    return entry;
  }
  H2_ASSIGN_OR_RETURN(entry.name, DirentName(source_, bref));
  entry.inum = bref.dirent_inum();
  entry.type = static_cast<ObjectType>(bref.dirent_type());
  return entry;
}

absl::Status MediaReader::ForEachEntry(
    const InodeData& dir, absl::FunctionRef<absl::StatusOr<bool>(const MediaEntry&)> visitor) {
  if (dir.meta.type != ObjectType::kDirectory) {
    return absl::InvalidArgumentError(absl::StrCat(InodePlace(dir), " is not a directory"));
  }
  const auto walked = WalkEntries(source_, header_->address_space(), TableOf(dir), kFirstName,
                                  kLastKey, [&](const Blockref& bref) -> absl::StatusOr<bool> {
                                    absl::StatusOr<MediaEntry> entry = DecodeEntry(bref);
                                    if (!entry.ok()) return entry.status();
                                    return visitor(*entry);
                                  });
  return walked.ok() ? absl::OkStatus() : Annotate(walked.status(), InodePlace(dir));
}

absl::StatusOr<std::vector<MediaEntry>> MediaReader::ListDirectory(const InodeData& dir) {
  std::vector<MediaEntry> entries;
  H2_RETURN_IF_ERROR(ForEachEntry(dir, [&](const MediaEntry& entry) -> absl::StatusOr<bool> {
    entries.push_back(entry);
    return true;
  }));
  return entries;
}

absl::Status MediaReader::ForEachInode(
    const MediaPfs& pfs, absl::FunctionRef<absl::StatusOr<bool>(const InodeData&)> visitor) {
  const auto walked = WalkEntries(source_, header_->address_space(), TableOf(pfs.root), Key(0),
                                  kLastInum, [&](const Blockref& bref) -> absl::StatusOr<bool> {
                                    if (bref.type != BrefType::kInode) return true;
                                    const auto inode = LoadInode(bref, /*indexed=*/true);
                                    if (!inode.ok()) return inode.status();
                                    return visitor(*inode);
                                  });
  return walked.ok() ? absl::OkStatus() : Annotate(walked.status(), "inode index");
}

absl::StatusOr<MediaEntry> MediaReader::FindEntry(const InodeData& dir, absl::string_view name) {
  const Key hash = Dirhash(name);
  std::optional<MediaEntry> found;
  const auto walked =
      WalkEntries(source_, header_->address_space(), TableOf(dir), hash,
                  Key(hash.v + kDirhashLoMask), [&](const Blockref& bref) -> absl::StatusOr<bool> {
                    absl::StatusOr<MediaEntry> entry = DecodeEntry(bref);
                    if (!entry.ok()) return entry.status();
                    if (entry->name != name) return true;
                    found = *std::move(entry);
                    return false;
                  });
  if (!walked.ok()) return Annotate(walked.status(), InodePlace(dir));
  if (found.has_value()) return *std::move(found);
  return absl::NotFoundError(absl::StrCat("no entry \"", name, "\" in ", InodePlace(dir)));
}

absl::StatusOr<InodeData> MediaReader::Lookup(const MediaPfs& pfs, absl::string_view path) {
  InodeData at = pfs.root;
  for (const absl::string_view name : absl::StrSplit(path, '/', absl::SkipEmpty())) {
    if (at.meta.type != ObjectType::kDirectory) {
      return absl::InvalidArgumentError(
          absl::StrCat(pfs.name, "/", path, ": what stands before \"", name, "\" is no directory"));
    }
    const absl::StatusOr<MediaEntry> entry = FindEntry(at, name);
    if (!entry.ok()) return Annotate(entry.status(), absl::StrCat(pfs.name, "/", path));
    H2_ASSIGN_OR_RETURN(at, ReadEntryInode(pfs, *entry));
  }
  return at;
}

absl::Status MediaReader::WalkBlocks(
    const InodeData& file, uint64_t first, uint64_t last,
    absl::FunctionRef<absl::Status(uint64_t, ConstByteSpan)> visitor) {
  AlignedBuffer logical(kLogicalBytes);
  const auto walked = WalkEntries(
      source_, header_->address_space(), TableOf(file), Key(first), Key(last),
      [&](const Blockref& bref) -> absl::StatusOr<bool> {
        absl::StatusOr<MediaBlock> stored = source_.ReadBlock(bref);
        if (!stored.ok()) return stored.status();
        const absl::Status decoded = DecodeBlock(bref.comp_method(), stored->bytes, logical.span());
        if (!decoded.ok()) return Annotate(decoded, Describe(bref));
        const uint64_t bytes = std::min(kLogicalBytes, file.meta.size - bref.key.v);
        const absl::Status visited =
            visitor(bref.key.v, ConstByteSpan(logical.span()).first(bytes));
        if (!visited.ok()) return visited;
        return true;
      });
  return walked.ok() ? absl::OkStatus() : Annotate(walked.status(), InodePlace(file));
}

absl::Status MediaReader::ForEachBlock(
    const InodeData& file, absl::FunctionRef<absl::Status(uint64_t, ConstByteSpan)> visitor) {
  if (!HasContents(file)) {
    return absl::InvalidArgumentError(absl::StrCat(InodePlace(file), " holds no data"));
  }
  if (file.meta.size == 0) return absl::OkStatus();
  if (file.meta.directdata()) return visitor(0, ConstByteSpan(file.u).first(file.meta.size));
  return WalkBlocks(file, 0, file.meta.size - 1, visitor);
}

absl::StatusOr<uint64_t> MediaReader::Read(const InodeData& file, uint64_t off, ByteSpan into) {
  if (!HasContents(file)) {
    return absl::InvalidArgumentError(absl::StrCat(InodePlace(file), " holds no data"));
  }
  if (off >= file.meta.size || into.empty()) return 0;
  const uint64_t bytes = std::min<uint64_t>(into.size(), file.meta.size - off);
  std::fill_n(into.begin(), bytes, std::byte{0});
  const auto copy = [&](uint64_t at, ConstByteSpan block) {
    const uint64_t begin = std::max(at, off), end = std::min(at + block.size(), off + bytes);
    if (begin < end) {
      std::copy_n(block.begin() + static_cast<ptrdiff_t>(begin - at), end - begin,
                  into.begin() + static_cast<ptrdiff_t>(begin - off));
    }
    return absl::OkStatus();
  };
  if (file.meta.directdata()) {
    H2_RETURN_IF_ERROR(copy(0, ConstByteSpan(file.u).first(file.meta.size)));
  } else {
    H2_RETURN_IF_ERROR(WalkBlocks(file, off, off + bytes - 1, copy));
  }
  return bytes;
}

absl::StatusOr<std::string> MediaReader::ReadLink(const InodeData& link) {
  if (link.meta.type != ObjectType::kSoftlink) {
    return absl::InvalidArgumentError(absl::StrCat(InodePlace(link), " is not a softlink"));
  }
  if (link.meta.size > kLinkTargetMax) {
    return absl::DataLossError(absl::StrFormat("%s: softlink of %d bytes, legal: 0..%d",
                                               InodePlace(link), link.meta.size, kLinkTargetMax));
  }
  std::string target(link.meta.size, '\0');
  H2_ASSIGN_OR_RETURN(
      const uint64_t bytes,
      Read(link, 0, std::as_writable_bytes(std::span(target.data(), target.size()))));
  H2_ASSERT(bytes == target.size());
  return target;
}

}  // namespace h2bd
