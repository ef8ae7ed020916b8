// Who waits for memory never waits for a cycle that nobody asks for (spec 04 D-20, F-281): here no
// change grows old, nobody syncs, and nothing is flushed before the limit.
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "tests/support/gated_device.h"
#include "tests/support/metric_values.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

VolumeOptions OnlyWaitersAsk(uint64_t limit) {
  VolumeOptions options;
  options.flush_age = absl::ZeroDuration();
  options.dirty_limit_bytes = limit;
  options.flush_start_fraction = 1;
  return options;
}

// Long enough for any machine; only a waiter that nobody thinks of comes to see its end.
absl::Status Write(Volume& volume, const DiskRef& disk, uint64_t at, uint64_t bytes) {
  const std::string text(bytes, 'w');
  IoOptions options;
  options.deadline = absl::Now() + absl::Seconds(30);
  return volume.Write(disk, at, AsBytes(text), options).status();
}

TEST(MemoryWait, WhoWaitsAsksForTheCycle) {
  MemoryDevice device(*FormattedImage(8 * kGiB));
  const auto check = absl::MakeCleanup([&device] { ExpectClean(device); });
  const auto volume = OpenOn(device, OnlyWaitersAsk(kMiB));
  ASSERT_TRUE((*volume)->CreateDisk({"", "d"}, {64 * kMiB}).ok());
  const DiskRef disk = *(*volume)->OpenDisk({"", "d"});
  for (uint64_t i = 0; i < 20; ++i) {
    ASSERT_EQ(Write(**volume, disk, i * kMiB, 600 * kKiB), absl::OkStatus()) << i;
  }
}

// The cycle that the waiter asked for finds nothing, because who has the memory is not done: its
// change asks for the next one.
TEST(MemoryWait, AChangeThatComesAfterTheCycleOfAWaiterAsksForAnother) {
  MemoryDevice memory(*FormattedImage(8 * kGiB));
  const auto check = absl::MakeCleanup([&memory] { ExpectClean(memory); });
  const DiskName long_name{"", std::string(200, 'n')};  // in a block of its own
  {
    const auto volume = OpenOn(memory, ManualOptions());
    for (const DiskName& name : {DiskName{"", "d"}, long_name}) {
      ASSERT_TRUE((*volume)->CreateDisk(name, {64 * kMiB}).ok());
    }
    ASSERT_EQ((*volume)->Close(), absl::OkStatus());
  }
  constexpr uint64_t kLimit = 64 * kKiB;
  GatedDevice device(memory);
  const auto volume = OpenOn(device, OnlyWaitersAsk(kLimit));
  const DiskRef disk = *(*volume)->OpenDisk({"", "d"});
  device.reads().Hold();
  std::thread holder([&] {
    // It has taken memory for its change when it reads the name.
    EXPECT_EQ((*volume)->RenameDisk(long_name, {"", "short"}).status(), absl::OkStatus());
  });
  device.reads().AwaitHeld();
  const auto empty_cycles = [&] {
    return MetricValues(**volume)["h2bd_flush_cycles_total{result=empty}"];
  };
  const double before = empty_cycles();
  // More than the limit: for that nobody else may hold any.
  std::thread waiter([&] { EXPECT_EQ(Write(**volume, disk, 0, 4 * kLimit), absl::OkStatus()); });
  for (int ms = 0; ms < 30'000 && empty_cycles() == before; ++ms) {
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_GT(empty_cycles(), before);
  device.reads().LetGo();
  holder.join();
  waiter.join();
}

TEST(MemoryWait, ManyWritersFinishWithoutASync) {
  MemoryDevice device(*FormattedImage(8 * kGiB));
  const auto check = absl::MakeCleanup([&device] { ExpectClean(device); });
  const auto volume = OpenOn(device, OnlyWaitersAsk(300 * kKiB));
  std::vector<DiskRef> disks;
  for (int i = 0; i < 4; ++i) {
    const std::string name = absl::StrCat("d", i);
    ASSERT_TRUE((*volume)->CreateDisk({"", name}, {64 * kMiB}).ok());
    disks.push_back(*(*volume)->OpenDisk({"", name}));
  }
  std::vector<std::thread> writers;
  for (const DiskRef& disk : disks) {
    writers.emplace_back([&volume, &disk] {
      for (uint64_t i = 0; i < 100; ++i) {
        ASSERT_EQ(Write(**volume, disk, i * 300'000, 1 + i * 1000), absl::OkStatus()) << i;
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
}

}  // namespace
}  // namespace h2bd
