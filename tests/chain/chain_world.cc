#include "tests/chain/chain_world.h"

#include <gtest/gtest.h>

#include <utility>

#include "core/media/inode_data.h"

namespace h2bd {

class ChainWorld::HookDevice final : public BlockDevice {
 public:
  explicit HookDevice(ChainWorld& world) : world_(world) {}
  absl::Status Read(ByteOff off, ByteSpan into) override {
    if (world_.during_read_ != nullptr) std::exchange(world_.during_read_, nullptr)();
    return world_.device_.Read(off, into);
  }
  absl::Status Write(ByteOff off, ConstByteSpan from) override {
    return world_.device_.Write(off, from);
  }
  absl::Status Sync() override { return world_.device_.Sync(); }
  uint64_t size_bytes() const override { return world_.device_.size_bytes(); }
  uint32_t sector_bytes() const override { return world_.device_.sector_bytes(); }
  bool read_only() const override { return world_.device_.read_only(); }
  const std::string& name() const override { return world_.device_.name(); }

 private:
  ChainWorld& world_;
};

ChainWorld::ChainWorld(SparseImage image, ChainWorldOptions options)
    : options_(options),
      device_(std::move(image)),
      hooked_(std::make_unique<HookDevice>(*this)),
      faults_(FaultPlan{.fail_at = 0}),
      allocator_(options.allocate_from, device_.size_bytes()) {
  Remount();
}

void ChainWorld::Remount() {
  cache_.reset();
  store_.reset();
  dio_.reset();
  std::vector<DeviceSet::Member> members;
  members.push_back({std::make_unique<FaultDevice>(*hooked_, faults_), 0, device_.size_bytes()});
  devices_ = std::make_unique<DeviceSet>(std::move(members));
  dio_ = std::make_unique<Dio>(*devices_, DioOptions{.writer_threads = 0}, NullLogger());
  store_ = std::make_unique<BlockStore>(*dio_, allocator_, device_.size_bytes());
  cache_ = std::make_unique<ChainCache>(options_.cache_bytes);
}

DataOff ChainWorld::NewPlace(BrefType type, unsigned radix) {
  const absl::StatusOr<Allocation> place = allocator_.Allocate(type, radix, Key(0));
  EXPECT_TRUE(place.ok()) << place.status();
  return place.ok() ? place->data_off : DataOff{};
}

Blockref ChainWorld::Data(uint64_t block, unsigned radix) {
  Blockref bref;
  bref.type = BrefType::kData;
  bref.set_methods(CheckMethod::kXxhash64, CompMethod::kNone);
  bref.key = Key(block << kLogicalRadix);
  bref.keybits = kLogicalRadix;
  bref.data_off = NewPlace(BrefType::kData, radix);
  bref.mirror_tid = tids_.mirror_tid;
  bref.modify_tid = tids_.modify_tid;
  return bref;
}

Blockref ChainWorld::InodeLeaf(uint64_t inum) {
  Blockref bref;
  bref.type = BrefType::kInode;
  bref.methods = kMethods;
  bref.key = Key(inum);
  bref.data_off = NewPlace(BrefType::kInode, kInodeRadix);
  bref.mirror_tid = tids_.mirror_tid;
  bref.modify_tid = tids_.modify_tid;
  return bref;
}

Blockref ChainWorld::DirentLeaf(Key key, Inum inum) {
  Blockref bref;
  bref.type = BrefType::kDirent;
  bref.methods = kMethods;
  bref.key = key;
  bref.set_dirent(inum, 1, static_cast<uint8_t>(ObjectType::kRegfile));
  bref.check[0] = std::byte{'x'};
  bref.mirror_tid = tids_.mirror_tid;
  bref.modify_tid = tids_.modify_tid;
  return bref;
}

void ChainWorld::Damage(DataOff at, uint64_t byte) {
  AlignedBuffer page(kPbufBytes);
  ASSERT_TRUE(device_.Read(at.buffer(), page.span()).ok());
  page.data()[at.offset().v - at.buffer().v + byte] ^= std::byte{0x40};
  ASSERT_TRUE(device_.Write(at.buffer(), page.span()).ok());
}

void ChainWorld::NextCycle() {
  ++tids_.mirror_tid.v;
  ++tids_.modify_tid.v;
}

}  // namespace h2bd
