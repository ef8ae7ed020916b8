#include <algorithm>
#include <ostream>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/media/actions.h"
#include "client/media/images.h"
#include "client/media/report.h"
#include "core/fsck/tree_digest.h"

namespace h2bd {
namespace {

// "PFS/a/b" -> ("PFS", "a/b").
std::pair<std::string, std::string> SplitPath(const std::string& path) {
  const size_t slash = path.find('/');
  if (slash == std::string::npos) return {path, ""};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

class Lister {
 public:
  Lister(MediaReader& reader, const ListCommand& command, const MediaIo& io)
      : reader_(reader), command_(command), io_(io) {}

  absl::Status Run() {
    if (command_.path.empty()) {
      H2_RETURN_IF_ERROR(ListPfses());
    } else {
      const auto [label, path] = SplitPath(command_.path);
      H2_ASSIGN_OR_RETURN(const MediaPfs pfs, reader_.FindPfs(label));
      H2_ASSIGN_OR_RETURN(const InodeData inode, reader_.Lookup(pfs, path));
      H2_RETURN_IF_ERROR(ListAt(pfs, path, inode));
    }
    if (io_.json()) PrintJson(io_.out, json_);
    return absl::OkStatus();
  }

 private:
  absl::Status ListPfses() {
    H2_ASSIGN_OR_RETURN(std::vector<MediaPfs> all, reader_.ListPfs());
    std::sort(all.begin(), all.end(),
              [](const MediaPfs& a, const MediaPfs& b) { return a.name < b.name; });
    for (const MediaPfs& pfs : all) {
      ShowPfs(pfs);
      if (command_.recursive) H2_RETURN_IF_ERROR(ListAt(pfs, "", pfs.root));
    }
    return absl::OkStatus();
  }

  void ShowPfs(const MediaPfs& pfs) {
    const bool snapshot = pfs.root.meta.pfs_subtype == kPfsSubtypeSnapshot;
    if (io_.json()) {
      json_.push_back({{"pfs", ShowName(pfs.name)},
                       {"snapshot", snapshot},
                       {"clid", FormatUuid(pfs.root.meta.pfs_clid)},
                       {"fsid", FormatUuid(pfs.root.meta.pfs_fsid)},
                       {"inodes", pfs.bref.inode_count()},
                       {"bytes", pfs.bref.data_count()}});
    } else if (command_.details) {
      io_.out << absl::StrFormat("%-8s %8d inodes %12s  %s\n", snapshot ? "snapshot" : "pfs",
                                 pfs.bref.inode_count(), FormatBytes(pfs.bref.data_count()),
                                 ShowName(pfs.name));
    } else {
      io_.out << ShowName(pfs.name) << '\n';
    }
  }

  // A directory's entries, and with -R those of all below; anything else itself.
  absl::Status ListAt(const MediaPfs& pfs, const std::string& path, const InodeData& start) {
    if (start.meta.type != ObjectType::kDirectory) return Show(pfs, path, start);
    std::vector<std::pair<std::string, InodeData>> pending = {{path, start}};
    std::set<Inum> seen = {start.meta.inum};
    while (!pending.empty()) {
      const auto [dir_path, dir] = std::move(pending.back());
      pending.pop_back();
      H2_ASSIGN_OR_RETURN(std::vector<MediaEntry> entries, reader_.ListDirectory(dir));
      std::sort(entries.begin(), entries.end(),
                [](const MediaEntry& a, const MediaEntry& b) { return a.name < b.name; });
      const size_t below = pending.size();
      for (const MediaEntry& entry : entries) {
        const std::string entry_path =
            dir_path.empty() ? entry.name : absl::StrCat(dir_path, "/", entry.name);
        const absl::StatusOr<InodeData> inode = reader_.ReadEntryInode(pfs, entry);
        if (!inode.ok()) {
          io_.err << "h2bd: " << ShowName(entry_path) << ": " << inode.status().message() << '\n';
          damaged_ = true;
          continue;
        }
        H2_RETURN_IF_ERROR(Show(pfs, entry_path, *inode));
        const bool descend = command_.recursive && inode->meta.type == ObjectType::kDirectory;
        if (descend && seen.insert(inode->meta.inum).second)
          pending.emplace_back(entry_path, *inode);
      }
      std::reverse(pending.begin() + static_cast<ptrdiff_t>(below), pending.end());
    }
    return damaged_ ? absl::DataLossError("some entries could not be read") : absl::OkStatus();
  }

  absl::Status Show(const MediaPfs& pfs, const std::string& path, const InodeData& inode) {
    const InodeMeta& meta = inode.meta;
    const std::string name = ShowName(path);
    std::string target;
    if (meta.type == ObjectType::kSoftlink && (command_.details || io_.json())) {
      H2_ASSIGN_OR_RETURN(target, reader_.ReadLink(inode));
    }
    if (io_.json()) {
      MediaJson entry = {{"pfs", ShowName(pfs.name)},
                         {"path", name},
                         {"type", std::string(Name(meta.type))},
                         {"inum", meta.inum.v},
                         {"size", meta.size},
                         {"mode", absl::StrFormat("%04o", meta.mode)},
                         {"nlinks", meta.nlinks},
                         {"uid", OwnerId(meta.uid)},
                         {"gid", OwnerId(meta.gid)},
                         {"mtime", TimeText(meta.mtime)}};
      if (meta.type == ObjectType::kSoftlink) entry["target"] = ShowName(target);
      json_.push_back(std::move(entry));
    } else if (command_.details) {
      io_.out << absl::StrFormat("%s %4d %5d %5d %12d %s  %s%s%s\n", ModeText(meta), meta.nlinks,
                                 OwnerId(meta.uid), OwnerId(meta.gid), meta.size,
                                 TimeText(meta.mtime), name, target.empty() ? "" : " -> ",
                                 ShowName(target));
    } else {
      io_.out << name << '\n';
    }
    return absl::OkStatus();
  }

  MediaReader& reader_;
  const ListCommand& command_;
  const MediaIo& io_;
  MediaJson json_ = MediaJson::array();
  bool damaged_ = false;
};

class ZeroWriter {
 public:
  explicit ZeroWriter(std::ostream& out) : out_(out), zeros_(kMiB, '\0') {}
  void Write(uint64_t count) {
    for (uint64_t n; count > 0 && out_; count -= n) {
      n = std::min<uint64_t>(count, zeros_.size());
      out_.write(zeros_.data(), static_cast<std::streamsize>(n));
    }
  }

 private:
  std::ostream& out_;
  const std::string zeros_;
};

}  // namespace

absl::Status RunList(const ListCommand& command, const MediaIo& io) {
  H2_ASSIGN_OR_RETURN(const OpenVolume volume, OpenTarget(command.target));
  return Lister(*volume.reader, command, io).Run();
}

absl::Status RunCat(const MediaTarget& target, const std::string& path, const MediaIo& io) {
  H2_ASSIGN_OR_RETURN(const OpenVolume volume, OpenTarget(target));
  const auto [label, file_path] = SplitPath(path);
  H2_ASSIGN_OR_RETURN(const MediaPfs pfs, volume.reader->FindPfs(label));
  H2_ASSIGN_OR_RETURN(const InodeData file, volume.reader->Lookup(pfs, file_path));
  ZeroWriter zeros(io.out);
  uint64_t at = 0;
  H2_RETURN_IF_ERROR(volume.reader->ForEachBlock(file, [&](uint64_t off, ConstByteSpan bytes) {
    zeros.Write(off - at);
    io.out.write(reinterpret_cast<const char*>(bytes.data()),
                 static_cast<std::streamsize>(bytes.size()));
    at = off + bytes.size();
    return io.out ? absl::OkStatus() : absl::UnknownError("cannot write the output");
  }));
  zeros.Write(file.meta.size - at);
  return io.out ? absl::OkStatus() : absl::UnknownError("cannot write the output");
}

absl::Status RunDigest(const MediaTarget& target, const MediaIo& io) {
  H2_ASSIGN_OR_RETURN(const OpenVolume volume, OpenTarget(target));
  H2_ASSIGN_OR_RETURN(const std::string digest, TreeDigest(*volume.reader));
  io.out << digest << '\n';
  return absl::OkStatus();
}

}  // namespace h2bd
