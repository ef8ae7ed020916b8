#include "tests/chain/drop_audit.h"

#include <gtest/gtest.h>

#include <utility>

#include "core/media/check_code.h"
#include "core/media/decode.h"

namespace h2bd {

void BlockWalk::AddHeader(const VolumeData& header) {
  for (const Blockref& bref : header.sroot_blockset) {
    if (!bref.empty()) Add(bref, TableKind::kSuperRootSet);
  }
}

void BlockWalk::Add(const Blockref& bref, TableKind kind) {
  if (bref.data_off.radix() == 0 || !found_.emplace(bref.data_off, bref.type).second) return;
  if (bref.type != BrefType::kInode && bref.type != BrefType::kIndirect) return;
  AlignedBuffer buffer(kPbufBytes);
  const ByteOff from = bref.data_off.buffer();
  ASSERT_TRUE(device_.Read(from, buffer.span()).ok());
  const ConstByteSpan raw = ConstByteSpan(buffer.span())
                                .subspan(bref.data_off.offset().v - from.v, bref.data_off.bytes());
  ASSERT_EQ(VerifyCheck(bref, raw), absl::OkStatus()) << Describe(bref);
  if (bref.type == BrefType::kIndirect) return AddTable(raw, kind, bref.key, bref.keybits);
  const bool indexed = kind == TableKind::kPfsRoot;
  const absl::StatusOr<InodeData> inode = DecodeInode(raw, bref, indexed);
  ASSERT_TRUE(inode.ok()) << inode.status();
  if (!inode->meta.directdata()) AddTable(inode->u, TableKindOf(*inode), Key(0), 64);
}

void BlockWalk::AddTable(ConstByteSpan raw, TableKind kind, Key key, unsigned keybits) {
  const absl::StatusOr<std::vector<Blockref>> entries =
      DecodeTable(raw, kind, key, keybits, total_size_);
  ASSERT_TRUE(entries.ok()) << entries.status();
  for (const Blockref& entry : *entries) Add(entry, kind);
}

absl::StatusOr<Allocation> DropAudit::Allocate(BrefType type, unsigned radix, Key key) {
  // Under the lock, so that a place that is taken back and given out again is noted in that order.
  absl::MutexLock lock(&mu_);
  absl::StatusOr<Allocation> place = inner_.Allocate(type, radix, key);
  if (place.ok()) {
    EXPECT_TRUE(live_.emplace(place->data_off, type).second) << "given out twice";
  }
  return place;
}

void DropAudit::Undo(DataOff data_off, BrefType type) {
  absl::MutexLock lock(&mu_);
  EXPECT_EQ(live_.erase(data_off), 1u) << "undo of what is not live: " << std::hex << data_off.raw;
  inner_.Undo(data_off, type);
}

void DropAudit::Dropped(std::span<const DroppedBlock> blocks, std::span<const DroppedTree> trees) {
  absl::MutexLock lock(&mu_);
  for (const DroppedBlock& block : blocks) Drop(block.data_off, block.type);
  unread_.insert(unread_.end(), trees.begin(), trees.end());
  dropped_trees_ += trees.size();
  inner_.Dropped(blocks, trees);
}

void DropAudit::Drop(DataOff data_off, BrefType type) {
  ++dropped_;
  const auto it = live_.find(data_off);
  if (it == live_.end() || it->second != type) {
    ADD_FAILURE() << "drop of what is not live: " << std::hex << data_off.raw << " " << Name(type);
    return;
  }
  live_.erase(it);
}

void DropAudit::Know(const BlockSet& blocks) {
  absl::MutexLock lock(&mu_);
  live_.insert(blocks.begin(), blocks.end());
}

void DropAudit::ReadDroppedTrees(BlockDevice& device, uint64_t total_size) {
  absl::MutexLock lock(&mu_);
  for (const DroppedTree& tree : std::exchange(unread_, {})) {
    BlockWalk walk(device, total_size);
    walk.Add(tree.root, tree.kind);
    for (const auto& [data_off, type] : walk.found()) Drop(data_off, type);
  }
}

BlockSet DropAudit::live() const {
  absl::MutexLock lock(&mu_);
  return live_;
}

size_t DropAudit::dropped() const {
  absl::MutexLock lock(&mu_);
  return dropped_;
}

size_t DropAudit::dropped_trees() const {
  absl::MutexLock lock(&mu_);
  return dropped_trees_;
}

}  // namespace h2bd
