#include "tests/chain/topology_walk.h"

#include <gtest/gtest.h>

#include "core/chain/table_shape.h"
#include "core/media/check_code.h"

namespace h2bd {
namespace {

class Walker {
 public:
  Walker(BlockDevice& device, TableKind kind, Topology& found)
      : device_(device), kind_(kind), found_(found) {}

  void Walk(const std::vector<Blockref>& entries) {
    for (const Blockref& entry : entries) {
      if (entry.type == BrefType::kIndirect) {
        WalkIndirect(entry);
        continue;
      }
      EXPECT_TRUE(found_.leaves.emplace(entry.key, entry).second) << Describe(entry);
    }
  }

 private:
  void WalkIndirect(const Blockref& bref) {
    SCOPED_TRACE(Describe(bref));
    const uint64_t bytes = bref.data_off.bytes();
    EXPECT_TRUE(bytes == 4096 || bytes == 16384 || bytes == 65536) << bytes;
    EXPECT_NE(bref.check_method(), CheckMethod::kNone);
    EXPECT_NE(bref.check_method(), CheckMethod::kDisabled);
    EXPECT_EQ(bref.comp_method(), CompMethod::kNone);

    AlignedBuffer buffer(kPbufBytes);
    ASSERT_TRUE(device_.Read(bref.data_off.buffer(), buffer.span()).ok());
    const ConstByteSpan raw =
        buffer.span().subspan(bref.data_off.offset().v - bref.data_off.buffer().v, bytes);
    const absl::Status check = VerifyCheck(bref, raw);
    ASSERT_TRUE(check.ok()) << check;
    absl::StatusOr<std::vector<Blockref>> entries =
        DecodeTable(raw, kind_, bref.key, bref.keybits, device_.size_bytes());
    ASSERT_TRUE(entries.ok()) << entries.status();
    EXPECT_FALSE(entries->empty());
    EXPECT_TRUE(IsAllZero(raw.subspan(entries->size() * kBlockrefBytes))) << "used slots first";

    const ChainStats stats = StatsOf(*entries);
    EXPECT_EQ(bref.data_count(), stats.data_count);
    EXPECT_EQ(bref.inode_count(), stats.inode_count);
    EXPECT_EQ(bref.leaf_count, stats.leaf_count);
    for (const Blockref& entry : *entries) {
      EXPECT_GE(bref.mirror_tid, entry.mirror_tid);
      EXPECT_GE(bref.modify_tid, entry.modify_tid);
      if (entry.type == BrefType::kIndirect) {
        EXPECT_LT(entry.keybits, bref.keybits);
      }
    }
    found_.tables.push_back({bref, *entries});
    Walk(*entries);
  }

  BlockDevice& device_;
  const TableKind kind_;
  Topology& found_;
};

}  // namespace

std::vector<const WalkedTable*> Topology::OfKeybits(unsigned keybits) const {
  std::vector<const WalkedTable*> result;
  for (const WalkedTable& table : tables) {
    if (table.bref.keybits == keybits) result.push_back(&table);
  }
  return result;
}

Topology WalkTopology(BlockDevice& device, const std::vector<Blockref>& blockset, TableKind kind) {
  std::vector<std::byte> raw(kEmbeddedBytes);
  for (size_t i = 0; i < blockset.size(); ++i)
    StoreAs(ByteSpan(raw), blockset[i], i * kBlockrefBytes);
  const absl::StatusOr<std::vector<Blockref>> entries =
      DecodeTable(raw, kind, Key(0), 64, device.size_bytes());
  EXPECT_TRUE(entries.ok()) << entries.status();
  Topology found;
  if (entries.ok()) Walker(device, kind, found).Walk(*entries);
  return found;
}

std::vector<Blockref> Entries(const std::array<Blockref, 4>& blockset) {
  std::vector<Blockref> entries;
  bool ended = false;
  for (const Blockref& entry : blockset) {
    EXPECT_FALSE(ended && !entry.empty()) << "used slots first";
    ended |= entry.empty();
    if (!entry.empty()) entries.push_back(entry);
  }
  return entries;
}

}  // namespace h2bd
