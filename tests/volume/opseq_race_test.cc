// Many writers and Syncs at once, then power loss: every change whose number is not above what a
// Sync has answered is there (spec 04 F-138, I-10, I-11).
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/support/fixtures.h"
#include "tests/volume/device_stack.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

constexpr uint64_t kWriters = 4;
constexpr int kSyncs = 15;  // of each of two threads; writers go on until they are done

// Each writer counts in a block of its own; what it was told of each step.
struct Step {
  OpSeq seq;
  uint64_t value = 0;
};
using Steps = std::vector<Step>;

struct Promise {
  size_t events = 0;  // in the record when the Sync had been answered
  OpSeq durable;
  Tid mirror_tid;
};

struct Record {
  std::array<Steps, kWriters> steps;
  std::vector<Promise> promises;
  std::vector<IoEvent> log;
};

void Count(Volume& volume, const DiskRef& disk, uint64_t writer, const std::atomic<bool>& stop,
           Steps& steps) {
  for (uint64_t value = 1; !stop; ++value) {
    const ConstByteSpan bytes = std::as_bytes(std::span(&value, 1));
    const auto seq = volume.Write(disk, writer * kLogicalBytes, bytes, {});
    ASSERT_TRUE(seq.ok()) << seq.status();
    steps.push_back({*seq, value});
  }
}

Record RunWriters(const SparseImage& base, const VolumeOptions& options) {
  Record record;
  DeviceStack stack({base});
  const auto volume = stack.Open(options);
  EXPECT_TRUE(volume.ok()) << volume.status();
  const DiskRef disk = *(*volume)->OpenDisk({"", "d"});
  std::atomic<bool> stop{false};
  std::vector<std::thread> writers, syncers;
  for (uint64_t writer = 0; writer < kWriters; ++writer) {
    writers.emplace_back(
        [&, writer] { Count(**volume, disk, writer, stop, record.steps[writer]); });
  }
  absl::Mutex mu;
  for (int syncer = 0; syncer < 2; ++syncer) {
    syncers.emplace_back([&] {
      for (int i = 0; i < kSyncs; ++i) {
        const auto synced = (*volume)->Sync(nullptr, {});
        EXPECT_TRUE(synced.ok()) << synced.status();
        absl::MutexLock lock(&mu);
        record.promises.push_back({stack.log().size(), synced->durable_opseq, synced->mirror_tid});
      }
    });
  }
  for (std::thread& thread : syncers) thread.join();
  stop = true;
  for (std::thread& thread : writers) thread.join();
  const auto last = (*volume)->Sync(nullptr, {});
  record.promises.push_back({stack.log().size(), last->durable_opseq, last->mirror_tid});
  record.log = stack.log().events();
  return record;
}

uint64_t LeastValue(const Steps& steps, OpSeq durable) {
  uint64_t value = 0;
  for (const Step& step : steps) {
    if (step.seq <= durable) value = step.value;
  }
  return value;
}

void JudgeCut(const Record& record, size_t cut, const SparseImage& image) {
  OpSeq durable;
  Tid mirror_tid;
  for (const Promise& promise : record.promises) {
    if (promise.events > cut) continue;
    durable = std::max(durable, promise.durable);
    mirror_tid = std::max(mirror_tid, promise.mirror_tid);
  }
  ImageVolume volume({image}, ManualOptions());
  ASSERT_TRUE(volume.status().ok()) << volume.status();
  EXPECT_GE(volume->GetStatus().mirror_tid, mirror_tid);
  const std::string found = *ReadAll(*volume, *volume->OpenDisk({"", "d"}));
  for (uint64_t writer = 0; writer < kWriters; ++writer) {
    const auto value = LoadAs<uint64_t>(AsBytes(found), writer * kLogicalBytes);
    EXPECT_GE(value, LeastValue(record.steps[writer], durable))
        << "writer " << writer << ", durable up to " << durable.v;
  }
}

TEST(OpSeqRace, WhatASyncAnsweredSurvivesWhoeverWroteIt) {
  const uint64_t seed = TestSeed();
  SeededRandom rng(seed);
  SparseImage base(0);
  {
    DeviceStack stack({*FormattedImage(8 * kGiB)});
    const auto volume = stack.Open(ManualOptions());
    ASSERT_TRUE((*volume)->CreateDisk({"", "d"}, {kWriters * kLogicalBytes}).ok());
    ASSERT_TRUE((*volume)->Sync(nullptr, {}).ok());
    base = stack.Snapshot().front();
  }
  VolumeOptions options;
  options.flush_age = absl::Milliseconds(1);
  options.flusher_threads = 3;
  const Record record = RunWriters(base, options);
  // Numbers are given once, and to each writer in its order.
  std::vector<uint64_t> numbers;
  for (const Steps& steps : record.steps) {
    EXPECT_TRUE(std::is_sorted(steps.begin(), steps.end(),
                               [](const Step& a, const Step& b) { return a.seq < b.seq; }));
    for (const Step& step : steps) numbers.push_back(step.seq.v);
  }
  std::sort(numbers.begin(), numbers.end());
  EXPECT_EQ(std::adjacent_find(numbers.begin(), numbers.end()), numbers.end());
  CrashStates states({base}, record.log);
  for (size_t cut = 0; cut <= record.log.size(); ++cut) {
    SCOPED_TRACE(absl::StrCat("cut at event ", cut, " of ", record.log.size()));
    states.AdvanceTo(cut);
    JudgeCut(record, cut, states.Draw(rng).front());
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace h2bd
