// A cycle that fails while it puts generations into trees leaves some trees ahead of others, one of
// them perhaps with half of a generation. No header may show that (spec 04 I-09, F-141 to F-145).
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/media/placement.h"
#include "tests/fsck/image_editor.h"
#include "tests/support/fixtures.h"
#include "tests/support/metric_values.h"
#include "tests/volume/device_stack.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

constexpr uint64_t kBlocks = 1536, kDiskBytes = kBlocks * kLogicalBytes;
// Stored data of a block: two of them share a buffer, and more of these than are kept lie between
// one use of a table and the next.
constexpr uint64_t kNoiseBytes = 20 * kKiB;
constexpr uint64_t kBlocksOfTable = 128;
using Blocks = std::vector<std::pair<std::string, uint64_t>>;

// Of the last header that is confirmed before the faults begin.
constexpr int kConfirmedSlot = 1;

VolumeOptions ForgetfulOptions() {
  VolumeOptions options = ManualOptions();
  options.block_cache_bytes = 0;
  options.chain_cache_bytes = 0;
  return options;
}

class HalfInstalled : public testing::Test {
 protected:
  HalfInstalled() : stack_({*FormattedImage(8 * kGiB)}) {
    volume_ = *stack_.Open(ForgetfulOptions());
    for (const char* name : {"a", "b"}) {
      EXPECT_TRUE(volume_->CreateDisk({"", name}, {kDiskBytes}).ok());
      disks_[name] = *volume_->OpenDisk({"", name});
      for (uint64_t block = 0; block < kBlocks; ++block) WriteOld(name, block);
    }
    EXPECT_TRUE(volume_->Sync(nullptr, {}).ok());
    // Its header is not confirmed: the generations are in trees that no header has.
    for (const char* name : {"a", "b"}) {
      EXPECT_EQ(WriteText(*volume_, disks_[name], 0, "p"), absl::OkStatus());
    }
    stack_.point(0).Reset({.fail_at = 1,
                           .sticky = true,
                           .syncs = false,
                           .begin = HeaderSlotOffset(kConfirmedSlot + 1).v,
                           .end = HeaderSlotOffset(kConfirmedSlot + 1).v + kVolumeHeaderBytes});
    EXPECT_FALSE(volume_->Sync(nullptr, {}).ok());
    EXPECT_TRUE(stack_.point(0).reached());
  }

  void WriteOld(const std::string& name, uint64_t block) {
    std::string text(kNoiseBytes, '\0');
    rng_.Fill(std::as_writable_bytes(std::span(text)));
    text.front() = 'o';
    EXPECT_EQ(WriteText(*volume_, disks_[name], block * kLogicalBytes, text), absl::OkStatus());
  }
  // One operation: zeroes over a block of `zeroed`, and one byte in each block of "b" from the
  // second table on.
  void WriteInOne(const std::string& zeroed) {
    const ConstByteSpan byte = AsBytes("n");
    const TxnInfo txn = *volume_->Begin({});
    ASSERT_EQ(volume_->TxnWriteZeroes(txn.id, disks_[zeroed], kLogicalBytes, kLogicalBytes, {}),
              absl::OkStatus());
    for (uint64_t block = kBlocksOfTable; block < kBlocks; ++block) {
      ASSERT_EQ(volume_->TxnWrite(txn.id, disks_["b"], block * kLogicalBytes,
                                  std::span<const ConstByteSpan>(&byte, 1), {}),
                absl::OkStatus());
    }
    ASSERT_TRUE(volume_->Commit(txn.id, {}).ok());
  }
  // From now on the second table of "b" cannot be read.
  void FailTable() {
    const ImageEditor editor(stack_.Snapshot().front(), kConfirmedSlot);
    const Key key(kBlocksOfTable << kLogicalRadix);
    Blockref table;
    for (const ImageEditor::Node& node : editor.nodes()) {
      if (node.bref.type != BrefType::kIndirect || node.bref.key != key) continue;
      const ImageEditor::Node& inode = editor.nodes()[static_cast<size_t>(node.inode)];
      if (inode.data->meta.inum == disks_["b"]->id().inum) table = node.bref;
    }
    ASSERT_EQ(uint64_t{1} << table.keybits, kBlocksOfTable * kLogicalBytes);
    const uint64_t begin = table.data_off.offset().v;
    stack_.point(0).Reset({.fail_at = 1,
                           .sticky = true,
                           .reads = true,
                           .writes = false,
                           .syncs = false,
                           .begin = begin,
                           .end = begin + table.data_off.bytes()});
  }
  void ExpectCycleFails() {
    EXPECT_EQ(volume_->Sync(nullptr, {}).status().code(), absl::StatusCode::kUnavailable);
    EXPECT_TRUE(stack_.point(0).reached());
  }
  // After a power loss, the first byte of each of the blocks.
  std::string Found(const Blocks& blocks) const {
    ImageVolume later(stack_.Snapshot(), ManualOptions());
    EXPECT_TRUE(later.status().ok()) << later.status();
    std::string found;
    for (const auto& [name, block] : blocks) {
      char byte = 0;
      const DiskRef disk = *later->OpenDisk({"", name});
      EXPECT_EQ(
          later->Read(disk, block * kLogicalBytes, std::as_writable_bytes(std::span(&byte, 1)), {}),
          absl::OkStatus());
      found += byte == 0 ? '0' : byte;
    }
    return found;
  }
  // The operation cannot be installed as a whole in one cycle, nor be stored in the next.
  void ExpectWhollyOrNotAtAll(const std::string& zeroed) {
    const Blocks blocks = {{zeroed, 1}, {"b", kBlocksOfTable}, {"b", kBlocks - 1}};
    WriteInOne(zeroed);
    FailTable();
    // The data stage, which changes no tree, finds the table in a buffer that cycle 1 has left.
    ExpectCycleFails();
    EXPECT_EQ(MetricValues(*volume_)["h2bd_held_disks"], 0) << "the cycle failed as a whole";
    ExpectCycleFails();
    EXPECT_EQ(Found(blocks), "ooo");
    stack_.point(0).Reset({.fail_at = 0});
    EXPECT_EQ(volume_->Sync(nullptr, {}).status(), absl::OkStatus());
    EXPECT_EQ(Found(blocks), "0nn");
    EXPECT_EQ(Found({{"a", 0}, {"b", 0}}), "pp");
    EXPECT_EQ(volume_->GetStatus().space.reserved_bytes, 0u);
    ExpectCleanSet(stack_.Snapshot());
  }

  SeededRandom rng_{TestSeed()};
  DeviceStack stack_;
  std::unique_ptr<Volume> volume_;
  std::map<std::string, DiskRef> disks_;
};

TEST_F(HalfInstalled, AWriteOfWhichHalfIsInTheTreeIsNotPublished) { ExpectWhollyOrNotAtAll("b"); }

TEST_F(HalfInstalled, ATransactionOfWhichOneDiskIsInItsTreeIsNotPublished) {
  ExpectWhollyOrNotAtAll("a");
}

}  // namespace
}  // namespace h2bd
