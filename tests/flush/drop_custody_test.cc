// What the flusher tells the allocator as dropped, against what the media say: after each cycle
// that published, no block that the header reaches was dropped, and each other one was, once (spec
// 02 section 13.4). Through failed cycles, held disks, deletions, truncations.
#include <gtest/gtest.h>

#include <map>

#include "absl/strings/str_cat.h"
#include "core/base/random.h"
#include "tests/flush/engine_world.h"
#include "tests/fsck/image_editor.h"
#include "tests/support/fault_device.h"
#include "tests/support/fixtures.h"
#include "tests/volume/device_stack.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

constexpr uint64_t kDiskBlocks = 600;  // several tables

// Random disks; each step one change.
class Disks {
 public:
  Disks(EngineWorld& world, SeededRandom& rng) : world_(world), rng_(rng) {}

  void Step() {
    if (disks_.size() < 3) return Create();
    auto it = disks_.begin();
    std::advance(it, rng_.Next64() % disks_.size());
    const DiskRef disk = it->second;
    switch (rng_.Next64() % 10) {
      case 0:
        world_.Delete(it->first);
        disks_.erase(it);
        return;
      case 1:
        world_.Resize(disk, rng_.Next64() % (kDiskBlocks * kLogicalBytes));
        return;
      case 2:
        return Zero(disk);
      default:
        return Write(disk);
    }
  }

 private:
  void Create() {
    // Long names have a block of their own.
    ++created_;
    const std::string name = absl::StrCat(created_, std::string(created_ % 2 == 0 ? 100 : 1, 'n'));
    disks_[name] = world_.Create(name, kDiskBlocks * kLogicalBytes);
  }
  void Zero(const DiskRef& disk) {
    const uint64_t size = disk->size_bytes();
    if (size == 0) return;
    const uint64_t offset = rng_.Next64() % size;
    world_.Zero(disk, offset, 1 + rng_.Next64() % (size - offset));
  }
  void Write(const DiskRef& disk) {
    const uint64_t size = disk->size_bytes();
    if (size == 0) return;
    uint64_t offset = rng_.Next64() % size;
    for (uint64_t n = 1 + rng_.Next64() % 12; n > 0 && offset < size; --n) {
      std::string text(std::min<uint64_t>(1 + rng_.Next64() % 3000, size - offset), '\0');
      rng_.Fill(std::as_writable_bytes(std::span(text)));
      world_.Write(disk, offset, text);
      offset += kLogicalBytes;
    }
  }

  EngineWorld& world_;
  SeededRandom& rng_;
  std::map<std::string, DiskRef> disks_;
  uint64_t created_ = 0;
};

TEST(DropCustody, EachDeadBlockIsToldOnceThroughFailedCycles) {
  SeededRandom rng(TestSeed());
  MemoryDevice device(*FormattedImage(8 * kGiB));
  EngineWorld world(device, SystemClock(), {.manual = true});
  Disks disks(world, rng);
  int failed = 0, published = 0;
  for (int step = 0; step < 600 && !testing::Test::HasFailure(); ++step) {
    SCOPED_TRACE(absl::StrCat("step ", step));
    disks.Step();
    const uint64_t dice = rng.Next64() % 8;
    if (dice > 2) continue;
    if (dice > 0) world.allocator().FailAt(1 + rng.Next64() % 20);
    const bool ok = world.Sync().ok();
    world.allocator().FailAt(0);
    ++(ok ? published : failed);
    // A cycle that failed has told only what no later header can name; this one's header stands.
    if (ok) world.ExpectExactDrops();
  }
  ASSERT_TRUE(world.Sync().ok());
  world.ExpectExactDrops();
  EXPECT_GT(failed, 20);
  EXPECT_GT(published, 20);
  EXPECT_GT(world.audit().dropped(), 500u);
}

// A process that finds disks deletes and truncates what it has never read: whole trees are told.
TEST(DropCustody, WhatWasNeverReadIsToldAsTrees) {
  SeededRandom rng(TestSeed());
  MemoryDevice device(*FormattedImage(8 * kGiB));
  {
    EngineWorld first(device, SystemClock(), {.manual = true});
    for (const char* name : {"deleted", "cut"}) {
      const DiskRef disk = first.Create(name, kDiskBlocks * kLogicalBytes);
      for (uint64_t block = 0; block < kDiskBlocks; ++block) {
        first.Write(disk, block * kLogicalBytes, "content");
      }
    }
    ASSERT_TRUE(first.Sync().ok());
    first.ExpectExactDrops();
  }
  EngineWorld world(device, SystemClock(), {.manual = true});
  const size_t before = world.Reachable().size();
  world.Delete("deleted");
  world.Resize(world.Find("cut"), kLogicalBytes);
  ASSERT_TRUE(world.Sync().ok());
  EXPECT_GT(world.audit().dropped_trees(), 1u);
  world.ExpectExactDrops();
  EXPECT_LT(world.Reachable().size() + 2 * kDiskBlocks - 10, before);
}

// A cycle that fails between the tree and the index tells nothing: the header names the old blocks.
TEST(DropCustody, ATreeThatNoIndexHasYetKeepsWhatTheOldOneNames) {
  MemoryDevice device(*FormattedImage(8 * kGiB));
  EngineWorld world(device, SystemClock(), {.manual = true});
  const DiskRef disk = world.Create("d", 4 * kLogicalBytes), other = world.Create("o", 1 << 20);
  const std::string noise = [] {
    std::string text(kLogicalBytes, '\0');
    SeededRandom(5).Fill(std::as_writable_bytes(std::span(text)));
    return text;
  }();
  for (uint64_t block = 0; block < 4; ++block) world.Write(disk, block * kLogicalBytes, noise);
  ASSERT_TRUE(world.Sync().ok());
  world.ExpectExactDrops();

  // Installed, and the inode's block finds no space.
  world.Write(disk, 0, "new");
  world.Write(disk, kLogicalBytes, "new");
  world.allocator().FailAt(3);
  ASSERT_FALSE(world.Sync().ok());
  world.allocator().FailAt(0);
  const size_t told = world.audit().dropped();
  const BlockSet live = world.audit().live();
  for (const auto& [data_off, type] : world.Reachable()) {
    EXPECT_TRUE(live.contains(data_off)) << "the header still names it";
  }
  world.Write(other, 0, "x");
  ASSERT_TRUE(world.Sync().ok());
  world.ExpectExactDrops();
  EXPECT_GE(world.audit().dropped(), told + 2) << "both old blocks, now that the header is another";
}

// The case that forces custody. A cycle puts a part of a disk's changes into its tree and fails;
// the disk is held then, and headers are published without it: they name the old blocks.
class HeldAhead : public testing::Test {
 protected:
  static constexpr uint64_t kBlocks = 1536, kBlocksOfTable = 128;

  // Nothing stays in the caches between the data stage and the trees, but for the oldest buffers.
  HeldAhead() : memory_(*FormattedImage(8 * kGiB)), device_(memory_, faults_) {
    world_ =
        std::make_unique<EngineWorld>(device_, SystemClock(), GroupCommitOptions{.manual = true},
                                      /*block_cache_bytes=*/0, /*chain_cache_bytes=*/0);
    world_->AuditFrom(memory_);
    disk_ = world_->Create("d", kBlocks * kLogicalBytes);
    other_ = world_->Create("o", kBlocks * kLogicalBytes);
    SeededRandom rng(TestSeed());
    std::string noise(20 * kKiB, '\0');
    for (uint64_t block = 0; block < kBlocks; ++block) {
      rng.Fill(std::as_writable_bytes(std::span(noise)));
      world_->Write(disk_, block * kLogicalBytes, noise);
    }
    EXPECT_TRUE(world_->Sync().ok());
    world_->ExpectExactDrops();
  }

  void FailSecondTable() {
    const ImageEditor editor(memory_.Snapshot(), world_->flusher().last_published().header_slot);
    const int found = editor.Find([](const ImageEditor::Node& node) {
      return node.bref.type == BrefType::kIndirect &&
             node.bref.key == Key(kBlocksOfTable << kLogicalRadix);
    });
    const DataOff table = editor.nodes()[static_cast<size_t>(found)].bref.data_off;
    faults_.Reset({.fail_at = 1,
                   .sticky = true,
                   .reads = true,
                   .writes = false,
                   .syncs = false,
                   .begin = table.offset().v,
                   .end = table.offset().v + table.bytes()});
  }
  void MakeHeldAndAhead() {
    world_->Zero(disk_, kLogicalBytes, kLogicalBytes);
    for (uint64_t block = kBlocksOfTable; block < kBlocks; ++block) {
      world_->Write(disk_, block * kLogicalBytes, "n");
    }
    FailSecondTable();
    const Tid before = world_->flusher().mirror_tid();
    EXPECT_FALSE(world_->Sync().ok());
    ASSERT_EQ(world_->flusher().mirror_tid(), before) << "failed as a whole";
    world_->Write(other_, 0, "x");
    world_->Sync().status().IgnoreError();
    ASSERT_EQ(world_->flusher().held().size(), 1u);
    ASSERT_GT(world_->flusher().mirror_tid(), before) << "published without it";
    ASSERT_TRUE(disk_->inode().tree().modified()) << "the tree is ahead";
    EXPECT_EQ(*disk_->inode().tree().Find(Key(kLogicalBytes)), std::nullopt);
    world_->ExpectExactDrops();
  }

  MemoryDevice memory_;
  FaultPoint faults_{FaultPlan{.fail_at = 0}};
  FaultDevice device_;
  std::unique_ptr<EngineWorld> world_;
  DiskRef disk_, other_;
};

TEST_F(HeldAhead, WhatTheHeaderNamesIsToldWhenTheDiskIsStored) {
  ASSERT_NO_FATAL_FAILURE(MakeHeldAndAhead());
  faults_.Reset({.fail_at = 0});
  world_->Write(disk_, 0, "again");
  ASSERT_TRUE(world_->Sync().ok());
  ASSERT_EQ(world_->flusher().held().size(), 0u);
  world_->ExpectExactDrops();
}

TEST_F(HeldAhead, WhatTheHeaderNamesIsToldWhenTheDiskIsDeleted) {
  ASSERT_NO_FATAL_FAILURE(MakeHeldAndAhead());
  world_->Delete("d");
  ASSERT_TRUE(world_->Sync().ok());
  ASSERT_EQ(world_->flusher().held().size(), 0u);
  faults_.Reset({.fail_at = 0});
  world_->ExpectExactDrops();
}

}  // namespace
}  // namespace h2bd
