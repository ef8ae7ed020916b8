#include "core/fsck/topology_check.h"

#include <algorithm>
#include <array>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/fsck/inode_rules.h"
#include "core/media/check_code.h"
#include "core/media/codec.h"

namespace h2bd {
namespace {

constexpr uint64_t kProgressBlocks = 512;
// LOCAL and up to three more (spec 01 section 10.1).

size_t FingerprintOf(const Blockref& bref, TableKind kind) {
  return absl::HashOf(static_cast<int>(bref.type), static_cast<int>(kind), bref.methods,
                      bref.keybits, bref.key.v, bref.data_off.raw,
                      AsText(ConstByteSpan(bref.check).first(24)));
}

// Tables on the way from the header to any block: three trees of at most 63 levels each, and some
// room for directories of the legacy form.
constexpr int kDepthMax = 512;

}  // namespace

void TopologyCheck::Subtree::Add(const Subtree& other) {
  mirror_tid_max = std::max(mirror_tid_max, other.mirror_tid_max);
  modify_tid_max = std::max(modify_tid_max, other.modify_tid_max);
  unchecked_tid_max = std::max(unchecked_tid_max, other.unchecked_tid_max);
  data_end = std::max(data_end, other.data_end);
}

void TopologyCheck::Sums::Add(const Blockref& bref) {
  const bool counted_below = bref.type == BrefType::kInode || bref.type == BrefType::kIndirect;
  data_count += bref.data_off.bytes() + (counted_below ? bref.data_count() : 0);
  inode_count += (bref.type == BrefType::kInode) + (counted_below ? bref.inode_count() : 0);
  leaf_count += bref.type == BrefType::kIndirect ? bref.leaf_count : 1;
}

void TopologyCheck::Tally::Add(const Place& place) {
  if (blocks++ == 0) first = place.ToString();
}

TopologyCheck::TopologyCheck(MediaSource& source, const CheckOptions& options, FindingLog& log)
    : source_(source), options_(options), log_(log), logical_(kLogicalBytes) {}

TopologyCheck::Result TopologyCheck::Walk(Generation& generation) {
  generation_ = &generation;
  result_ = Result();
  lsnap_ = Tid(0);
  overwritable_.clear();
  lagging_ = staged_ = freed_ = Tally();
  const VolumeData& header = *generation.header;
  progress_.slot = generation.slot;
  progress_.bytes_total = std::max(progress_.bytes_total, header.sroot_blockset[0].data_count());

  const Place place("super-root");
  const TableContext table{TableKind::kSuperRootSet, Key(0), 64, header.mirror_tid, &header};
  const auto raw = std::as_bytes(std::span(header.sroot_blockset));
  if (header.sroot_blockset[0].type != BrefType::kInode) {
    log_.Add(FindingCode::kSuperRoot, place.ToString(),
             "sroot_blockset does not begin with the super-root inode");
  }
  const Subtree all = WalkTable(raw, table, nullptr, place);
  result_.highest_tid = std::max(all.mirror_tid_max, all.modify_tid_max);
  ReportTallies();
  return std::move(result_);
}

TopologyCheck::Subtree TopologyCheck::WalkTable(ConstByteSpan raw, const TableContext& table,
                                                const Blockref* parent, const Place& place) {
  Subtree subtree;
  if (depth_ >= kDepthMax) {
    log_.Add(FindingCode::kDepth, "", absl::StrCat("more than ", kDepthMax, " tables deep"));
    return subtree;
  }
  ++depth_;
  Sums sums;
  std::optional<Blockref> previous;
  for (size_t at = 0; at < raw.size(); at += kBlockrefBytes) {
    const auto bref = LoadAs<Blockref>(raw, at);
    const Place entry(place, bref);
    if (bref.empty()) {
      CheckEmptySlot(bref, entry, log_);
      continue;
    }
    if (previous.has_value() && bref.key <= previous->last_key()) {
      log_.Add(bref.key < previous->key ? FindingCode::kTableOrder : FindingCode::kTableOverlap,
               entry.ToString(),
               absl::StrFormat("stands behind %s 0x%x/%d", Name(previous->type), previous->key.v,
                               previous->keybits));
    }
    previous = bref;
    sums.Add(bref);
    WalkEntry(bref, table, entry, subtree);
  }
  if (parent != nullptr) {
    CompareStatistics(*parent, sums, table.kind == TableKind::kSuperRoot, place);
  }
  --depth_;
  return subtree;
}

void TopologyCheck::WalkEntry(const Blockref& bref, const TableContext& table, const Place& place,
                              Subtree& subtree) {
  subtree.mirror_tid_max = std::max(subtree.mirror_tid_max, bref.mirror_tid);
  subtree.modify_tid_max = std::max(subtree.modify_tid_max, bref.modify_tid);
  if (bref.mirror_tid > generation_->header->freemap_tid) lagging_.Add(place);
  if (!CheckBrefRules(bref, table, place, log_)) return;
  if (bref.type == BrefType::kDirent) {
    WalkDirent(bref, place);
    return;
  }
  const BlockLedger::Claim claim = Claim(bref, place);
  switch (bref.type) {
    case BrefType::kInode:
      // Entries of the legacy form could lead in circles.
      if (table.kind != TableKind::kDirectory || claim == BlockLedger::Claim::kNew) {
        WalkInode(bref, table, place, subtree);
      }
      return;
    case BrefType::kIndirect:
      return WalkIndirect(bref, table, place, subtree);
    default:
      return WalkData(bref, claim, place, subtree);
  }
}

void TopologyCheck::WalkIndirect(const Blockref& bref, const TableContext& table,
                                 const Place& place, Subtree& subtree) {
  const size_t fingerprint = FingerprintOf(bref, table.kind);
  const auto slot_bit = static_cast<uint8_t>(1u << (generation_->slot & 7));
  bool known = false;
  if (const auto it = visited_.find(bref.data_off.raw);
      it != visited_.end() && it->second.fingerprint == fingerprint) {
    Visited& seen = it->second;
    if ((seen.slots & slot_bit) != 0) {
      seen.lsnap_min = std::min(seen.lsnap_min, lsnap_);
      if (seen.subtree.unchecked_tid_max > seen.lsnap_min) {
        log_.Add(FindingCode::kSharedUnchecked, place.ToString(),
                 absl::StrFormat("shared, holds data without check code of modify_tid %d, but "
                                 "pfs_lsnap_tid is %d",
                                 seen.subtree.unchecked_tid_max.v, seen.lsnap_min.v));
      }
      subtree.Add(seen.subtree);
      return;
    }
    known = true;
  }
  const FindingLog::Mute mute(log_, known);
  const std::optional<MediaBlock> block = Fetch(bref, place);
  if (!block.has_value()) return;
  const Subtree below = WalkTable(
      block->bytes, {table.kind, bref.key, bref.keybits, bref.mirror_tid, generation_->header},
      &bref, place);
  subtree.Add(below);
  Visited& seen = visited_[bref.data_off.raw];
  if (seen.fingerprint != fingerprint) seen = Visited{fingerprint};
  seen.slots |= slot_bit;
  seen.lsnap_min = lsnap_;
  seen.subtree = below;
}

void TopologyCheck::WalkInode(const Blockref& bref, const TableContext& table, const Place& place,
                              Subtree& subtree) {
  const std::optional<MediaBlock> block = Fetch(bref, place);
  if (!block.has_value()) return;
  const std::optional<InodeData> inode =
      CheckInodeRules(block->bytes, bref, table.kind, place, log_);
  if (!inode.has_value()) return;
  if (table.kind != TableKind::kSuperRoot) {
    subtree.Add(WalkInodeTable(*inode, bref, place));
    return;
  }
  const std::string name(inode->name());
  const Place pfs_place{absl::string_view(name)};
  lsnap_ = inode->meta.pfs_lsnap_tid;
  result_.pfses.push_back({name, bref, *inode});
  const Subtree below = WalkInodeTable(*inode, bref, pfs_place);
  CheckPfsTids(bref, *inode, below, pfs_place);
  subtree.Add(below);
}

TopologyCheck::Subtree TopologyCheck::WalkInodeTable(const InodeData& inode, const Blockref& bref,
                                                     const Place& place) {
  if (inode.meta.directdata()) {
    CompareStatistics(bref, Sums(), /*super_root=*/false, place);
    return Subtree();
  }
  Subtree below = WalkTable(ConstByteSpan(inode.u),
                            {TableKindOf(inode), Key(0), 64, bref.mirror_tid, generation_->header},
                            &bref, place);
  if (below.data_end > inode.meta.size) {
    log_.Add(
        FindingCode::kFileSize, place.ToString(),
        absl::StrFormat("a block at %d, but the size is %d", below.data_end - 1, inode.meta.size));
  }
  below.data_end = 0;  // a key of this file's table, of no meaning above
  return below;
}

void TopologyCheck::WalkDirent(const Blockref& bref, const Place& place) {
  ++result_.totals.dirents;
  if (bref.data_off.radix() == 0) {
    const size_t namlen = bref.dirent_namlen();
    CheckDirentName(bref, InlineDirentName(bref), place, log_);
    if (!IsAllZero(ConstByteSpan(bref.check).subspan(namlen))) {
      log_.Add(FindingCode::kReserved, place.ToString(), "bytes behind the name are not zero");
    }
    return;
  }
  Claim(bref, place);
  const std::optional<MediaBlock> block = Fetch(bref, place);
  if (!block.has_value()) return;
  const size_t namlen = bref.dirent_namlen();
  CheckDirentName(bref, AsText(block->bytes.first(namlen)), place, log_);
  if (!IsAllZero(block->bytes.subspan(namlen))) {
    log_.Add(FindingCode::kReserved, place.ToString(), "bytes behind the name are not zero");
  }
}

void TopologyCheck::WalkData(const Blockref& bref, BlockLedger::Claim claim, const Place& place,
                             Subtree& subtree) {
  subtree.data_end = std::max(subtree.data_end, bref.key.v + 1);
  if (bref.check_method() == CheckMethod::kNone) {
    subtree.unchecked_tid_max = std::max(subtree.unchecked_tid_max, bref.modify_tid);
    const bool overwritable = bref.modify_tid > lsnap_;
    const bool shared = claim == BlockLedger::Claim::kSame;
    if (shared && (overwritable || overwritable_.contains(bref.data_off.raw))) {
      log_.Add(FindingCode::kSharedUnchecked, place.ToString(),
               "shared, yet without check code and newer than pfs_lsnap_tid: others overwrite it "
               "in place");
    }
    if (overwritable) overwritable_.insert(bref.data_off.raw);
  }
  if (log_.muted() || !options_.read_data) return;
  const std::optional<MediaBlock> block = Fetch(bref, place);
  if (!block.has_value()) return;
  const absl::Status decoded = DecodeBlock(bref.comp_method(), block->bytes, logical_.span());
  if (!decoded.ok()) {
    log_.Add(FindingCode::kPayload, place.ToString(), std::string(decoded.message()));
  }
}

std::optional<MediaBlock> TopologyCheck::Fetch(const Blockref& bref, const Place& place) {
  const absl::StatusOr<MediaBlock> block =
      source_.Read(bref.data_off.offset(), bref.data_off.bytes());
  if (!block.ok()) {
    log_.Add(FindingCode::kRead, place.ToString(), std::string(block.status().message()));
    return std::nullopt;
  }
  const absl::Status verified = VerifyCheck(bref, block->bytes);
  if (verified.ok()) return *block;
  log_.Add(FindingCode::kCheckCode, place.ToString(), std::string(verified.message()));
  return std::nullopt;
}

BlockLedger::Claim TopologyCheck::Claim(const Blockref& bref, const Place& place) {
  using Outcome = BlockLedger::Claim;
  const Outcome claim = generation_->ledger.Add(bref.data_off, bref.type);
  const auto report = [&](Outcome outcome, absl::string_view whose) {
    if (outcome != Outcome::kOverlap && outcome != Outcome::kOtherType) return;
    const bool overlap = outcome == Outcome::kOverlap;
    log_.AddEvenIfMuted(overlap ? FindingCode::kBlockOverlap : FindingCode::kBlockTypes,
                        place.ToString(),
                        absl::StrFormat("data_off 0x%x %s%s", bref.data_off.raw,
                                        overlap ? "shares bytes with another block"
                                                : "is used as data and as metadata",
                                        whose));
  };
  report(claim, "");
  if (claim != Outcome::kNew) return claim;
  CountBlock(bref);
  AskFreemap(bref, place);
  if (generation_->newest_ledger != nullptr) {
    report(generation_->newest_ledger->Probe(bref.data_off, bref.type), " of the newest header");
  }
  return claim;
}

void TopologyCheck::CountBlock(const Blockref& bref) {
  BlockTotals& totals = result_.totals;
  totals.bytes += bref.data_off.bytes();
  totals.inodes += bref.type == BrefType::kInode;
  totals.indirects += bref.type == BrefType::kIndirect;
  totals.data += bref.type == BrefType::kData;
  progress_.bytes_done += bref.data_off.bytes();
  if (++progress_.blocks_done % kProgressBlocks == 0 && options_.progress) {
    options_.progress(progress_);
  }
}

void TopologyCheck::AskFreemap(const Blockref& bref, const Place& place) {
  const uint64_t off = bref.data_off.offset().v;
  if (off < generation_->header->allocator_beg) return;
  bool unmarked = false, staged = false, freed = false;
  for (uint64_t at = RoundDown(off, kChunkBytes); at < bref.data_off.end().v; at += kChunkBytes) {
    const FreemapView::State state = generation_->freemap->StateOf(at);
    unmarked |= state == FreemapView::State::kFree || state == FreemapView::State::kReserved ||
                state == FreemapView::State::kNoLeaf;
    staged |= state == FreemapView::State::kStaged;
    freed |= generation_->newest_freemap != nullptr &&
             generation_->newest_freemap->StateOf(at) == FreemapView::State::kFree;
  }
  if (staged) staged_.Add(place);
  if (freed) freed_.Add(place);
  // Blocks newer than freemap_tid are in the tally of lagging ones already.
  if (unmarked && bref.mirror_tid <= generation_->header->freemap_tid) {
    log_.AddEvenIfMuted(
        FindingCode::kFreemapUnmarked, place.ToString(),
        absl::StrFormat("data_off 0x%x is in use, but free in the freemap", bref.data_off.raw));
  }
}

void TopologyCheck::CompareStatistics(const Blockref& parent, const Sums& sums, bool super_root,
                                      const Place& place) {
  const uint64_t leaf_count = std::min<uint64_t>(sums.leaf_count, kLeafCountMax);
  // format makes the super-root without statistics and its PFS roots are never added; leaf_count
  // takes in those that were rewritten since.
  const uint64_t missing = super_root ? sums.inode_count - parent.inode_count() : 0;
  if (missing <= kInitialPfsMax && parent.inode_count() == sums.inode_count - missing &&
      parent.data_count() == sums.data_count - missing * kInodeBytes &&
      parent.leaf_count <= leaf_count && leaf_count - parent.leaf_count <= missing) {
    return;
  }
  // A snapshot's root takes over its origin's counts but for leaf_count.
  const bool snapshot = (parent.flags & kBrefFlagPfsroot) != 0 && parent.leaf_count == 0 &&
                        parent.data_count() == sums.data_count &&
                        parent.inode_count() == sums.inode_count;
  if (snapshot) return;
  log_.Add(FindingCode::kStatistics, place.ToString(),
           absl::StrFormat("data_count %d, inode_count %d, leaf_count %d; its table makes %d, %d, "
                           "%d",
                           parent.data_count(), parent.inode_count(), parent.leaf_count,
                           sums.data_count, sums.inode_count, leaf_count));
}

void TopologyCheck::CheckPfsTids(const Blockref& bref, const InodeData& root, const Subtree& below,
                                 const Place& place) {
  const Tid needed = std::max(below.modify_tid_max, root.meta.pfs_lsnap_tid);
  if (bref.modify_tid >= needed) return;
  log_.Add(FindingCode::kModifyTid, place.ToString(),
           absl::StrFormat("modify_tid %d of the root; below it is %d, pfs_lsnap_tid is %d",
                           bref.modify_tid.v, below.modify_tid_max.v, root.meta.pfs_lsnap_tid.v));
}

void TopologyCheck::ReportTallies() {
  const auto report = [&](FindingCode code, const Tally& tally, absl::string_view what) {
    if (tally.blocks == 0) return;
    log_.Add(code, tally.first, absl::StrFormat("and %d more: %s", tally.blocks - 1, what));
  };
  report(FindingCode::kFreemapLag, lagging_,
         "mirror_tid above freemap_tid; a mount marks such blocks in the freemap");
  report(FindingCode::kFreemapStaged, staged_, "in use, but staged by bulkfree");
  report(FindingCode::kFreedUnderOldSlot, freed_, "free in the freemap of the newest header");
}

}  // namespace h2bd
