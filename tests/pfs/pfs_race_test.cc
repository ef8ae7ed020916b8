// Look-ups beside the flusher. Most useful under -fsanitize=thread.
#include <gtest/gtest.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/pfs/pfs_world.h"

namespace h2bd {
namespace {

// Each file's size only grows. An inode that is loaded with an old blockref after the flusher put a
// new one into the index would show an old size.
TEST(PfsRace, GetInodeNeverGoesBack) {
  constexpr uint64_t kFiles = 20;
  PfsWorld world;
  Pfs& pfs = world.pfs("DATA");
  std::vector<Inum> inums;
  for (uint64_t i = 0; i < kFiles; ++i)
    inums.push_back(world.AddFile(pfs, absl::StrCat("f", i))->meta().inum);
  world.FlushAll();

  std::atomic<bool> done{false};
  std::atomic<uint64_t> rounds{0};
  const auto read = [&] {
    std::vector<uint64_t> sizes(kFiles);
    while (!done.load()) {
      for (uint64_t i = 0; i < kFiles; ++i) {
        const auto inode = pfs.GetInode(inums[i]);
        ASSERT_TRUE(inode.ok()) << inode.status();
        const uint64_t size = (*inode)->meta().size;
        EXPECT_GE(size, sizes[i]);
        sizes[i] = size;
        const auto entry = FindDirent(pfs.root(), world.chains().store(), absl::StrCat("f", i));
        ASSERT_TRUE(entry.ok() && entry->has_value());
        EXPECT_EQ((*entry)->inum, inums[i]);
      }
      EXPECT_EQ(world.table().List().size(), 2u);
      rounds.fetch_add(1);
    }
  };
  std::vector<std::thread> readers;
  for (int r = 0; r < 3; ++r) readers.emplace_back(read);
  for (uint64_t cycle = 1; cycle <= 40 || rounds.load() < 40; ++cycle) {
    {
      const auto inode = *pfs.GetInode(inums[cycle % kFiles]);
      InodeMeta meta = inode->meta();
      meta.size = cycle * kLogicalBytes;
      inode->set_meta(meta);
      const auto flushed = inode->Flush(world.chains().tids(), world.executor());
      ASSERT_TRUE(flushed.ok() && pfs.PutIndex(flushed->bref).ok());
    }
    pfs.TrimInodes(0);
    if (cycle % 8 == 0) world.FlushAll();
  }
  done.store(true);
  for (std::thread& reader : readers) reader.join();
}

}  // namespace
}  // namespace h2bd
