#include "core/pfs/namespace.h"

#include <algorithm>
#include <iterator>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "core/media/dirhash.h"

namespace h2bd {
namespace {

// Where a name without a key of its own stands in a listing: the last key of its bucket. Once it is
// on media its key is lower, so a listing that goes on behind this place does not show it twice.
Key PendingKey(absl::string_view name) { return Key(Dirhash(name).v | kDirhashLoMask); }

}  // namespace

absl::StatusOr<std::optional<Dirent>> Namespace::Lookup(Pfs& pfs, absl::string_view name) {
  {
    absl::MutexLock lock(&mu_);
    const auto it = pending_.find(NameKey(pfs.key().v, std::string(name)));
    if (it != pending_.end()) {
      if (!it->second.inum.has_value()) return std::nullopt;
      return Dirent{std::string(name), *it->second.inum, it->second.type, PendingKey(name)};
    }
  }
  return FindDirent(pfs.root(), store_, name);
}

absl::StatusOr<std::vector<Dirent>> Namespace::List(Pfs& pfs, Key from, size_t limit) {
  // Pending names first: a change that is applied between the two looks is then seen twice, not
  // missed, and the pending one wins.
  std::map<std::string, Pending> pending;
  {
    absl::MutexLock lock(&mu_);
    for (auto it = pending_.lower_bound(NameKey(pfs.key().v, ""));
         it != pending_.end() && it->first.first == pfs.key().v; ++it) {
      pending.emplace(it->first.second, it->second);
    }
  }
  std::vector<Dirent> result;
  for (const auto& [name, change] : pending) {
    if (change.inum.has_value() && PendingKey(name) >= from) {
      result.push_back(Dirent{name, *change.inum, change.type, PendingKey(name)});
    }
  }
  // Names that pending changes hide make room for more from the media.
  std::vector<Dirent> damaged;
  H2_ASSIGN_OR_RETURN(std::vector<Dirent> stored,
                      ListDirents(pfs.root(), store_, from, limit + pending.size(), &damaged));
  for (Dirent& entry : stored) {
    if (!pending.contains(entry.name)) result.push_back(std::move(entry));
  }
  std::move(damaged.begin(), damaged.end(), std::back_inserter(result));
  std::sort(result.begin(), result.end(), [](const Dirent& a, const Dirent& b) {
    return std::tie(a.key, a.name) < std::tie(b.key, b.name);
  });
  // Entries of one key stay together: the next page begins behind the key of the last entry.
  size_t end = std::min(limit, result.size());
  while (end > 0 && end < result.size() && result[end].key == result[end - 1].key) ++end;
  result.resize(end);
  return result;
}

void Namespace::Push(Change change) {
  change.number = next_number_++;
  Pending& pending = pending_[NameKey(change.pfs->key().v, change.name)];
  pending.number = change.number;
  pending.type = change.type;
  if (change.kind == Kind::kLink) {
    pending.inum = change.inum;
  } else {
    pending.inum.reset();
  }
  changes_.push_back(std::move(change));
}

void Namespace::Create(Generation generation, Pfs& pfs, absl::string_view name, Inum inum,
                       ObjectType type) {
  absl::MutexLock lock(&mu_);
  Push(Change{.generation = generation,
              .pfs = &pfs,
              .kind = Kind::kLink,
              .name = std::string(name),
              .inum = inum,
              .type = type});
}

void Namespace::Remove(Generation generation, Pfs& pfs, const Dirent& entry) {
  absl::MutexLock lock(&mu_);
  Push(Change{.generation = generation,
              .pfs = &pfs,
              .kind = Kind::kUnlink,
              .name = entry.name,
              .inum = entry.inum,
              .type = entry.type,
              .drops_link = true});
}

void Namespace::Rename(Generation generation, Pfs& pfs, const Dirent& from, absl::string_view to) {
  absl::MutexLock lock(&mu_);
  Push(Change{.generation = generation,
              .pfs = &pfs,
              .kind = Kind::kUnlink,
              .name = from.name,
              .inum = from.inum,
              .type = from.type});
  Push(Change{.generation = generation,
              .pfs = &pfs,
              .kind = Kind::kLink,
              .name = std::string(to),
              .inum = from.inum,
              .type = from.type});
}

absl::Status Namespace::CheckNotReserved(const Pfs& pfs, const std::string& name) const {
  absl::MutexLock lock(&mu_);
  if (!reserved_.contains(NameKey(pfs.key().v, name))) return absl::OkStatus();
  return absl::AbortedError(absl::StrCat(
      pfs.label(), "/", name, " is being made or rolled back by a call that has not ended"));
}

absl::Status Namespace::Reserve(const Pfs& pfs, const std::string& name) {
  H2_RETURN_IF_ERROR(CheckNotReserved(pfs, name));
  absl::MutexLock lock(&mu_);
  reserved_.insert(NameKey(pfs.key().v, name));
  return absl::OkStatus();
}

void Namespace::Release(const Pfs& pfs, const std::string& name) {
  absl::MutexLock lock(&mu_);
  reserved_.erase(NameKey(pfs.key().v, name));
}

void Namespace::Drop(const Pfs& pfs) {
  absl::MutexLock lock(&mu_);
  std::erase_if(changes_, [&](const Change& change) { return change.pfs == &pfs; });
  std::erase_if(pending_, [&](const auto& entry) { return entry.first.first == pfs.key().v; });
}

bool Namespace::LosesLastLink(const Pfs& pfs, const Inode& inode) const {
  absl::MutexLock lock(&mu_);
  const InodeMeta meta = inode.meta();
  const auto drops = std::count_if(changes_.begin(), changes_.end(), [&](const Change& change) {
    return change.drops_link && change.pfs == &pfs && change.inum == meta.inum;
  });
  return meta.nlinks <= static_cast<uint64_t>(drops);
}

bool Namespace::HasPending(Generation upto) const {
  absl::MutexLock lock(&mu_);
  return !changes_.empty() && changes_.front().generation <= upto;
}

absl::Status Namespace::Apply(Generation frozen, const FlushTids& tids, Applied& applied) {
  for (;;) {
    Change change;
    {
      absl::MutexLock lock(&mu_);
      if (changes_.empty() || changes_.front().generation > frozen) return absl::OkStatus();
      change = changes_.front();
    }
    // Without the lock: it may read from the device. Nobody else takes changes off the front.
    const absl::Status status = ApplyOne(change, tids, applied);
    absl::MutexLock lock(&mu_);
    if (!status.ok()) {
      changes_.front() = std::move(change);
      return status;
    }
    changes_.pop_front();
    const auto it = pending_.find(NameKey(change.pfs->key().v, change.name));
    if (it != pending_.end() && it->second.number == change.number) pending_.erase(it);
  }
}

absl::Status Namespace::ApplyOne(Change& change, const FlushTids& tids, Applied& applied) {
  Inode& root = change.pfs->root();
  if (!change.dirent_done) {
    change.pfs->MarkDirty();
    H2_RETURN_IF_ERROR(change.kind == Kind::kLink
                           ? InsertDirent(root, store_, change.name, change.inum, change.type, tids)
                           : EraseDirent(root, store_, change.name));
    change.dirent_done = true;
    InodeMeta meta = root.meta();
    meta.mtime = ToMediaTime(clock_.WallNow());
    root.set_meta(meta);
  }
  return change.drops_link ? DropLink(change, applied) : absl::OkStatus();
}

absl::Status Namespace::DropLink(const Change& change, Applied& applied) {
  absl::StatusOr<std::shared_ptr<Inode>> inode = change.pfs->GetInode(change.inum);
  if (absl::IsUnavailable(inode.status())) return inode.status();
  // An entry whose inode is missing or damaged can be removed all the same (P6); its inode stays as
  // it is.
  if (!inode.ok()) return absl::OkStatus();
  InodeMeta meta = (*inode)->meta();
  if (meta.nlinks > 1) {
    // In one step for LosesLastLink: the link is either counted in the inode or among the changes.
    absl::MutexLock lock(&mu_);
    changes_.front().drops_link = false;
    --meta.nlinks;
    meta.ctime = ToMediaTime(clock_.WallNow());
    (*inode)->set_meta(meta);
    applied.touched.emplace_back(change.pfs, *std::move(inode));
    return absl::OkStatus();
  }
  H2_RETURN_IF_ERROR(change.pfs->RemoveInode(change.inum, **inode));
  applied.removed.emplace_back(change.pfs, change.inum);
  return absl::OkStatus();
}

}  // namespace h2bd
