// Which names a repair changes.
#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "core/fsck/table_repair.h"
#include "core/fsck/tree_digest.h"
#include "core/media/dirhash.h"

namespace h2bd {
namespace {

// Inodes of one PFS that no name leads to.
class Orphans {
 public:
  Orphans(MediaReader& reader, const MediaPfs& pfs) : reader_(reader), pfs_(pfs) {}

  absl::Status Add(const NameFault& fault) {
    Orphan& orphan = orphans_[fault.inum];
    orphan.type = fault.type;
    orphan.nlinks = fault.value;
    if (fault.type != ObjectType::kDirectory) return absl::OkStatus();
    H2_ASSIGN_OR_RETURN(const InodeData dir, reader_.ReadInode(pfs_, fault.inum));
    return reader_.ForEachEntry(dir, [&](const MediaEntry& entry) -> absl::StatusOr<bool> {
      orphan.names.push_back(entry.inum);
      return true;
    });
  }

  struct Orphan {
    ObjectType type{};
    uint64_t nlinks = 0;
    std::vector<Inum> names;
  };
  // Those that need a name: no other orphan leads to them, or they lead to each other only.
  std::vector<std::pair<Inum, const Orphan*>> Tops() {
    absl::flat_hash_set<Inum> named, reached;
    for (const auto& [inum, orphan] : orphans_) {
      for (const Inum child : orphan.names) {
        if (child != inum) named.insert(child);
      }
    }
    std::vector<std::pair<Inum, const Orphan*>> tops;
    const auto take = [&](Inum inum, const Orphan& orphan) {
      tops.emplace_back(inum, &orphan);
      std::vector<Inum> pending = {inum};
      while (!pending.empty()) {
        const Inum next = pending.back();
        pending.pop_back();
        const auto it = orphans_.find(next);
        if (it == orphans_.end() || !reached.insert(next).second) continue;
        pending.insert(pending.end(), it->second.names.begin(), it->second.names.end());
      }
    };
    for (const auto& [inum, orphan] : orphans_) {
      if (!named.contains(inum)) take(inum, orphan);
    }
    for (const auto& [inum, orphan] : orphans_) {
      if (!reached.contains(inum)) take(inum, orphan);
    }
    return tops;
  }

 private:
  MediaReader& reader_;
  const MediaPfs& pfs_;
  std::map<Inum, Orphan> orphans_;
};

// Free keys and names in a root directory.
class RootNames {
 public:
  absl::Status Load(MediaReader& reader, const MediaPfs& pfs) {
    return reader.ForEachEntry(pfs.root, [&](const MediaEntry& entry) -> absl::StatusOr<bool> {
      keys_.insert(entry.key.v);
      names_.insert(entry.name);
      return true;
    });
  }

  absl::StatusOr<Blockref> Make(Inum inum, ObjectType type, const Blockref& root) {
    std::string name = absl::StrCat("lost+found-", inum.v);
    for (int i = 1; !names_.insert(name).second; ++i) {
      name = absl::StrCat("lost+found-", inum.v, "-", i);
    }
    Blockref entry;
    entry.type = BrefType::kDirent;
    entry.methods = root.methods;
    entry.key = Dirhash(name);
    const uint64_t last = entry.key.v | kDirhashLoMask;
    while (!keys_.insert(entry.key.v).second) {
      if (entry.key.v++ == last) {
        return absl::ResourceExhaustedError(absl::StrCat("no free key for the name ", name));
      }
    }
    entry.set_dirent(inum, static_cast<uint16_t>(name.size()), static_cast<uint8_t>(type));
    std::copy(name.begin(), name.end(), reinterpret_cast<char*>(entry.check.data()));
    return entry;
  }

 private:
  absl::flat_hash_set<uint64_t> keys_;
  absl::flat_hash_set<std::string> names_;
};

absl::Status PlanOrphans(MediaReader& reader, const MediaPfs& pfs, Orphans& orphans,
                         NameRepairs& repairs, std::vector<RepairAction>& actions) {
  RootNames root;
  H2_RETURN_IF_ERROR(root.Load(reader, pfs));
  for (const auto& [inum, orphan] : orphans.Tops()) {
    const std::string place = absl::StrCat(ShowName(pfs.name), ": inode ", inum.v);
    if (orphan->nlinks == 0 && orphan->names.empty()) {
      repairs.removed.insert(inum);
      actions.push_back({RepairKind::kNames, place, "has no name and no links: is removed"});
      continue;
    }
    H2_ASSIGN_OR_RETURN(const Blockref entry, root.Make(inum, orphan->type, pfs.bref));
    repairs.entries.push_back(entry);
    NameRepairs::Edit& edit = repairs.edits[inum];
    if (orphan->type == ObjectType::kDirectory) {
      edit.iparent = kInumPfsRoot;
      if (orphan->nlinks == 0) edit.nlinks = 1;
    } else {
      edit.nlinks = 1;
    }
    actions.push_back({RepairKind::kNames, place,
                       absl::StrCat("has no name: is linked as ", InlineDirentName(entry))});
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::map<Key, NameRepairs>> PlanNames(MediaReader& reader,
                                                     const std::vector<MediaPfs>& pfses,
                                                     const std::vector<NameFault>& faults,
                                                     bool drop_dangling,
                                                     std::vector<RepairAction>& actions) {
  std::map<Key, NameRepairs> all;
  for (const MediaPfs& pfs : pfses) {
    Orphans orphans(reader, pfs);
    bool any_orphan = false;
    for (const NameFault& fault : faults) {
      if (fault.pfs != pfs.bref.key) continue;
      const std::string place = absl::StrCat(ShowName(pfs.name), ": inode ", fault.inum.v);
      switch (fault.kind) {
        case NameFault::kOrphan:
          H2_RETURN_IF_ERROR(orphans.Add(fault));
          any_orphan = true;
          break;
        case NameFault::kNlinks:
          all[pfs.bref.key].edits[fault.inum].nlinks = fault.value;
          actions.push_back({RepairKind::kNames, place, absl::StrCat("nlinks ", fault.value)});
          break;
        case NameFault::kIparent:
          all[pfs.bref.key].edits[fault.inum].iparent = Inum(fault.value);
          actions.push_back({RepairKind::kNames, place, absl::StrCat("iparent ", fault.value)});
          break;
        case NameFault::kDangling:
          if (!drop_dangling) break;
          all[pfs.bref.key].dropped_names.insert({fault.inum, fault.entry});
          actions.push_back({RepairKind::kNames,
                             absl::StrCat(ShowName(pfs.name), ": directory ", fault.inum.v),
                             "an entry without an inode is removed"});
          break;
      }
    }
    if (any_orphan) {
      H2_RETURN_IF_ERROR(PlanOrphans(reader, pfs, orphans, all[pfs.bref.key], actions));
    }
  }
  return all;
}

}  // namespace h2bd
