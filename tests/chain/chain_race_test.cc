// Readers beside the flusher, with a cache that is always too small. Most useful under
// -fsanitize=thread.
#include <gtest/gtest.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "core/base/random.h"
#include "tests/chain/chain_world.h"
#include "tests/chain/topology_walk.h"
#include "tests/support/fixtures.h"

namespace h2bd {
namespace {

constexpr uint64_t kBlocks = 6000;
constexpr int kCycles = 30;
constexpr int kReaders = 3;

// Blocks with an even number are always there, in versions (modify_tid) that only grow; the others
// come and go.
TEST(ChainRace, ReadersSeeEveryBlockWhileTheFlusherWorks) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(absl::StrCat("H2BD_SEED=", seed));
  ChainWorld world(ChainWorldOptions{.cache_bytes = 300'000});
  ChainTree tree(TableKind::kFile, {}, kMethods, world.store(), world.cache());
  ThreadPool pool("flush", 2);
  std::vector<Blockref> leaves;
  for (uint64_t b = 0; b < kBlocks; ++b) leaves.push_back(world.Data(b, 10));
  ASSERT_TRUE(tree.PutAll(leaves).ok());

  std::atomic<bool> done{false};
  std::atomic<uint64_t> reads{0};
  const auto read = [&](uint64_t reader) {
    SeededRandom random(seed + reader);
    std::vector<Tid> newest(kBlocks);
    const auto check = [&](const Blockref& leaf) {
      const uint64_t block = leaf.key.v >> 16;
      EXPECT_LT(block, kBlocks);
      EXPECT_GE(leaf.modify_tid, newest[block]) << "block " << block << " went back";
      newest[block] = leaf.modify_tid;
    };
    while (!done.load()) {
      reads.fetch_add(1);
      const uint64_t block = random.Next64() % kBlocks;
      if (random.Next64() % 20 != 0) {
        const auto leaf = tree.Find(Key(block << 16));
        ASSERT_TRUE(leaf.ok()) << leaf.status();
        ASSERT_TRUE(leaf->has_value() || block % 2 == 1) << "block " << block << " is lost";
        if (leaf->has_value()) check(**leaf);
        continue;
      }
      const uint64_t last = std::min(kBlocks - 1, block + 500);
      uint64_t next_even = RoundUp(block, 2);
      const absl::Status status =
          tree.Scan(Key(block << 16), Key(last << 16), [&](const Blockref& leaf) {
            const uint64_t at = leaf.key.v >> 16;
            EXPECT_LE(at, next_even) << "the scan left a block out";
            if (at == next_even) next_even += 2;
            check(leaf);
            return true;
          });
      ASSERT_TRUE(status.ok()) << status;
      EXPECT_GT(next_even, last);
    }
  };
  std::vector<std::thread> readers;
  for (uint64_t r = 0; r < kReaders; ++r) readers.emplace_back(read, r);

  SeededRandom random(seed + 100);
  for (int cycle = 0; cycle < kCycles; ++cycle) {
    world.NextCycle();
    for (int i = 0; i < 60; ++i) {
      ASSERT_TRUE(tree.Put(world.Data(random.Next64() % kBlocks, 10)).ok());
      const uint64_t odd = random.Next64() % (kBlocks / 2) * 2 + 1;
      ASSERT_TRUE(tree.Erase(Key(odd << 16)).ok());
    }
    ASSERT_TRUE(tree.Flush(world.tids(), pool).ok());
    if (cycle % 4 == 0) {
      ASSERT_TRUE(world.Drain().ok());
    }
    tree.EvictClean();
  }
  // On a machine with few cores the readers may not have started yet.
  while (reads.load() < 1000) std::this_thread::yield();
  done.store(true);
  for (std::thread& reader : readers) reader.join();

  ASSERT_TRUE(tree.Flush(world.tids(), pool).ok());
  ASSERT_TRUE(world.Drain().ok());
  const Topology found =
      WalkTopology(world.device(), Entries(tree.TakeBlockset()), TableKind::kFile);
  EXPECT_GE(found.leaves.size(), kBlocks / 2);
  tree.DeliverDrops();
  EXPECT_EQ(world.allocator().live().size(), found.leaves.size() + found.tables.size());
}

TEST(ChainRace, OneTableIsAttachedOnce) {
  ChainWorld world;
  std::vector<Blockref> blockset;
  {
    ChainTree tree(TableKind::kFile, {}, kMethods, world.store(), world.cache());
    for (uint64_t b = 0; b < 2000; ++b) ASSERT_TRUE(tree.Put(world.Data(b, 10)).ok());
    InlineExecutor executor;
    ASSERT_TRUE(tree.Flush(world.tids(), executor).ok());
    ASSERT_TRUE(world.Drain().ok());
    blockset = Entries(tree.TakeBlockset());
  }
  for (int round = 0; round < 20; ++round) {
    ChainTree tree(TableKind::kFile, blockset, kMethods, world.store(), world.cache());
    std::vector<std::thread> readers;
    for (int r = 0; r < 4; ++r) {
      readers.emplace_back([&] {
        for (uint64_t b = 0; b < 2000; b += 64) {
          const auto leaf = tree.Find(Key(b << 16));
          EXPECT_TRUE(leaf.ok() && leaf->has_value());
        }
      });
    }
    for (std::thread& reader : readers) reader.join();
    // One /30 and fifteen /23, each charged once.
    EXPECT_EQ(world.cache().bytes(), 16 * (sizeof(Chain) + 16384));
  }
  EXPECT_EQ(world.cache().bytes(), 0u);
}

}  // namespace
}  // namespace h2bd
