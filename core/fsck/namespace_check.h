// Names against inodes, PFS by PFS: every entry leads to an inode of its type, every inode has as
// many names as it says, directories form a tree, numbers and labels are unique (spec 01
// section 12.3, spec 04 I-23 and I-29).
#pragma once

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "core/fsck/finding_log.h"
#include "core/fsck/media_reader.h"

namespace h2bd {

// What is wrong with one inode or entry, for whoever puts it right.
struct NameFault {
  enum Kind { kOrphan, kNlinks, kIparent, kDangling } kind;
  Key pfs;            // key of the blockref of the PFS's root
  Inum inum;          // the inode; of kDangling the directory
  Key entry;          // of kDangling
  ObjectType type{};  // of kOrphan
  // kOrphan: its nlinks; kNlinks and kIparent: what it should be.
  uint64_t value = 0;
};

// For one thread. Memory: about 60 bytes per inode of the PFS that is being checked.
class NamespaceCheck {
 public:
  // `faults`, where given, gets what the findings say in words.
  NamespaceCheck(FindingLog& log, bool strict, std::vector<NameFault>* faults = nullptr)
      : log_(log), strict_(strict), faults_(faults) {}

  // The PFSs of one header: labels and cluster ids, then each by itself. One whose root was checked
  // through an earlier header already is not checked again.
  void Check(MediaReader& reader, const std::vector<MediaPfs>& pfses);

 private:
  struct Node {
    ObjectType type{};
    bool reached = false;  // a directory that an entry led to
    uint64_t nlinks = 0;
    uint64_t names = 0;
    uint64_t subdirectories = 0;
    Inum iparent;
  };
  using Nodes = absl::flat_hash_map<Inum, Node>;

  void CheckList(const std::vector<MediaPfs>& pfses);
  void CheckPfs(MediaReader& reader, const MediaPfs& pfs);
  absl::Status CollectInodes(MediaReader& reader, const MediaPfs& pfs, Nodes& nodes);
  absl::Status WalkNames(MediaReader& reader, const MediaPfs& pfs, Nodes& nodes);
  absl::Status WalkDirectory(MediaReader& reader, const InodeData& dir, const std::string& place,
                             Nodes& nodes, std::vector<Inum>& found);
  void CheckEntry(const MediaEntry& entry, const InodeData& dir, const std::string& place,
                  Nodes& nodes, std::vector<Inum>& found);
  void CheckCounts(const MediaPfs& pfs, const Nodes& nodes);

  void Note(NameFault fault);

  FindingLog& log_;
  const bool strict_;
  std::vector<NameFault>* const faults_;
  Key pfs_;                              // that is being checked
  absl::flat_hash_set<size_t> checked_;  // hashes of PFS root blockrefs
};

}  // namespace h2bd
