// Rewrites the tables of a topology whose statistics, flags, transaction ids or names are wrong,
// bottom-up, into new blocks. Private to the repair.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "core/device/device_set.h"
#include "core/fsck/namespace_check.h"
#include "core/fsck/repair.h"
#include "core/media/decode.h"

namespace h2bd {

// What is to be changed about the names of one PFS.
struct NameRepairs {
  struct Edit {
    std::optional<uint64_t> nlinks;
    std::optional<Inum> iparent;
  };
  std::map<Inum, Edit> edits;
  std::set<Inum> removed;                        // from the index
  std::vector<Blockref> entries;                 // to be added to the root directory
  std::set<std::pair<Inum, Key>> dropped_names;  // by directory
};

// Works out the repairs of names from what the check has found. Orphans without links and contents
// of their own are removed; the others get the name lost+found-<inum> in the root directory, those
// that an orphan directory names excepted.
absl::StatusOr<std::map<Key, NameRepairs>> PlanNames(MediaReader& reader,
                                                     const std::vector<MediaPfs>& pfses,
                                                     const std::vector<NameFault>& faults,
                                                     bool drop_dangling,
                                                     std::vector<RepairAction>& actions);

class TableRepair {
 public:
  using Allocate = std::function<std::optional<DataOff>(BrefType type, unsigned radix, Key key)>;
  struct Tids {
    Tid mirror;
    Tid modify;  // of what gets other contents
  };
  // The walk of the checker must have found every table below `header` readable.
  TableRepair(DeviceSet& devices, const VolumeData& header, Tids tids, Allocate allocate,
              const std::map<Key, NameRepairs>& names);

  // Puts new blocks on the devices where something is wrong; nothing is overwritten. Returns the
  // new blockset of the super-root, or nullopt when nothing is wrong.
  absl::StatusOr<std::optional<std::array<Blockref, 4>>> Run(std::vector<RepairAction>& actions);

 private:
  // What a table adds up to (spec 01 section 4.6), and the highest ids anywhere below it.
  struct Sums {
    uint64_t data_count = 0, inode_count = 0, leaf_count = 0;
    Tid mirror_max, modify_max;
    void Add(const Blockref& bref);
  };
  struct Table {
    std::vector<Blockref> entries;
    size_t slots = 0;
    TableKind kind{};
    Key key;
    unsigned keybits = 64;
    bool rubbish = false;  // an empty slot is not all zero
  };
  struct Done {
    Blockref bref;
    Sums below;
  };
  // Where the walk stands.
  struct At {
    Key pfs;
    const NameRepairs* names = nullptr;  // of this PFS
    Inum inode;
    int depth = 0;
  };

  absl::StatusOr<AlignedBuffer> ReadBlock(const Blockref& bref);
  static Table Decode(ConstByteSpan raw, TableKind kind, Key key, unsigned keybits);
  static void Encode(const Table& table, ByteSpan raw);
  // Gives `bref` a new place with these contents.
  absl::Status Store(Blockref& bref, ConstByteSpan contents);

  // Whether the table has changed.
  absl::StatusOr<bool> FixTable(Table& table, const At& at, Sums& sums);
  absl::Status FixEntry(Blockref& bref, TableKind kind, const At& at, Sums& below);
  absl::Status FixIndirect(Blockref& bref, TableKind kind, const At& at, Sums& below);
  absl::Status FixInode(Blockref& bref, TableKind kind, At at, Sums& below);
  bool EditInode(InodeData& inode, const At& at) const;
  static bool Removed(const Blockref& bref, TableKind kind, const At& at);
  bool FixFields(Blockref& bref, TableKind kind);
  void SetStatistics(Blockref& bref, const Sums& sums, bool super_root);

  absl::Status Insert(Table& table, const Blockref& entry, uint8_t methods);
  absl::Status MakeRoom(Table& table, Key key, uint8_t methods);

  DeviceSet& devices_;
  const VolumeData& header_;
  const Tids tids_;
  const Allocate allocate_;
  const std::map<Key, NameRepairs>& names_;
  // By PFS where its names are changed, else 0, and data_off: what is shared stays shared.
  absl::flat_hash_map<std::pair<uint64_t, uint64_t>, Done> done_;
  uint64_t statistics_ = 0, fields_ = 0, ids_ = 0;
};

}  // namespace h2bd
