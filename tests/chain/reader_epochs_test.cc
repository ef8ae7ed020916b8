// Reuse waits for readers: F-219, spec 02 section 13.15 step 6.
#include "core/chain/reader_epochs.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "tests/chain/chain_world.h"
#include "tests/chain/topology_walk.h"

namespace h2bd {
namespace {

void TryHard(ReaderEpochs& epochs) {
  for (int i = 0; i < 10; ++i) epochs.TryAdvance();
}

TEST(ReaderEpochs, WithoutReadersTwoStepsAreEnough) {
  ReaderEpochs epochs;
  const uint64_t stamp = epochs.now();
  epochs.TryAdvance();
  EXPECT_FALSE(epochs.Over(stamp)) << "one that came in between may be there";
  epochs.TryAdvance();
  EXPECT_TRUE(epochs.Over(stamp));
}

TEST(ReaderEpochs, WhatWasDroppedWhileSomebodyReadsIsNotOverBeforeHeIsGone) {
  for (int start = 0; start < 4; ++start) {
    ReaderEpochs epochs;
    for (int i = 0; i < start; ++i) epochs.TryAdvance();
    std::optional<ReaderEpochs::Scope> reader(std::in_place, epochs);
    const uint64_t stamp = epochs.now();
    TryHard(epochs);
    EXPECT_FALSE(epochs.Over(stamp));
    reader.reset();
    TryHard(epochs);
    EXPECT_TRUE(epochs.Over(stamp));
  }
}

TEST(ReaderEpochs, ScopesNestAndALaterReaderDoesNotHideAnEarlierOne) {
  ReaderEpochs epochs;
  std::optional<ReaderEpochs::Scope> outer(std::in_place, epochs);
  const uint64_t stamp = epochs.now();
  epochs.TryAdvance();
  {
    const ReaderEpochs::Scope inner(epochs);
    std::thread other([&] { const ReaderEpochs::Scope scope(epochs); });
    other.join();
    TryHard(epochs);
  }
  TryHard(epochs);
  EXPECT_FALSE(epochs.Over(stamp));
  outer.reset();
  TryHard(epochs);
  EXPECT_TRUE(epochs.Over(stamp));
}

// Four readers follow a pointer to a slot; a writer moves it on and uses slots again as soon as
// nobody can have them. A reader finds in its slot what the pointer promised, throughout.
TEST(ReaderEpochs, ASlotIsNotUsedAgainUnderAReader) {
  constexpr uint64_t kSlots = 8;
  ReaderEpochs epochs;
  std::array<std::atomic<uint64_t>, kSlots> slots{};
  std::atomic<uint64_t> current{0};  // version; its slot is in the low bits
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> reads{0};
  std::vector<std::thread> readers;
  for (int r = 0; r < 4; ++r) {
    readers.emplace_back([&] {
      while (!stop.load()) {
        {
          const ReaderEpochs::Scope scope(epochs);
          const uint64_t seen = current.load();
          for (int look = 0; look < 50; ++look) EXPECT_EQ(slots[seen % kSlots].load(), seen);
        }
        ++reads;
        std::this_thread::yield();
      }
    });
  }
  struct Dropped {
    uint64_t slot, stamp;
  };
  std::vector<Dropped> waiting;
  std::vector<uint64_t> free;
  for (uint64_t slot = 1; slot < kSlots; ++slot) free.push_back(slot);
  uint64_t reused = 0;
  for (uint64_t step = 1; reused < 2000 || reads.load() < 1000; ++step) {
    epochs.TryAdvance();
    std::erase_if(waiting, [&](const Dropped& dropped) {
      if (!epochs.Over(dropped.stamp)) return false;
      free.push_back(dropped.slot);
      ++reused;
      return true;
    });
    if (free.empty()) {
      std::this_thread::yield();
      continue;
    }
    const uint64_t version = step * kSlots + free.back();
    free.pop_back();
    slots[version % kSlots].store(version);
    const uint64_t old = current.exchange(version);
    waiting.push_back({old % kSlots, epochs.now()});
  }
  stop.store(true);
  for (std::thread& reader : readers) reader.join();
}

// What is read from a device in the middle of a look-up is in its scope: nothing that was dropped
// meanwhile is over.
class LookupsAreReaders : public testing::Test {
 protected:
  LookupsAreReaders() {
    ChainTree tree(TableKind::kFile, {}, kMethods, world_.store(), world_.cache());
    for (uint64_t b = 0; b < 300; ++b) EXPECT_TRUE(tree.Put(world_.Data(b, 10)).ok());
    InlineExecutor executor;
    EXPECT_TRUE(tree.Flush(world_.tids(), executor).ok());
    EXPECT_TRUE(world_.Drain().ok());
    blockset_ = Entries(tree.TakeBlockset());
  }
  void SetUp() override {
    world_.Remount();
    tree_ = std::make_unique<ChainTree>(TableKind::kFile, blockset_, kMethods, world_.store(),
                                        world_.cache());
    ReaderEpochs& epochs = world_.store().readers();
    world_.DuringNextRead([this, &epochs] {
      read_ = true;
      stamp_ = epochs.now();
      TryHard(epochs);
      EXPECT_FALSE(epochs.Over(stamp_));
    });
  }
  void TearDown() override {
    EXPECT_TRUE(read_);
    TryHard(world_.store().readers());
    EXPECT_TRUE(world_.store().readers().Over(stamp_));
    tree_.reset();
  }

  ChainWorld world_;
  std::vector<Blockref> blockset_;
  std::unique_ptr<ChainTree> tree_;
  uint64_t stamp_ = 0;
  bool read_ = false;
};

TEST_F(LookupsAreReaders, Find) { EXPECT_TRUE(tree_->Find(Key(7 << 16)).ok()); }
TEST_F(LookupsAreReaders, Depth) { EXPECT_TRUE(tree_->Depth(Key(7 << 16)).ok()); }
TEST_F(LookupsAreReaders, Scan) {
  EXPECT_TRUE(tree_->Scan(Key(0), Key(1 << 16), [](const Blockref&) { return true; }).ok());
}

}  // namespace
}  // namespace h2bd
