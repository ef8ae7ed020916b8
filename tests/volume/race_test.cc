// Many clients and the flusher at once. What it asserts holds for every interleaving; the thread
// sanitizer build looks for the rest.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/base/random.h"
#include "core/fsck/check.h"
#include "tests/support/fixtures.h"
#include "tests/support/gated_device.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

VolumeOptions ThreadedOptions() {
  VolumeOptions options;
  options.flush_age = absl::Milliseconds(20);
  options.flusher_threads = 4;
  options.dirty_limit_bytes = 8 * kMiB;
  options.block_cache_bytes = 4 * kMiB;
  options.chain_cache_bytes = 256 * kKiB;
  return options;
}

// Each block of a disk holds one byte value throughout: a writer fills whole blocks, so a reader
// that sees two values in one block has seen half of a write, or old bytes over new ones.
TEST(VolumeRace, AReaderNeverSeesHalfAWriteNorAnOlderOne) {
  absl::StatusOr<SparseImage> image = FormattedImage(8 * kGiB);
  ASSERT_TRUE(image.ok());
  MemoryDevice device(*std::move(image));
  {
    const auto volume = OpenOn(device, ThreadedOptions());
    ASSERT_TRUE(volume.ok()) << volume.status();
    constexpr uint64_t kBlocks = 24;
    ASSERT_TRUE((*volume)->CreateDisk({"", "d"}, {kBlocks * kLogicalBytes}).ok());
    const DiskRef disk = *(*volume)->OpenDisk({"", "d"});
    std::array<std::atomic<int>, kBlocks> newest{};
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (uint64_t w = 0; w < 2; ++w) {
      threads.emplace_back([&, w] {
        SeededRandom rng(w + 1);
        for (int i = 1; i <= 250; ++i) {
          const uint64_t block = rng.Next64() % (kBlocks / 2) * 2 + w;  // one writer to a block
          const int value = newest[block] + 1;
          const std::string text(kLogicalBytes, static_cast<char>(value % 251));
          EXPECT_EQ(WriteText(**volume, disk, block * kLogicalBytes, text), absl::OkStatus());
          newest[block] = value;
        }
      });
    }
    for (int r = 0; r < 2; ++r) {
      threads.emplace_back([&, r] {
        SeededRandom rng(static_cast<uint64_t>(r) + 100);
        AlignedBuffer bytes(kLogicalBytes);
        while (!stop) {
          const uint64_t block = rng.Next64() % kBlocks;
          const int least = newest[block];
          EXPECT_EQ((*volume)->Read(disk, block * kLogicalBytes, bytes.span(), {}),
                    absl::OkStatus());
          const int most = newest[block] + 1;
          const auto seen = std::to_integer<int>(bytes.data()[0]);
          EXPECT_EQ(std::memcmp(bytes.data(), bytes.data() + 1, kLogicalBytes - 1), 0);
          bool allowed = false;
          for (int value = least; value <= most; ++value) allowed |= value % 251 == seen;
          EXPECT_TRUE(allowed) << "saw " << seen << ", legal are " << least << " to " << most;
        }
      });
    }
    threads[0].join();
    threads[1].join();
    stop = true;
    threads[2].join();
    threads[3].join();
    EXPECT_EQ((*volume)->Close(), absl::OkStatus());
  }
  ExpectClean(device);
}

// Transactions move amounts between disks while others create, resize and delete disks and sync;
// the sum stays what it was, in memory and on media.
TEST(VolumeRace, TransactionsStayWholeAmongEverythingElse) {
  constexpr int kAccounts = 4;
  absl::StatusOr<SparseImage> image = FormattedImage(8 * kGiB);
  ASSERT_TRUE(image.ok());
  MemoryDevice device(*std::move(image));
  const auto name = [](int i) { return DiskName{"", absl::StrCat("account", i)}; };
  const auto read = [](Volume& volume, const DiskRef& disk) {
    int64_t value = 0;
    EXPECT_EQ(volume.Read(disk, 77, ByteSpan(reinterpret_cast<std::byte*>(&value), 8), {}),
              absl::OkStatus());
    return value;
  };
  {
    const auto opened = OpenOn(device, ThreadedOptions());
    ASSERT_TRUE(opened.ok()) << opened.status();
    Volume& volume = **opened;
    for (int i = 0; i < kAccounts; ++i) ASSERT_TRUE(volume.CreateDisk(name(i), {kMiB}).ok());
    std::vector<std::thread> threads;
    absl::Mutex bank;  // one transfer at a time: the model of an application's own locking
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&, t] {
        SeededRandom rng(static_cast<uint64_t>(t));
        for (int i = 0; i < 60; ++i) {
          absl::MutexLock lock(&bank);
          const int from = static_cast<int>(rng.Next64() % kAccounts);
          const int to = static_cast<int>(rng.Next64() % kAccounts);
          if (from == to) continue;
          const DiskRef a = *volume.OpenDisk(name(from));
          const DiskRef b = *volume.OpenDisk(name(to));
          const int64_t amount = static_cast<int64_t>(rng.Next64() % 1000);
          const std::array<int64_t, 2> after = {read(volume, a) - amount, read(volume, b) + amount};
          const auto txn = volume.Begin({});
          ASSERT_TRUE(txn.ok());
          const ConstByteSpan pieces[] = {{reinterpret_cast<const std::byte*>(&after[0]), 8},
                                          {reinterpret_cast<const std::byte*>(&after[1]), 8}};
          ASSERT_EQ(volume.TxnWrite(txn->id, a, 77, {&pieces[0], 1}, {}), absl::OkStatus());
          ASSERT_EQ(volume.TxnWrite(txn->id, b, 77, {&pieces[1], 1}, {}), absl::OkStatus());
          const auto applied = volume.Commit(txn->id, {});
          ASSERT_TRUE(applied.ok()) << applied.status();
          if (i % 10 == 0) {
            EXPECT_TRUE(volume.SyncTo(applied->seq, {}).ok());
          }
        }
      });
    }
    threads.emplace_back([&] {
      for (int i = 0; i < 60; ++i) {
        const DiskName other{"", absl::StrCat("other", i % 5)};
        if (volume.CreateDisk(other, {kMiB}).ok()) {
          const auto disk = volume.OpenDisk(other);
          ASSERT_TRUE(disk.ok());
          EXPECT_EQ(WriteText(volume, *disk, 5, std::string(100000, 'o')), absl::OkStatus());
          EXPECT_TRUE(volume.ResizeDisk(other, 50000).ok());
        } else {
          EXPECT_EQ(volume.DeleteDisk(other), absl::OkStatus());
        }
        EXPECT_TRUE(volume.ListDisks("", 10, "").ok());
        if (i % 8 == 0) {
          EXPECT_TRUE(volume.Sync(nullptr, {}).ok());
        }
      }
    });
    // Opens disks by name just when they are deleted and made again.
    std::atomic<bool> stop = false;
    std::thread opener([&] {
      for (int i = 0; !stop; ++i) {
        const auto disk = volume.OpenDisk({"", absl::StrCat("other", i % 5)});
        if (!disk.ok()) continue;
        const absl::Status written = WriteText(volume, *disk, 9, "late");
        EXPECT_TRUE(written.ok() || absl::IsNotFound(written) || absl::IsOutOfRange(written))
            << written;
      }
    });
    for (std::thread& thread : threads) thread.join();
    stop = true;
    opener.join();
    int64_t sum = 0;
    for (int i = 0; i < kAccounts; ++i) sum += read(volume, *volume.OpenDisk(name(i)));
    EXPECT_EQ(sum, 0);
    EXPECT_EQ(volume.Close(), absl::OkStatus());
  }
  BlockDevice* devices[] = {&device};
  const CheckReport report = CheckDevices(devices);
  EXPECT_TRUE(report.clean()) << report.ToString();  // warns of inodes that have no name
  const auto volume = OpenOn(device, ManualOptions());
  ASSERT_TRUE(volume.ok()) << volume.status();
  int64_t sum = 0;
  for (int i = 0; i < kAccounts; ++i) sum += read(**volume, *(*volume)->OpenDisk(name(i)));
  EXPECT_EQ(sum, 0);
}

// I-29: an open that has found the name and reads the inode while the disk is deleted gets no disk,
// or one that nothing can be written to; nothing brings the inode back.
TEST(VolumeRace, ADeleteDuringAnOpenIsNotUndoneByIt) {
  MemoryDevice memory(*FormattedImage(8 * kGiB));
  // Their inodes lie in buffers of their own: the open of the volume reads none of them.
  constexpr int kBegin = 100, kEnd = 112, kDisks = 200;
  {
    const auto volume = OpenOn(memory, ManualOptions());
    for (int i = 0; i < kDisks; ++i) {
      ASSERT_TRUE((*volume)->CreateDisk({"", absl::StrCat("d", i)}, {kLogicalBytes}).ok());
    }
    ASSERT_EQ((*volume)->Close(), absl::OkStatus());
  }
  for (int i = kBegin; i < kEnd; ++i) {
    SCOPED_TRACE(i);
    const DiskName name{"", absl::StrCat("d", i)};
    GatedDevice device(memory);
    const auto volume = OpenOn(device, ThreadedOptions());
    ASSERT_TRUE(volume.ok()) << volume.status();
    // Reads the tables of the names, and no inode.
    EXPECT_EQ((*volume)->OpenDisk({"", "none"}).status().code(), absl::StatusCode::kNotFound);
    device.reads().Hold();
    absl::StatusOr<DiskRef> opened;
    std::thread opener([&] { opened = (*volume)->OpenDisk(name); });
    device.reads().AwaitHeld();
    std::thread deleter([&] {
      EXPECT_EQ((*volume)->DeleteDisk(name), absl::OkStatus());
      EXPECT_TRUE((*volume)->Sync(nullptr, {}).ok());
    });
    device.reads().LetGo();
    opener.join();
    deleter.join();
    if (opened.ok()) {
      EXPECT_EQ(WriteText(**volume, *opened, 0, "back").code(), absl::StatusCode::kNotFound);
    } else {
      EXPECT_EQ(opened.status().code(), absl::StatusCode::kNotFound) << opened.status();
    }
    EXPECT_EQ((*volume)->OpenDisk(name).status().code(), absl::StatusCode::kNotFound);
    opened = absl::UnknownError("gone");
    EXPECT_EQ((*volume)->Close(), absl::OkStatus());
  }
  ExpectClean(memory);
}

}  // namespace
}  // namespace h2bd
