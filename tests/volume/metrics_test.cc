// The metrics of spec 04 section 10 move for what they count, and stand still for the rest.
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/media/constants.h"
#include "tests/support/fixtures.h"
#include "tests/support/metric_values.h"
#include "tests/volume/device_stack.h"
#include "tests/volume/fault_world.h"
#include "tests/volume/random_script.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

constexpr uint64_t kBlock = kLogicalBytes;
constexpr std::array kStoredTypes = {"inode", "indirect", "data", "dirent"};

std::string Finalized(absl::string_view type) {
  return absl::StrCat("h2bd_flush_finalized_chains_total{type=", type, "}");
}
std::string BytesOf(absl::string_view type) {
  return absl::StrCat("h2bd_flush_bytes_total{type=", type, "}");
}
std::string Errors(absl::string_view phase, absl::string_view error) {
  return absl::StrCat("h2bd_flush_errors_total{phase=", phase, ",error=", error, "}");
}
std::string Noise(SeededRandom& rng, size_t bytes) {
  std::string text(bytes, '\0');
  rng.Fill(std::as_writable_bytes(std::span(text)));
  return text;
}

// A volume over some devices, and how far its metrics have moved.
class MetricsTest : public testing::Test {
 protected:
  void Open(const SetImages& images, const VolumeOptions& options = ManualOptions()) {
    stack_ = std::make_unique<DeviceStack>(images);
    auto opened = stack_->Open(options);
    ASSERT_TRUE(opened.ok()) << opened.status();
    volume_ = *std::move(opened);
    Mark();
  }
  void Open() { Open({*FormattedImage(8 * kGiB)}); }
  ~MetricsTest() override {
    disk_.reset();
    volume_.reset();
  }

  void Create(uint64_t bytes) {
    ASSERT_TRUE(volume_->CreateDisk({"", "d"}, {bytes}).ok());
    disk_ = *volume_->OpenDisk({"", "d"});
  }
  void Write(uint64_t offset, absl::string_view text) {
    ASSERT_EQ(WriteText(*volume_, disk_, offset, text), absl::OkStatus());
  }
  absl::Status Sync() { return volume_->Sync(nullptr, {}).status(); }

  double Now(absl::string_view name) const { return MetricValues(*volume_)[name]; }
  void Mark() { mark_ = std::make_unique<MetricValues>(*volume_); }
  // Since the last Mark; the metric must exist.
  double Moved(absl::string_view name) const {
    const MetricValues now(*volume_);
    EXPECT_TRUE(now.has(name)) << std::string(name);
    return now[name] - std::max(0.0, (*mark_)[name]);
  }

  SeededRandom rng_{TestSeed()};
  std::unique_ptr<DeviceStack> stack_;
  std::unique_ptr<Volume> volume_;
  DiskRef disk_;
  std::unique_ptr<MetricValues> mark_;
};

TEST_F(MetricsTest, NoNameComesTwice) {
  Open(*FormattedSet({3 * kGiB, kGiB}));
  EXPECT_EQ(MetricValues(*volume_).twice(), "");
}

// --- barriers and headers

TEST_F(MetricsTest, EachDeviceHasItsOwnBarriersAndOnlyTheRootASecondOne) {
  Open(*FormattedSet({3 * kGiB, kGiB, kGiB}));
  Create(kMiB);
  for (int cycle = 0; cycle < 3; ++cycle) {
    Write(0, absl::StrCat("cycle ", cycle));
    ASSERT_EQ(Sync(), absl::OkStatus());
    ASSERT_EQ(Sync(), absl::OkStatus());  // nothing is dirty: no barrier
  }
  const auto barriers = [&](int device, int which) {
    return absl::StrCat("h2bd_commit_barrier_seconds_count{device=memory", device, ",which=", which,
                        "}");
  };
  for (int device = 0; device < 3; ++device) {
    EXPECT_EQ(Moved(barriers(device, 1)), 3) << device;
    EXPECT_EQ(MetricValues(*volume_).has(barriers(device, 2)), device == 0) << device;
  }
  EXPECT_EQ(Moved(barriers(0, 2)), 3);
  EXPECT_EQ(Moved("h2bd_commit_header_write_seconds_count"), 3);

  // One that fails took its time, too; all devices are tried again after it.
  Mark();
  stack_->point(1).Reset({.fail_at = 1, .writes = false});
  Write(0, "barrier 1 of the second device fails once");
  ASSERT_EQ(Sync(), absl::OkStatus());
  for (int device = 0; device < 3; ++device) EXPECT_EQ(Moved(barriers(device, 1)), 2) << device;
  EXPECT_EQ(Moved(Errors("barrier1", "eio")), 1);
  EXPECT_EQ(Moved("h2bd_commit_header_write_seconds_count"), 1);
}

TEST_F(MetricsTest, ACacheIsVolatileUnlessTheDeviceSaysOtherwise) {
  for (const bool is_volatile : {true, false}) {
    MemoryDevice device(*FormattedImage(8 * kGiB));
    device.set_volatile_cache(is_volatile);
    const auto volume = OpenOn(device, ManualOptions());
    const MetricValues metrics(**volume);
    EXPECT_EQ(metrics["h2bd_commit_volatile_cache{device=memory}"], is_volatile ? 1 : 0);
    EXPECT_EQ(metrics["h2bd_commit_barriers_disabled"], 0) << "I-27: there is no such option";
  }
}

TEST_F(MetricsTest, TheRotationsThatAreLeftAreKnownAtTheOpen) {
  Open();
  EXPECT_GT(Now("h2bd_commit_freemap_rotations_left"), 0);
  const double at_open = Now("h2bd_commit_freemap_rotations_left");
  Create(kMiB);
  ASSERT_EQ(Sync(), absl::OkStatus());
  ASSERT_EQ(volume_->Close(), absl::OkStatus());
  EXPECT_EQ(Now("h2bd_commit_freemap_rotations_left"), at_open - 1) << "the new header has one";
}

// Spec 04 section 10: finalised[volume] = header writes attempted or cycles aborted after P7.
// SpaceFault.EachAllocationOfACycleCanFailOnce has the cycles that end before it.
TEST(HeaderMetrics, EachImageIsWrittenOrItsCycleEndedBeforeTheHeader) {
  const SparseImage image = *FormattedImage(8 * kGiB);
  int ended_before = 0, written = 0;
  bool reached = true;
  for (uint64_t n = 1; reached; ++n) {
    SCOPED_TRACE(absl::StrCat("I/O ", n, " and all that follow fail"));
    FaultWorld world(image, FaultPlan{.fail_at = n, .sticky = true});
    const double images = world.Metric(Finalized("volume"));
    const double headers = world.Metric("h2bd_commit_header_write_seconds_count");
    world.Overwrite();
    // Until the volume gives up, if it does.
    for (int i = 0; i < 5; ++i) world.volume->Sync(nullptr, {}).IgnoreError();
    reached = world.point.reached();
    const double made = world.Metric(Finalized("volume")) - images;
    const double tried = world.Metric("h2bd_commit_header_write_seconds_count") - headers;
    // Blocks and barrier 1 are tried twice, then the volume gives up.
    const double errors =
        world.Metric(Errors("writeout", "eio")) + world.Metric(Errors("barrier1", "eio"));
    EXPECT_EQ(made, tried + errors / 2);
    EXPECT_TRUE(errors == 0 || errors == 2) << errors;
    ended_before += errors == 2;
    written += tried > 0;
    EXPECT_EQ(world.Metric(BytesOf("volume")), world.Metric(Finalized("volume")) * 65536);
  }
  EXPECT_GT(ended_before, 0);
  EXPECT_GT(written, 1);
}

// --- the walk

TEST_F(MetricsTest, WhatIsFinalisedWasAllocatedOnceAndIsNamedByOneParent) {
  Open();
  Create(40 * kMiB);
  ASSERT_EQ(Sync(), absl::OkStatus());
  for (int round = 0; round < 4; ++round) {
    Mark();
    uint64_t blocks = 0;
    for (uint64_t at = 0; at < 40 * kMiB; at += (1 + rng_.Next64() % 20) * kBlock, ++blocks) {
      Write(at, Noise(rng_, kBlock));
    }
    ASSERT_EQ(Sync(), absl::OkStatus());
    EXPECT_EQ(Moved(Finalized("data")), static_cast<double>(blocks));
    EXPECT_EQ(Moved(BytesOf("data")), static_cast<double>(blocks * kBlock));
    EXPECT_EQ(Moved(Finalized("inode")), 3) << "the disk, the PFS root, the super-root";
    EXPECT_EQ(Moved(BytesOf("inode")), 3 * 1024);
    EXPECT_GT(Moved(Finalized("indirect")), 0);
    double updated = 0;
    for (const char* type : kStoredTypes) {
      EXPECT_EQ(Moved(Finalized(type)),
                Moved(absl::StrCat("h2bd_freemap_allocations_total{type=", type, "}")))
          << type;
      updated += Moved(Finalized(type));
    }
    EXPECT_EQ(Moved("h2bd_flush_parent_updates_total{result=ok}"), updated);
    EXPECT_EQ(Moved("h2bd_flush_parent_updates_total{result=error}"), 0);
    for (const char* type : {"inode", "indirect", "freemap_leaf", "freemap_node"}) {
      EXPECT_EQ(Moved(absl::StrCat("h2bd_flush_visited_chains_total{type=", type, "}")),
                Moved(Finalized(type)))
          << type;
    }
    EXPECT_GE(Moved(Finalized("freemap_leaf")), 1);
    for (const char* type : {"freemap_leaf", "freemap_node"}) {
      EXPECT_EQ(Moved(BytesOf(type)), Moved(Finalized(type)) * 32768) << type;
    }
    EXPECT_EQ(Moved(Finalized("volume")), 1);
    Mark();
    ASSERT_EQ(Sync(), absl::OkStatus());
    const MetricValues after(*volume_);
    for (const auto& [name, value] : after.all()) {
      if (!name.starts_with("h2bd_flush_")) continue;
      EXPECT_EQ(Moved(name), 0) << name << ": nothing to do";
    }
  }
}

TEST_F(MetricsTest, NamesThatAreLongHaveBlocksOfTheirOwn) {
  Open();
  ASSERT_TRUE(volume_->CreateDisk({"", "short"}, {kMiB}).ok());
  ASSERT_EQ(Sync(), absl::OkStatus());
  EXPECT_EQ(Moved(Finalized("dirent")), 0);
  ASSERT_TRUE(volume_->CreateDisk({"", std::string(200, 'n')}, {kMiB}).ok());
  ASSERT_EQ(Sync(), absl::OkStatus());
  EXPECT_EQ(Moved(Finalized("dirent")), 1);
  EXPECT_EQ(Moved(BytesOf("dirent")), 1024);
}

TEST_F(MetricsTest, TheDepthIsThatOfTheLastCycleAndEmptyTablesAreCounted) {
  constexpr uint64_t kBlocks = 8;  // more than the inode has entries
  Open();
  Create(kBlocks * kBlock);
  Write(0, "one");
  ASSERT_EQ(Sync(), absl::OkStatus());
  EXPECT_EQ(Now("h2bd_flush_max_depth"), 0) << "the inode names the block itself";
  for (uint64_t i = 0; i < kBlocks; ++i) Write(i * kBlock, "more");
  ASSERT_EQ(Sync(), absl::OkStatus());
  EXPECT_EQ(Now("h2bd_flush_max_depth"), 1);
  EXPECT_EQ(Moved("h2bd_flush_indirect_maintenance_total{action=emptied}"), 0);
  const double scanned = Now("h2bd_flush_scanned_chains_total");
  EXPECT_GT(scanned, 0);
  // Zeros that are written make holes, one by one, until the table has nothing left.
  for (uint64_t i = 0; i < kBlocks; ++i) Write(i * kBlock, std::string(kBlock, '\0'));
  ASSERT_EQ(Sync(), absl::OkStatus());
  EXPECT_EQ(Moved("h2bd_flush_indirect_maintenance_total{action=emptied}"), 1);
  EXPECT_GT(Now("h2bd_flush_scanned_chains_total"), scanned);
  ASSERT_TRUE(volume_->CreateDisk({"", "e"}, {kMiB}).ok());
  ASSERT_EQ(Sync(), absl::OkStatus());
  EXPECT_EQ(Now("h2bd_flush_max_depth"), 0);
}

// --- what is dirty (I-19)

void ExpectNothingDirty(const Volume& volume) {
  const MetricValues metrics(volume);
  ASSERT_EQ(metrics["h2bd_opseq"], metrics["h2bd_durable_opseq"]);
  ASSERT_EQ(metrics["h2bd_held_disks"], 0);
  for (const char* name : {"h2bd_dirty_chains", "h2bd_dirty_inodes", "h2bd_dirty_bytes",
                           "h2bd_pinned_bytes", "h2bd_reserved_bytes"}) {
    EXPECT_EQ(metrics[name], 0) << name;
  }
}

// Disks come and go, grow and shrink; cycles are aborted, publishes fail.
TEST_F(MetricsTest, NothingIsDirtyWhenEverythingIsDurable) {
  Open();
  RandomScript script(*volume_, rng_.Next64());
  int failed = 0;
  for (int step = 1; step <= 600 && !HasFailure(); ++step) {
    script.Step();
    if (step % 5 != 0) continue;
    if (rng_.Next64() % 2 == 0) {
      const bool second_barrier = rng_.Next64() % 3 == 0;
      stack_->point(0).Reset(second_barrier
                                 ? FaultPlan{.fail_at = 2, .writes = false}
                                 : FaultPlan{.fail_at = 1 + rng_.Next64() % 30, .reads = true});
      if (!Sync().ok()) ++failed;
      stack_->point(0).Reset({.fail_at = 0});
      for (uint64_t more = rng_.Next64() % 4; more > 0; --more) script.Step();
    }
    ASSERT_EQ(Sync(), absl::OkStatus());
    ExpectNothingDirty(*volume_);
  }
  EXPECT_GT(failed, 5);
}

TEST(DirtyMetrics, ADiskStaysDirtyUntilAHeaderHasIt) {
  FaultWorld world(*FormattedImage(8 * kGiB), FaultPlan{.fail_at = 0});
  EXPECT_EQ(world.Metric("h2bd_dirty_inodes"), 0);
  world.Overwrite();
  EXPECT_EQ(world.Metric("h2bd_dirty_inodes"), 1);
  EXPECT_EQ(world.Metric("h2bd_flush_inodes_total{op=requeued}"), 0);
  world.point.Reset({.fail_at = 2, .writes = false});  // the barrier behind the header
  ASSERT_FALSE(world.volume->Sync(nullptr, {}).ok());
  EXPECT_EQ(world.Metric("h2bd_flush_inodes_total{op=requeued}"), 1);
  EXPECT_EQ(world.Metric("h2bd_dirty_inodes"), 1) << "the cycle gave it back";
  world.Overwrite();
  EXPECT_EQ(world.Metric("h2bd_dirty_inodes"), 1) << "it is one disk";
  world.point.Reset({.fail_at = 0});
  ASSERT_TRUE(world.volume->Sync(nullptr, {}).ok());
  EXPECT_EQ(world.Metric("h2bd_dirty_inodes"), 0);
  EXPECT_EQ(world.Metric("h2bd_flush_inodes_total{op=requeued}"), 1);
  EXPECT_EQ(world.Metric(Errors("barrier2", "eio")), 1);
}

// --- devices and threads

// All that a device gets is one of the four kinds.
TEST_F(MetricsTest, TheKindsOfADeviceAddUpToWhatItGot) {
  SetImages images = *FormattedSet({3 * kGiB, kGiB});
  ASSERT_EQ(Occupy(images,
                   [](uint64_t at) {
                     return at >= 3 * kGiB || (at >= 512 * kMiB && at < 512 * kMiB + 640 * kKiB);
                   }),
            absl::OkStatus());
  Open(images);
  const size_t begin = stack_->log().size();
  Create(8 * kMiB);
  for (int round = 0; round < 5; ++round) {
    for (uint64_t at = 0; at < 3 * kMiB; at += kBlock) {
      Write(at, Noise(rng_, 1 + rng_.Next64() % kBlock));
    }
    ASSERT_EQ(Sync(), absl::OkStatus());
  }
  std::array<std::map<std::string, double>, 2> expected;
  for (const IoEvent& event : stack_->EventsFrom(begin)) {
    if (event.kind != IoEvent::kWrite) continue;
    const char* kind = IsHeaderWrite(event)                           ? "header"
                       : event.off % kFreemapLeafSpan < kZoneSegBytes ? "freemap"
                                                                      : "blocks";
    expected[static_cast<size_t>(event.device)][kind] += static_cast<double>(event.bytes->size());
  }
  const auto written = [&](int device, const char* kind) {
    return absl::StrCat("h2bd_flush_device_write_bytes_total{device=memory", device, ",kind=", kind,
                        "}");
  };
  for (int device = 0; device < 2; ++device) {
    SCOPED_TRACE(device);
    std::map<std::string, double>& of = expected[static_cast<size_t>(device)];
    EXPECT_EQ(Moved(written(device, "data")) + Moved(written(device, "meta")), of["blocks"]);
    EXPECT_GT(Moved(written(device, "meta")), 0);
    EXPECT_EQ(Moved(written(device, "freemap")), of["freemap"]);
    EXPECT_GT(of["freemap"], 0);
  }
  EXPECT_EQ(Moved(written(0, "header")), expected[0]["header"]);
  EXPECT_EQ(expected[0]["header"], 5 * 65536);
  EXPECT_FALSE(MetricValues(*volume_).has(written(1, "header"))) << "headers are the root's";
}

TEST_F(MetricsTest, EachFlusherWorkerHasItsBusyTime) {
  VolumeOptions options;
  options.flush_age = absl::ZeroDuration();
  options.flusher_threads = 2;
  Open({*FormattedImage(8 * kGiB)}, options);
  constexpr char kBusy[] = "h2bd_flush_worker_busy_seconds_total";
  for (int worker = 0; worker < 2; ++worker) {
    EXPECT_TRUE(MetricValues(*volume_).has(absl::StrCat(kBusy, "{worker=", worker, "}")));
  }
  const double before = MetricValues(*volume_).Sum(kBusy);
  Create(8 * kMiB);
  // A task is counted a moment after its cycle went on; that of the first is by the second's end.
  for (int cycle = 0; cycle < 10; ++cycle) {
    Write(0, Noise(rng_, 8 * kMiB));
    ASSERT_EQ(Sync(), absl::OkStatus());
  }
  EXPECT_GT(MetricValues(*volume_).Sum(kBusy), before);
  disk_.reset();
  volume_.reset();
  Open();
  EXPECT_FALSE(MetricValues(*volume_).has(absl::StrCat(kBusy, "{worker=0}")))
      << "without threads there are no workers";
}

// --- errors

TEST(ErrorMetrics, AReadThatFailsIsEio) {
  // Nothing of it is in memory.
  const SparseImage image =
      FaultWorld(*FormattedImage(8 * kGiB), FaultPlan{.fail_at = 0}).memory.Snapshot();
  int seen = 0;
  bool reached = true;
  for (uint64_t n = 1; reached; ++n) {
    SCOPED_TRACE(absl::StrCat("read ", n));
    MemoryDevice memory(image);
    FaultPoint point(FaultPlan{.fail_at = 0});
    FaultDevice device(memory, point);
    const auto volume = OpenOn(device, ManualOptions());
    ASSERT_TRUE(volume.ok());
    const DiskRef disk = *(*volume)->OpenDisk({"", "d"});
    ASSERT_EQ(WriteText(**volume, disk, 100, std::string(200000, 'a')), absl::OkStatus());
    EXPECT_EQ(MetricValues(**volume).Sum("h2bd_flush_errors_total"), 0);
    point.Reset({.fail_at = n, .sticky = true, .reads = true, .writes = false, .syncs = false});
    const absl::Status synced = (*volume)->Sync(nullptr, {}).status();
    reached = point.reached();
    EXPECT_EQ(synced.ok(), !reached) << synced;
    const MetricValues metrics(**volume);
    const bool held = metrics["h2bd_held_disks"] == 1;
    seen += held;
    if (held) {
      EXPECT_EQ(metrics[Errors("inodes", "eio")], 1);
    }
    EXPECT_EQ(metrics.Sum("h2bd_flush_errors_total"), reached ? 1 : 0);
  }
  EXPECT_GT(seen, 0);
}

// --- waiting

TEST_F(MetricsTest, OnlyAWriteThatWaitsForSpaceIsCounted) {
  constexpr char kWaits[] = "h2bd_backpressure_wait_seconds_count{resource=space}";
  constexpr char kTime[] = "h2bd_backpressure_wait_seconds_sum{resource=space}";
  constexpr uint64_t kRoom = 256 * kMiB;
  SetImages images = {*FormattedImage(8 * kGiB)};
  ASSERT_EQ(Occupy(images, [](uint64_t at) { return at >= kGiB && at < kGiB + kRoom; }),
            absl::OkStatus());
  VolumeOptions options = ManualOptions();
  options.dirty_limit_bytes = 4 * kRoom;
  Open(images, options);
  Create(4 * kRoom);
  Write(0, "there is room");
  EXPECT_EQ(Moved(kWaits), 0);
  // Promises are for blocks that do not compress; these do, so a cycle gives most of it back.
  const std::string text(8 * kMiB, 'c');
  for (uint64_t at = 0; Moved(kWaits) == 0; at += text.size()) {
    ASSERT_LT(at, 4 * kRoom) << "no write has waited";
    Write(at, text);
  }
  EXPECT_EQ(Moved(kWaits), 1);
  EXPECT_GT(Moved(kTime), 0);
  // A full volume refuses at once.
  absl::Status status;
  const std::string noise = Noise(rng_, 8 * kMiB);
  for (uint64_t at = 0; status.ok() && at < 4 * kRoom; at += noise.size()) {
    status = WriteText(*volume_, disk_, at, noise);
    if (status.ok()) {
      ASSERT_EQ(Sync(), absl::OkStatus());
    }
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Moved(kWaits), 1) << "nothing was promised that a cycle could have returned";
}

TEST_F(MetricsTest, ACommitHasThreeStages) {
  Open();
  Create(kMiB);
  const auto stage = [](const char* name) {
    return absl::StrCat("h2bd_txn_commit_seconds_count{stage=", name, "}");
  };
  const auto stages = [&] {
    return std::array{Now(stage("prepare")), Now(stage("lock")), Now(stage("apply"))};
  };
  using Counts = std::array<double, 3>;
  EXPECT_EQ(stages(), (Counts{0, 0, 0}));
  const ConstByteSpan bytes = AsBytes("text");
  const auto begin_and_write = [&] {
    const TxnId id = volume_->Begin({})->id;
    EXPECT_EQ(volume_->TxnWrite(id, disk_, 5, std::span(&bytes, 1), {}), absl::OkStatus());
    return id;
  };
  ASSERT_TRUE(volume_->Commit(begin_and_write(), {}).ok());
  EXPECT_EQ(stages(), (Counts{1, 1, 1}));
  ASSERT_TRUE(volume_->Abort(begin_and_write()).ok());
  ASSERT_TRUE(volume_->Commit(volume_->Begin({})->id, {}).ok()) << "an empty one";
  EXPECT_EQ(stages(), (Counts{1, 1, 1}));
}

// F-227: whether barriers are needed, for each device.
TEST(Metrics, SayWhatTheQueueOfEachDeviceSays) {
  class WriteThrough final : public ForwardingDevice {
   public:
    explicit WriteThrough(BlockDevice& inner) : ForwardingDevice(inner) {}
    std::string write_cache() const override { return "write through"; }
  };
  MemoryDevice memory(*FormattedImage(8 * kGiB));
  WriteThrough device(memory);
  const auto known = OpenOn(device, ManualOptions());
  EXPECT_EQ(MetricValues(**known)["h2bd_device_write_cache{device=memory,mode=write through}"], 1);
  MemoryDevice other(*FormattedImage(8 * kGiB));
  const auto unknown = OpenOn(other, ManualOptions());
  EXPECT_EQ(MetricValues(**unknown)["h2bd_device_write_cache{device=memory,mode=unknown}"], 1);
}

}  // namespace
}  // namespace h2bd
