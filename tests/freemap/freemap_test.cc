#include "core/freemap/freemap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "core/freemap/freemap_load.h"
#include "core/media/check_code.h"
#include "tests/freemap/test_volume.h"

namespace h2bd {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kUsable = 10 * kSegBytes;  // of Vector A

DataOff Take(TestVolume& volume, BrefType type, unsigned radix, uint64_t key = 0) {
  const auto got = volume.freemap().Allocate(type, radix, Key(key));
  EXPECT_EQ(got.status(), absl::OkStatus());
  return got.ok() ? got->data_off : DataOff{};
}

// --- counting
// ----------------------------------------------------------------------------------------

TEST(Freemap, EmptyVolumeIsFree) {
  TestVolume volume = TestVolume::VectorA();
  const SpaceUsage usage = volume.freemap().usage();
  EXPECT_EQ(usage.total_bytes, kUsable);
  EXPECT_EQ(usage.free_bytes, kUsable);
  EXPECT_EQ(usage.allocated_bytes + usage.staged_bytes + usage.unreadable_bytes, 0u);
}

TEST(Freemap, FlushAndReopenGivesTheSameMap) {
  TestVolume volume = TestVolume::VectorA();
  for (int i = 0; i < 100; ++i) {
    Take(volume, BrefType::kData, 10 + static_cast<unsigned>(i) % 7,
         static_cast<uint64_t>(i) << 16);
    Take(volume, BrefType::kInode, 10);
  }
  const SpaceUsage before = volume.freemap().usage();
  volume.Commit();
  const auto leaf = volume.Leaf(0);
  ASSERT_EQ(volume.Reopen(), absl::OkStatus());
  const SpaceUsage after = volume.freemap().usage();
  EXPECT_EQ(after.allocated_bytes, before.allocated_bytes);
  EXPECT_EQ(after.free_bytes, before.free_bytes);
  EXPECT_EQ(after.allocated_bytes + after.free_bytes, kUsable);
  // Nothing was changed, so nothing is written.
  const auto flushed = volume.Flush();
  ASSERT_TRUE(flushed.ok());
  EXPECT_EQ(flushed->blocks, 0u);
  EXPECT_EQ(flushed->blockset, volume.header().freemap_blockset);
  EXPECT_EQ(*volume.Leaf(0), *leaf);
}

// A leaf of somebody else: avail is believed from the bitmaps only, an open iterator not at all,
// and the class stays.
TEST(Freemap, OpenCorrectsWhatTheMediaClaim) {
  TestVolume volume = TestVolume::VectorA();
  const DataOff inode = Take(volume, BrefType::kInode, 10);
  volume.Commit();
  const Blockref bref = volume.LeafBref(0);
  auto leaf = volume.Leaf(0);
  (*leaf)[6].avail = 0;
  (*leaf)[7].avail = 0x8000;
  Blockref forged = bref;
  SetCheck(forged, std::as_bytes(std::span(*leaf)));
  const AlignedBuffer image = AlignedBuffer::CopyOf(std::as_bytes(std::span(*leaf)));
  ASSERT_EQ(volume.device().Write(bref.data_off.offset(), image.span()), absl::OkStatus());
  volume.header().freemap_blockset[0] = forged;
  for (RingEntry& entry : volume.ring()) {
    if (entry.mirror_tid == volume.header().mirror_tid) entry.freemap_blockset[0] = forged;
  }
  ASSERT_EQ(volume.Reopen(), absl::OkStatus());

  EXPECT_EQ(volume.freemap().usage().free_bytes, kUsable - kChunkBytes);
  const DataOff next = Take(volume, BrefType::kInode, 10);
  EXPECT_EQ(next.offset().v, RoundDown(inode.offset().v, kChunkBytes) + kChunkBytes)
      << "same segment, next chunk: the open iterator was switched off";
  volume.Commit();
  EXPECT_EQ((*volume.Leaf(0))[6].avail, kSegBytes - 2 * kChunkBytes);
  EXPECT_EQ((*volume.Leaf(0))[7].avail, kSegBytes);
  EXPECT_EQ((*volume.Leaf(0))[6].class_, FreemapClass(BrefType::kInode));
}

// --- allocation
// --------------------------------------------------------------------------------------

TEST(Freemap, GivesOutTheLastChunkAndThenRefuses) {
  TestVolume volume = TestVolume::VectorA();
  for (uint64_t i = 0; i < kUsable / kPbufBytes; ++i) Take(volume, BrefType::kData, 16, i << 16);
  for (unsigned radix = kRadixMin; radix <= kRadixMax; ++radix) {
    const auto got = volume.freemap().Allocate(BrefType::kData, radix, Key(0));
    EXPECT_EQ(got.status().code(), absl::StatusCode::kResourceExhausted) << radix;
  }
  EXPECT_EQ(volume.freemap().usage().free_bytes, 0u);
  // The segment that holds allocator_beg is never given out, but counts in allocator_size.
  EXPECT_EQ(volume.Commit().allocator_free, kSegBytes);
}

TEST(Freemap, ClassesMixWhenSpaceIsShort) {
  TestVolume volume = TestVolume::VectorA();
  for (uint64_t i = 0; i < kUsable / kPbufBytes - 1; ++i)
    Take(volume, BrefType::kData, 16, i << 16);
  const DataOff inode = Take(volume, BrefType::kInode, 10);
  EXPECT_EQ(inode.offset().v, 64 * kMiB - kPbufBytes);
  volume.Commit();
  EXPECT_EQ((*volume.Leaf(0))[15].class_, FreemapClass(BrefType::kData));
}

// F-229: blocks of different cycles share no 4 KiB.
TEST(Freemap, CyclesStartAtTheirOwnPhysicalSector) {
  TestVolume volume = TestVolume::VectorA();
  const uint64_t base = Take(volume, BrefType::kInode, 10).offset().v;
  EXPECT_EQ(Take(volume, BrefType::kInode, 10).offset().v, base + 1024);
  volume.freemap().BeginCycle();
  EXPECT_EQ(Take(volume, BrefType::kInode, 10).offset().v, base + 4096);
  volume.freemap().BeginCycle();
  volume.freemap().BeginCycle();
  EXPECT_EQ(Take(volume, BrefType::kInode, 13).offset().v, base + 8192);
  volume.freemap().BeginCycle();
  // The iterator is at the end of its chunk, thus off.
  EXPECT_EQ(Take(volume, BrefType::kInode, 10).offset().v, base + kChunkBytes);
}

// --- undo
// --------------------------------------------------------------------------------------------

TEST(Freemap, UndoRestoresTheMapExactly) {
  TestVolume volume = TestVolume::VectorA();
  Take(volume, BrefType::kInode, 10);
  Take(volume, BrefType::kData, 16);
  volume.Commit();
  const auto before = volume.Leaf(0);
  const SpaceUsage usage = volume.freemap().usage();
  std::vector<std::pair<DataOff, BrefType>> taken;
  for (const BrefType type :
       {BrefType::kInode, BrefType::kIndirect, BrefType::kData, BrefType::kDirent}) {
    for (unsigned radix = kRadixMin; radix <= kRadixMax; ++radix) {
      taken.emplace_back(Take(volume, type, radix), type);
    }
  }
  for (auto it = taken.rbegin(); it != taken.rend(); ++it)
    volume.freemap().Undo(it->first, it->second);
  EXPECT_EQ(volume.freemap().usage().free_bytes, usage.free_bytes);
  volume.Commit();
  const auto after = volume.Leaf(0);
  for (size_t s = 0; s < kFreemapEntries; ++s) {
    EXPECT_EQ((*after)[s].bitmapq, (*before)[s].bitmapq) << s;
    EXPECT_EQ((*after)[s].avail, (*before)[s].avail) << s;
    EXPECT_EQ((*after)[s].class_, (*before)[s].class_) << s;
  }
}

TEST(Freemap, UndoKeepsAChunkWithOtherBlocks) {
  TestVolume volume = TestVolume::VectorA();
  const DataOff a = Take(volume, BrefType::kInode, 10);
  const DataOff b = Take(volume, BrefType::kInode, 10);
  const DataOff c = Take(volume, BrefType::kInode, 10);
  volume.freemap().Undo(b, BrefType::kInode);
  EXPECT_EQ(volume.freemap().usage().allocated_bytes, kChunkBytes);
  EXPECT_NE(Take(volume, BrefType::kInode, 10), b) << "c lies behind it";
  volume.freemap().Undo(c, BrefType::kInode);
  volume.freemap().Undo(a, BrefType::kInode);
  EXPECT_EQ(volume.freemap().usage().allocated_bytes, kChunkBytes);
}

TEST(Freemap, UndoOfTheLastSmallBlockMovesTheIteratorBack) {
  TestVolume volume = TestVolume::VectorA();
  Take(volume, BrefType::kInode, 10);
  const DataOff b = Take(volume, BrefType::kInode, 12);
  volume.freemap().Undo(b, BrefType::kInode);
  EXPECT_EQ(Take(volume, BrefType::kInode, 11).offset(), b.offset());
}

// The chunk held a block before the cycle: only that block's owner may ever free it.
TEST(Freemap, UndoNeverFreesAChunkOfAnEarlierCycle) {
  TestVolume volume = TestVolume::VectorA();
  Take(volume, BrefType::kInode, 10);
  volume.Commit();
  const DataOff b = Take(volume, BrefType::kInode, 10);
  volume.freemap().Undo(b, BrefType::kInode);
  EXPECT_EQ(volume.freemap().usage().allocated_bytes, kChunkBytes);
}

TEST(Freemap, PublishedBlocksCannotBeUndone) {
  TestVolume volume = TestVolume::VectorA();
  const DataOff a = Take(volume, BrefType::kData, 16);
  volume.Commit();
  volume.freemap().Undo(a, BrefType::kData);
  EXPECT_EQ(volume.freemap().usage().allocated_bytes, kPbufBytes);
  const DataOff b = Take(volume, BrefType::kData, 16);
  volume.freemap().Published(Tid(99), /*confirmed=*/false);  // it may be on the media
  volume.freemap().Undo(b, BrefType::kData);
  EXPECT_EQ(volume.freemap().usage().allocated_bytes, 2 * kPbufBytes);
}

// --- reservation
// -------------------------------------------------------------------------------------

TEST(Freemap, ReservationsCountWholeGroupsLessTheReserve) {
  TestVolume volume = TestVolume::VectorA();
  const uint64_t kept_back = kVectorASize / 40;
  ASSERT_GT(kept_back, kMiB);
  EXPECT_FALSE(volume.freemap().TryReserve(kUsable - kept_back + 1));
  EXPECT_TRUE(volume.freemap().TryReserve(kUsable - kept_back));
  EXPECT_FALSE(volume.freemap().TryReserve(1));
  EXPECT_TRUE(volume.freemap().TryReserve(0));
  EXPECT_TRUE(volume.freemap().TryReserve(kept_back, /*use_reserve=*/true));
  EXPECT_FALSE(volume.freemap().TryReserve(1, /*use_reserve=*/true));
  EXPECT_EQ(volume.freemap().usage().reserved_bytes, kUsable);
  volume.freemap().Unreserve(kUsable);
  EXPECT_FALSE(volume.freemap().TryReserve(UINT64_MAX));

  Take(volume, BrefType::kInode, 10);  // breaks one group
  EXPECT_FALSE(volume.freemap().TryReserve(kUsable - kept_back));
  EXPECT_TRUE(volume.freemap().TryReserve(kUsable - kept_back - kPbufBytes));
}

// --- recovery
// ----------------------------------------------------------------------------------------

TEST(Freemap, MarkAllocatedMarksEveryPositionOfAWord) {
  TestVolume volume = TestVolume::VectorA();
  constexpr uint64_t kBase = 6 * kSegBytes;
  for (uint64_t chunk = 0; chunk < 64; chunk += 2) {
    const auto marked = volume.freemap().MarkAllocated(
        BlockAt(BrefType::kIndirect, kBase + chunk * kChunkBytes, 14));
    ASSERT_TRUE(marked.ok());
    EXPECT_TRUE(*marked) << chunk;
  }
  EXPECT_EQ(volume.freemap().usage().allocated_bytes, 32 * kChunkBytes);
  volume.Commit();
  const BmapData segment = (*volume.Leaf(0))[6];
  for (int c = 0; c < kChunksPerSegment; ++c) {
    EXPECT_EQ(segment.chunk(c), c < 64 && c % 2 == 0 ? ChunkState::kAllocated : ChunkState::kFree)
        << c;
  }
  EXPECT_EQ(segment.class_, FreemapClass(BrefType::kIndirect));
  EXPECT_EQ(segment.linear, kLinearOff);
  EXPECT_EQ(segment.avail, kSegBytes - 32 * kChunkBytes);
  // Idempotent.
  EXPECT_FALSE(*volume.freemap().MarkAllocated(BlockAt(BrefType::kIndirect, kBase, 14)));
}

TEST(Freemap, MarkAllocatedKeepsTheIteratorOutOfTheBlock) {
  TestVolume volume = TestVolume::VectorA();
  const uint64_t base = Take(volume, BrefType::kInode, 10).offset().v;
  // Behind the iterator, in a chunk that is 11 already: nothing to mark, but the next small block
  // must not land on it (spec 02 section 7.4, defect 2).
  EXPECT_FALSE(*volume.freemap().MarkAllocated(BlockAt(BrefType::kInode, base + 2048, 11)));
  EXPECT_EQ(Take(volume, BrefType::kInode, 10).offset().v, base + kChunkBytes);
  // Before the iterator: it may stay.
  EXPECT_FALSE(*volume.freemap().MarkAllocated(BlockAt(BrefType::kInode, base + kChunkBytes, 10)));
  EXPECT_EQ(Take(volume, BrefType::kInode, 10).offset().v, base + kChunkBytes + 1024);
}

TEST(Freemap, MarkAllocatedIgnoresWhatHasNoBlockAndRefusesIllegalPlaces) {
  TestVolume volume = TestVolume::VectorA();
  Blockref none;
  none.type = BrefType::kDirent;
  EXPECT_FALSE(*volume.freemap().MarkAllocated(none));
  EXPECT_FALSE(*volume.freemap().MarkAllocated(BlockAt(BrefType::kInode, 0x1400400, 10)));
  for (const uint64_t address : {64 * kMiB, 1 * kGiB, uint64_t{1} << 60}) {
    EXPECT_EQ(volume.freemap().MarkAllocated(BlockAt(BrefType::kData, address, 16)).status().code(),
              absl::StatusCode::kDataLoss);
  }
  EXPECT_EQ(volume.freemap().usage().free_bytes, kUsable);
}

TEST(Freemap, MarkAllocatedMakesMissingLeaves) {
  TestVolume volume(FreemapHeader(3 * kGiB, 0x8400C00, 2900 * kMiB));
  EXPECT_TRUE(*volume.freemap().MarkAllocated(BlockAt(BrefType::kData, 2 * kGiB + 8 * kMiB, 16)));
  volume.Commit();
  EXPECT_EQ((*volume.Leaf(2 * kGiB))[2].chunk(3), ChunkState::kAllocated);
  EXPECT_EQ((*volume.Leaf(2 * kGiB))[0], BmapData::Reserved());
}

// --- damage
// ------------------------------------------------------------------------------------------

class Damage : public ::testing::Test {
 protected:
  void Corrupt(const Blockref& bref) {
    AlignedBuffer block(kFreemapBlockBytes);
    ASSERT_EQ(volume_.device().Read(bref.data_off.offset(), block.span()), absl::OkStatus());
    block.span()[100] ^= std::byte{1};
    ASSERT_EQ(volume_.device().Write(bref.data_off.offset(), block.span()), absl::OkStatus());
  }
  TestVolume volume_{FreemapHeader(8 * kGiB, 0x14400C00, 0x1EA000000)};
};

TEST_F(Damage, ZoneOfAnUnreadableLeafIsLeftAlone) {
  ASSERT_TRUE(*volume_.freemap().MarkAllocated(BlockAt(BrefType::kData, kGiB + 8 * kMiB, 16)));
  Take(volume_, BrefType::kInode, 10);
  volume_.Commit();
  const Blockref bad = volume_.LeafBref(kGiB);
  Corrupt(bad);
  const uint64_t total = volume_.freemap().usage().total_bytes;
  ASSERT_EQ(volume_.Reopen(), absl::OkStatus());

  const SpaceUsage usage = volume_.freemap().usage();
  EXPECT_EQ(usage.unreadable_bytes, kGiB - kZoneSegBytes);
  EXPECT_EQ(usage.total_bytes, total);
  EXPECT_EQ(usage.allocated_bytes + usage.free_bytes + usage.unreadable_bytes, total);
  EXPECT_FALSE(*volume_.freemap().MarkAllocated(BlockAt(BrefType::kData, kGiB + 12 * kMiB, 16)));
  for (uint64_t i = 0; i < (total - kGiB) / kPbufBytes; ++i) {
    const uint64_t at = Take(volume_, BrefType::kData, 16, i << 16).offset().v;
    ASSERT_TRUE(at < kGiB || at >= 2 * kGiB) << at;
  }
  volume_.Commit();
  EXPECT_EQ(volume_.LeafBref(kGiB), bad);
}

TEST_F(Damage, UnreadableNodeFailsTheOpen) {
  for (uint64_t zone = 0; zone < 5; ++zone) {
    ASSERT_TRUE(
        *volume_.freemap().MarkAllocated(BlockAt(BrefType::kData, zone * kGiB + 512 * kMiB, 16)));
  }
  volume_.Commit();
  ASSERT_EQ(volume_.header().freemap_blockset[0].type, BrefType::kFreemapNode);
  Corrupt(volume_.header().freemap_blockset[0]);
  EXPECT_EQ(volume_.Reopen().code(), absl::StatusCode::kDataLoss);
}

TEST_F(Damage, UnreadableNodeOfAnOlderHeaderDoesNot) {
  for (uint64_t zone = 0; zone < 5; ++zone) {
    ASSERT_TRUE(
        *volume_.freemap().MarkAllocated(BlockAt(BrefType::kData, zone * kGiB + 512 * kMiB, 16)));
  }
  volume_.Commit();
  Corrupt(volume_.header().freemap_blockset[0]);
  Take(volume_, BrefType::kInode, 10);
  volume_.Commit();
  EXPECT_EQ(volume_.Reopen(), absl::OkStatus());
}

TEST_F(Damage, BlocksetFromFuzzIsRefusedNotFollowed) {
  Take(volume_, BrefType::kInode, 10);
  volume_.Commit();
  const Blockref good = volume_.header().freemap_blockset[0];
  const auto refused = [&](const char* why, auto change) {
    Blockref bref = good;
    change(bref);
    volume_.header().freemap_blockset[0] = bref;
    EXPECT_EQ(volume_.Reopen().code(), absl::StatusCode::kDataLoss) << why;
  };
  refused("level", [](Blockref& b) { b.keybits = 31; });
  refused("type", [](Blockref& b) { b.type = BrefType::kData; });
  refused("node as leaf", [](Blockref& b) { b.keybits = 38; });
  refused("key past the end", [](Blockref& b) { b.key = Key(kTiB); });
  refused("place", [](Blockref& b) { b.data_off.raw += kPbufBytes; });
  refused("radix", [](Blockref& b) { b.data_off.raw += 1; });
  refused("check method", [](Blockref& b) { b.methods = 0; });
}

// --- older headers
// -----------------------------------------------------------------------------------

// In the usable segments of Vector A.
uint64_t BytesNotFree(const FreemapLeafData& leaf) {
  uint64_t bytes = 0;
  for (size_t s = 6; s < 16; ++s) {
    for (int c = 0; c < kChunksPerSegment; ++c) {
      if (leaf[s].chunk(c) != ChunkState::kFree) bytes += kChunkBytes;
    }
  }
  return bytes;
}

// Another implementation has freed chunks in the newest header that an older one still has in use.
TEST(Freemap, ChunksOfOlderHeadersAreHeldUntilTheyAreGone) {
  TestVolume volume = TestVolume::VectorA();
  const DataOff old_block = Take(volume, BrefType::kData, 16);
  volume.Commit();  // 17
  const RingEntry holder = volume.ring().back();
  Take(volume, BrefType::kInode, 10);
  volume.Commit();  // 18
  const Blockref bref = volume.LeafBref(0);
  auto leaf = volume.Leaf(0);
  (*leaf)[old_block.offset().v >> kSegRadix] = BmapData::Free();
  Blockref freed = bref;
  SetCheck(freed, std::as_bytes(std::span(*leaf)));
  const AlignedBuffer image = AlignedBuffer::CopyOf(std::as_bytes(std::span(*leaf)));
  ASSERT_EQ(volume.device().Write(bref.data_off.offset(), image.span()), absl::OkStatus());
  volume.header().freemap_blockset[0] = volume.ring().back().freemap_blockset[0] = freed;
  ASSERT_EQ(volume.Reopen(), absl::OkStatus());

  EXPECT_EQ(volume.freemap().usage().staged_bytes, kPbufBytes);
  EXPECT_EQ(volume.freemap().usage().free_bytes, kUsable - kPbufBytes - kChunkBytes);
  ASSERT_EQ(holder.mirror_tid, Tid(17));
  while (volume.freemap().usage().staged_bytes != 0) {
    ASSERT_LT(volume.header().mirror_tid, Tid(22)) << "the holder has left the ring long ago";
    EXPECT_NE(Take(volume, BrefType::kData, 16), old_block);
    volume.Commit();
    EXPECT_EQ(volume.header().allocator_free, kVectorASize - BytesNotFree(*volume.Leaf(0)));
  }
  EXPECT_EQ(volume.header().mirror_tid, Tid(22))
      << "17 was overwritten by 21, which 22's flush sees";
  EXPECT_EQ(Take(volume, BrefType::kData, 16), old_block);
}

// I-02: of a header whose leaf cannot be read nobody knows what it has in use.
TEST(Freemap, AZoneThatAnOlderHeaderMayUseIsLeftAloneUntilItIsGone) {
  TestVolume volume(FreemapHeader(4 * kGiB, 8 * kMiB, 4 * kGiB - 16 * kMiB));
  Take(volume, BrefType::kData, 16);
  volume.Commit();
  const Blockref older = volume.LeafBref(0);
  Take(volume, BrefType::kData, 16);
  volume.Commit();
  ASSERT_NE(volume.LeafBref(0).data_off, older.data_off);
  const AlignedBuffer garbage = AlignedBuffer::Zeroed(kPbufBytes);
  ASSERT_EQ(volume.device().Write(older.data_off.offset(), garbage.span()), absl::OkStatus());
  ASSERT_EQ(volume.Reopen(), absl::OkStatus());
  int commits = 0;
  for (; Take(volume, BrefType::kData, 16).offset().v >= kGiB; ++commits) {
    ASSERT_LT(commits, 6) << "the header has left the ring long ago";
    volume.Commit();
  }
  EXPECT_GE(commits, 1);
}

// --- threads
// -----------------------------------------------------------------------------------------

TEST(Freemap, ThreadsShareIt) {
  TestVolume volume = TestVolume::VectorA();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&volume, t] {
      for (int i = 0; i < 400; ++i) {
        ASSERT_TRUE(volume.freemap().TryReserve(kPbufBytes));
        const auto got = volume.freemap().Allocate(BrefType::kData,
                                                   10 + static_cast<unsigned>(i + t) % 5, Key(0));
        ASSERT_TRUE(got.ok());
        if (i % 2 == 0) volume.freemap().Undo(got->data_off, BrefType::kData);
        volume.freemap().Unreserve(kPbufBytes);
        (void)volume.freemap().usage();
        (void)volume.freemap().rotations_left(volume.ring());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const SpaceUsage usage = volume.freemap().usage();
  EXPECT_EQ(usage.reserved_bytes, 0u);
  EXPECT_EQ(usage.allocated_bytes + usage.free_bytes, kUsable);
}

}  // namespace
}  // namespace h2bd
