#include "core/chain/block_store.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/media/check_code.h"
#include "tests/chain/chain_world.h"

namespace h2bd {
namespace {

AlignedBuffer Pattern(size_t bytes) {
  AlignedBuffer block(bytes);
  for (size_t i = 0; i < bytes; ++i) block.data()[i] = static_cast<std::byte>(i * 7);
  return block;
}

Blockref Template(CheckMethod check) {
  Blockref bref;
  bref.type = BrefType::kInode;
  bref.key = Key(0x400);
  bref.set_methods(check, CompMethod::kLz4);
  bref.check.fill(std::byte{0xee});  // of the block before
  bref.flags = kBrefFlagPfsroot | kBrefFlagEmergMip;
  bref.copyid = 0xff;
  bref.vradix = 10;
  bref.update_tid = Tid(5);
  return bref;
}

TEST(BlockStore, StoresAndLoadsEverySizeAndMethod) {
  ChainWorld world;
  for (CheckMethod check : {CheckMethod::kIscsi32, CheckMethod::kXxhash64, CheckMethod::kSha192}) {
    for (unsigned radix = kRadixMin; radix <= kRadixMax; ++radix) {
      Blockref bref = Template(check);
      ASSERT_TRUE(world.store().Store(bref, Pattern(size_t{1} << radix), world.tids()).ok());
      EXPECT_EQ(bref.data_off.radix(), radix);
      EXPECT_EQ(bref.mirror_tid, world.tids().mirror_tid);
      EXPECT_EQ(bref.modify_tid, world.tids().modify_tid);
      const absl::StatusOr<AlignedBuffer> block = world.store().Load(bref);
      ASSERT_TRUE(block.ok()) << block.status();
      EXPECT_TRUE(std::ranges::equal(block->span(), Pattern(size_t{1} << radix).span()));
    }
  }
}

TEST(BlockStore, KeepsWhatIsNotItsOwn) {
  ChainWorld world;
  Blockref bref = Template(CheckMethod::kXxhash64);
  ASSERT_TRUE(world.store().Store(bref, Pattern(1024), world.tids()).ok());
  EXPECT_EQ(bref.copyid, 0xff);
  EXPECT_EQ(bref.vradix, 10);
  EXPECT_EQ(bref.update_tid, Tid(5));
  EXPECT_EQ(bref.key, Key(0x400));
  EXPECT_EQ(bref.flags, kBrefFlagPfsroot) << "EMERG_MIP ends with the next copy on write";
  EXPECT_EQ(LoadAs<uint64_t>(bref.check), uint64_t{0x526ba0b56183ef73})
      << "spec 01 section 13.1, 1024 bytes of 7 i";
  EXPECT_TRUE(IsAllZero(ConstByteSpan(bref.check).subspan(8))) << "no leftovers of another method";
}

TEST(BlockStore, DamageIsDataLossAndNamesThePlace) {
  ChainWorld world;
  Blockref bref = Template(CheckMethod::kXxhash64);
  ASSERT_TRUE(world.store().Store(bref, Pattern(1024), world.tids()).ok());
  ASSERT_TRUE(world.Drain().ok());
  world.Damage(bref.data_off, 1000);
  world.Remount();
  const absl::Status status = world.store().Load(bref).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(std::string(status.message()).find("0x0000000000000400"), std::string::npos) << status;
}

TEST(BlockStore, RefusesPlacesThatNoBlockCanHave) {
  ChainWorld world;
  Blockref bref = Template(CheckMethod::kNone);
  for (uint64_t raw : {uint64_t{0x10000 | 10},  // reserved head of the zone
                       uint64_t{0x800000 | 9}, uint64_t{0x800000 | 17},   // radix
                       world.total_size() | 10, ~uint64_t{0x3f} | 10}) {  // behind the end
    bref.data_off.raw = raw;
    EXPECT_EQ(world.store().Load(bref).status().code(), absl::StatusCode::kDataLoss) << raw;
  }
}

TEST(BlockStore, AFailedReadIsUnavailable) {
  ChainWorld world;
  Blockref bref = Template(CheckMethod::kXxhash64);
  ASSERT_TRUE(world.store().Store(bref, Pattern(1024), world.tids()).ok());
  ASSERT_TRUE(world.Drain().ok());
  world.Remount();
  world.faults().Reset(
      {.fail_at = 1, .sticky = true, .reads = true, .writes = false, .syncs = false});
  EXPECT_EQ(world.store().Load(bref).status().code(), absl::StatusCode::kUnavailable);
  world.faults().Reset({.fail_at = 0});
  EXPECT_TRUE(world.store().Load(bref).ok()) << "and may be retried";
}

TEST(BlockStore, AFailedStoreLeavesNothing) {
  ChainWorld world;
  Blockref bref = Template(CheckMethod::kXxhash64);
  const Blockref before = bref;
  world.allocator().FailAt(1);
  EXPECT_EQ(world.store().Store(bref, Pattern(1024), world.tids()).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(bref, before);

  // After a failed device write the buffers take no more; the place goes back.
  ASSERT_TRUE(world.store().Store(bref, Pattern(1024), world.tids()).ok());
  const Blockref stored = bref;
  world.faults().Reset({.fail_at = 1, .syncs = false});
  ASSERT_FALSE(world.Drain().ok());
  const auto live = world.allocator().live();
  EXPECT_EQ(world.store().Store(bref, Pattern(1024), world.tids()).code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(bref, stored);
  EXPECT_EQ(world.allocator().live(), live);
}

}  // namespace
}  // namespace h2bd
