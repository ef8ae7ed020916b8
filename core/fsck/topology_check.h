// Walks the topology below one header after the other: rules of every blockref and inode, check
// codes, payloads, overlaps, statistics, transaction ids, and each block against the freemap of its
// header.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "core/fsck/block_ledger.h"
#include "core/fsck/bref_rules.h"
#include "core/fsck/check.h"
#include "core/fsck/finding_log.h"
#include "core/fsck/freemap_check.h"
#include "core/fsck/media_reader.h"
#include "core/fsck/media_source.h"

namespace h2bd {

// One header generation: what it claims and what it is compared with.
struct Generation {
  int slot = 0;
  const VolumeData* header = nullptr;
  const FreemapView* freemap = nullptr;
  BlockLedger ledger;  // filled by the walk
  // Of the newest generation, when this is an older one.
  const BlockLedger* newest_ledger = nullptr;
  const FreemapView* newest_freemap = nullptr;
};

// Subtrees are remembered by the place and content of their indirect blocks: one that was walked
// through the same header is skipped, one that was walked through another header is walked again
// for its places only. For one thread.
class TopologyCheck {
 public:
  TopologyCheck(MediaSource& source, const CheckOptions& options, FindingLog& log);

  struct Result {
    BlockTotals totals;
    std::vector<MediaPfs> pfses;  // whose roots could be read
    Tid highest_tid;              // mirror_tid or modify_tid of any blockref
  };
  Result Walk(Generation& generation);

 private:
  // What is known of the blocks below a table.
  struct Subtree {
    Tid mirror_tid_max, modify_tid_max;
    Tid unchecked_tid_max;  // modify_tid of DATA with check NONE
    uint64_t data_end = 0;  // key of the last DATA + 1; 0: none
    void Add(const Subtree& other);
  };
  struct Visited {
    size_t fingerprint = 0;  // of what the blockref says about the block
    uint8_t slots = 0;       // bit per header that led here
    Tid lsnap_min;  // lowest pfs_lsnap_tid of the PFSs that share it, through the last header
    Subtree subtree;
  };
  // Sums over the entries of a table (spec 01 section 4.6).
  struct Sums {
    uint64_t data_count = 0, inode_count = 0, leaf_count = 0;
    void Add(const Blockref& bref);
  };
  // Blocks with one property, told as one finding.
  struct Tally {
    uint64_t blocks = 0;
    std::string first;
    void Add(const Place& place);
  };

  Subtree WalkTable(ConstByteSpan raw, const TableContext& table, const Blockref* parent,
                    const Place& place);
  void WalkEntry(const Blockref& bref, const TableContext& table, const Place& place,
                 Subtree& subtree);
  void WalkIndirect(const Blockref& bref, const TableContext& table, const Place& place,
                    Subtree& subtree);
  void WalkInode(const Blockref& bref, const TableContext& table, const Place& place,
                 Subtree& subtree);
  void WalkDirent(const Blockref& bref, const Place& place);
  void WalkData(const Blockref& bref, BlockLedger::Claim claim, const Place& place,
                Subtree& subtree);
  Subtree WalkInodeTable(const InodeData& inode, const Blockref& bref, const Place& place);

  // The verified block, or nothing after a finding.
  std::optional<MediaBlock> Fetch(const Blockref& bref, const Place& place);
  BlockLedger::Claim Claim(const Blockref& bref, const Place& place);
  void AskFreemap(const Blockref& bref, const Place& place);
  void CompareStatistics(const Blockref& parent, const Sums& sums, bool super_root,
                         const Place& place);
  void CheckPfsTids(const Blockref& bref, const InodeData& root, const Subtree& below,
                    const Place& place);
  void ReportTallies();
  void CountBlock(const Blockref& bref);

  MediaSource& source_;
  const CheckOptions& options_;
  FindingLog& log_;
  AlignedBuffer logical_;  // for decompressing
  CheckProgress progress_;

  // Of the current generation:
  Generation* generation_ = nullptr;
  Result result_;
  Tid lsnap_;                                   // of the PFS that is being walked
  absl::flat_hash_set<uint64_t> overwritable_;  // DATA that may be overwritten in place
  Tally lagging_, staged_, freed_;
  int depth_ = 0;

  // Over all generations, by data_off:
  absl::flat_hash_map<uint64_t, Visited> visited_;
};

}  // namespace h2bd
