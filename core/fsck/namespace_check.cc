#include "core/fsck/namespace_check.h"

#include <algorithm>
#include <map>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/fsck/tree_digest.h"
#include "core/media/dirhash.h"

namespace h2bd {
namespace {

std::string DirectoryPlace(const MediaPfs& pfs, Inum inum) {
  return absl::StrCat(ShowName(pfs.name), ": directory ", inum.v);
}

size_t HashOfRoot(const MediaPfs& pfs) {
  return absl::HashOf(AsText(std::as_bytes(std::span(&pfs.bref, 1))));
}

}  // namespace

void NamespaceCheck::Check(MediaReader& reader, const std::vector<MediaPfs>& pfses) {
  CheckList(pfses);
  for (const MediaPfs& pfs : pfses) {
    if (checked_.insert(HashOfRoot(pfs)).second) CheckPfs(reader, pfs);
  }
}

void NamespaceCheck::CheckList(const std::vector<MediaPfs>& pfses) {
  std::map<std::string, const MediaPfs*> by_name;
  std::map<Uuid, const MediaPfs*> by_clid;
  for (const MediaPfs& pfs : pfses) {
    const std::string place = ShowName(pfs.name);
    if (!by_name.emplace(pfs.name, &pfs).second) {
      log_.Add(FindingCode::kPfsName, place, "two PFSs have this name");
    }
    const auto [same, inserted] = by_clid.emplace(pfs.root.meta.pfs_clid, &pfs);
    if (!inserted) {
      log_.Add(FindingCode::kPfsClid, place,
               absl::StrCat("has the pfs_clid ", FormatUuid(pfs.root.meta.pfs_clid), " of ",
                            ShowName(same->second->name)));
    }
  }
}

void NamespaceCheck::Note(NameFault fault) {
  fault.pfs = pfs_;
  if (faults_ != nullptr) faults_->push_back(fault);
}

void NamespaceCheck::CheckPfs(MediaReader& reader, const MediaPfs& pfs) {
  pfs_ = pfs.bref.key;
  Nodes nodes;
  absl::Status status = CollectInodes(reader, pfs, nodes);
  if (status.ok()) status = WalkNames(reader, pfs, nodes);
  if (status.ok()) {
    CheckCounts(pfs, nodes);
  } else {
    log_.Add(FindingCode::kPfsIncomplete, ShowName(pfs.name), std::string(status.message()));
  }
}

absl::Status NamespaceCheck::CollectInodes(MediaReader& reader, const MediaPfs& pfs, Nodes& nodes) {
  Inum highest;
  H2_RETURN_IF_ERROR(reader.ForEachInode(pfs, [&](const InodeData& inode) -> absl::StatusOr<bool> {
    const InodeMeta& meta = inode.meta;
    nodes[meta.inum] = {.type = meta.type, .nlinks = meta.nlinks, .iparent = meta.iparent};
    highest = std::max(highest, meta.inum);
    return true;
  }));
  const uint64_t pfs_inum = pfs.root.meta.pfs_inum;
  if (highest.v > pfs_inum || (strict_ && highest.v != 0 && highest.v == pfs_inum)) {
    log_.Add(
        FindingCode::kPfsInum, ShowName(pfs.name),
        absl::StrFormat("pfs_inum %d, the highest inode number in use is %d", pfs_inum, highest.v));
  }
  nodes[kInumPfsRoot] = {.type = ObjectType::kDirectory, .reached = true, .nlinks = 1};
  return absl::OkStatus();
}

// From the root, breadth first. What it does not reach are orphans.
absl::Status NamespaceCheck::WalkNames(MediaReader& reader, const MediaPfs& pfs, Nodes& nodes) {
  std::vector<Inum> pending = {kInumPfsRoot};
  while (!pending.empty()) {
    const Inum inum = pending.back();
    pending.pop_back();
    H2_ASSIGN_OR_RETURN(const InodeData dir, reader.ReadInode(pfs, inum));
    H2_RETURN_IF_ERROR(WalkDirectory(reader, dir, DirectoryPlace(pfs, inum), nodes, pending));
  }
  return absl::OkStatus();
}

absl::Status NamespaceCheck::WalkDirectory(MediaReader& reader, const InodeData& dir,
                                           const std::string& place, Nodes& nodes,
                                           std::vector<Inum>& found) {
  // Equal names have equal hashes, so they stand within one bucket of neighbours.
  std::vector<MediaEntry> bucket;
  return reader.ForEachEntry(dir, [&](const MediaEntry& entry) -> absl::StatusOr<bool> {
    if (!bucket.empty() && ((bucket.front().key.v ^ entry.key.v) & ~kDirhashLoMask) != 0) {
      bucket.clear();
    }
    const bool twice = std::any_of(bucket.begin(), bucket.end(),
                                   [&](const MediaEntry& e) { return e.name == entry.name; });
    if (twice) {
      log_.Add(FindingCode::kDirentDuplicate, place,
               absl::StrCat("two entries are called \"", ShowName(entry.name), "\""));
    }
    bucket.push_back(entry);
    if (!entry.legacy_inode.has_value()) CheckEntry(entry, dir, place, nodes, found);
    return true;
  });
}

void NamespaceCheck::CheckEntry(const MediaEntry& entry, const InodeData& dir,
                                const std::string& place, Nodes& nodes, std::vector<Inum>& found) {
  const auto add = [&](FindingCode code, const std::string& text) {
    log_.Add(code, absl::StrCat(place, ": entry \"", ShowName(entry.name), "\""), text);
  };
  const auto it = nodes.find(entry.inum);
  if (it == nodes.end()) {
    add(FindingCode::kDirentDangling, absl::StrFormat("inode %d does not exist", entry.inum.v));
    Note({.kind = NameFault::kDangling, .inum = dir.meta.inum, .entry = entry.key});
    return;
  }
  Node& node = it->second;
  ++node.names;
  if (node.type != entry.type) {
    add(FindingCode::kDirentType,
        absl::StrFormat("says type %d, inode %d has type %d", static_cast<unsigned>(entry.type),
                        entry.inum.v, static_cast<unsigned>(node.type)));
  }
  if (node.type != ObjectType::kDirectory) return;
  ++nodes[dir.meta.inum].subdirectories;
  if (node.reached) {
    add(FindingCode::kDirectoryLinks,
        absl::StrFormat("directory %d has another name already", entry.inum.v));
    return;
  }
  node.reached = true;
  if (node.iparent != dir.meta.inum) {
    add(FindingCode::kIparent,
        absl::StrFormat("directory %d says that it lies in %d", entry.inum.v, node.iparent.v));
    Note({.kind = NameFault::kIparent, .inum = entry.inum, .value = dir.meta.inum.v});
  }
  found.push_back(entry.inum);
}

void NamespaceCheck::CheckCounts(const MediaPfs& pfs, const Nodes& nodes) {
  std::map<Inum, Node> wrong;
  for (const auto& [inum, node] : nodes) {
    if (inum == kInumPfsRoot) continue;
    const bool directory = node.type == ObjectType::kDirectory;
    // A directory counts itself and its subdirectories, or nothing at all (spec 01 section 7.7).
    const bool counted = directory ? node.nlinks == 1 || node.nlinks == 2 + node.subdirectories
                                   : node.nlinks == node.names;
    if (node.names == 0 || !counted) wrong.emplace(inum, node);
  }
  for (const auto& [inum, node] : wrong) {
    const std::string place = absl::StrCat(ShowName(pfs.name), ": inode ", inum.v);
    if (node.names == 0) {
      log_.Add(FindingCode::kInodeOrphan, place, "no directory entry leads to it");
      Note({.kind = NameFault::kOrphan, .inum = inum, .type = node.type, .value = node.nlinks});
    } else {
      log_.Add(FindingCode::kNlinks, place,
               absl::StrFormat("nlinks %d, but %d names and %d subdirectories", node.nlinks,
                               node.names, node.subdirectories));
      const bool directory = node.type == ObjectType::kDirectory;
      Note({.kind = NameFault::kNlinks,
            .inum = inum,
            .value = directory ? 2 + node.subdirectories : node.names});
    }
  }
}

}  // namespace h2bd
