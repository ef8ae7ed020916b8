#include "tests/freemap/test_volume.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/freemap/freemap_load.h"

namespace h2bd {

std::unique_ptr<VolumeData> FreemapHeader(uint64_t total_size, uint64_t allocator_beg,
                                          uint64_t allocator_size) {
  auto header = std::make_unique<VolumeData>();
  header->version = kVolumeVersionMulti;
  header->volu_size = header->total_size = total_size;
  header->nvolumes = 1;
  header->allocator_beg = allocator_beg;
  header->allocator_size = header->allocator_free = allocator_size;
  header->mirror_tid = header->freemap_tid = kFormatTid;
  return header;
}

Blockref BlockAt(BrefType type, uint64_t address, unsigned radix) {
  Blockref bref;
  bref.type = type;
  bref.data_off = DataOff::Make(ByteOff(address), radix);
  return bref;
}

TestVolume::TestVolume(std::unique_ptr<VolumeData> header, int header_slots)
    : device_(std::make_unique<MemoryDevice>(header->total_size)),
      header_(std::move(header)),
      header_slots_(header_slots) {
  for (int slot = 0; slot < header_slots_; ++slot) {
    ring_.push_back(NewestEntry(slot));
  }
  EXPECT_EQ(Reopen(), absl::OkStatus());
}

RingEntry TestVolume::NewestEntry(int slot) const {
  RingEntry entry;
  entry.slot = slot;
  entry.confirmed = true;
  entry.mirror_tid = header_->mirror_tid;
  entry.freemap_blockset = header_->freemap_blockset;
  return entry;
}

absl::Status TestVolume::Reopen() {
  freemap_.reset();
  dio_.reset();
  std::vector<DeviceSet::Member> members;
  BlockDevice& device = borrowed_ == nullptr ? *device_ : *borrowed_;
  members.push_back({std::make_unique<BorrowedDevice>(device), 0, device.size_bytes()});
  devices_ = std::make_unique<DeviceSet>(std::move(members));
  dio_ = std::make_unique<Dio>(*devices_, DioOptions{.writer_threads = 0}, NullLogger());
  H2_ASSIGN_OR_RETURN(freemap_, Freemap::Open(*header_, ring_, *dio_, NullLogger()));
  return absl::OkStatus();
}

absl::StatusOr<Freemap::Flushed> TestVolume::Flush() {
  ++tid_;
  H2_ASSIGN_OR_RETURN(Freemap::Flushed flushed, freemap_->Flush({Tid(tid_), Tid(tid_)}, ring_));
  H2_RETURN_IF_ERROR(dio_->Drain());
  return flushed;
}

Freemap::Flushed TestVolume::Commit() {
  absl::StatusOr<Freemap::Flushed> flushed = Flush();
  EXPECT_EQ(flushed.status(), absl::OkStatus());
  if (!flushed.ok()) return {};
  header_->freemap_blockset = flushed->blockset;
  header_->allocator_free = flushed->allocator_free;
  header_->mirror_tid = header_->freemap_tid = Tid(tid_);
  slot_ = (slot_ + 1) % header_slots_;
  std::erase_if(ring_, [&](const RingEntry& entry) { return entry.slot == slot_; });
  ring_.push_back(NewestEntry(slot_));
  freemap_->Published(Tid(tid_), true);
  return *std::move(flushed);
}

Blockref TestVolume::LeafBref(uint64_t zone_base) {
  absl::StatusOr<FreemapNode> root = LoadFreemapTables(
      header_->freemap_blockset, header_->total_size, BadNode::kFail, *dio_, NullLogger());
  EXPECT_EQ(root.status(), absl::OkStatus());
  Blockref found;
  if (!root.ok()) return found;
  VisitFreemap(*root, [&](const FreemapEntry& entry) {
    if (entry.node == nullptr && entry.bref.key.v == zone_base) found = entry.bref;
  });
  EXPECT_FALSE(found.empty()) << "no leaf for the zone at " << zone_base;
  return found;
}

std::unique_ptr<FreemapLeafData> TestVolume::Leaf(uint64_t zone_base) {
  absl::StatusOr<std::unique_ptr<FreemapLeafData>> leaf =
      LoadFreemapLeaf(LeafBref(zone_base), *dio_);
  EXPECT_EQ(leaf.status(), absl::OkStatus());
  return leaf.ok() ? *std::move(leaf) : std::make_unique<FreemapLeafData>();
}

}  // namespace h2bd
