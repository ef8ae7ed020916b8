// A volume over two and three devices: each of them is part of every commit (spec 04 F-116, F-118,
// F-121, D-05, D-06; fault rows 4 and 16).
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/support/fixtures.h"
#include "tests/volume/device_stack.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

constexpr uint64_t kDiskBytes = 700 * 1000;
constexpr uint64_t kRootBytes = 3 * kGiB;  // two header slots
// Room on the first and on each middle device: more than the first write to a disk takes, and less
// than two.
constexpr uint64_t kRootRoom = 320 * kKiB, kMiddleRoom = 960 * kKiB;

using Contents = std::map<std::string, std::string>;

std::string Noise(SeededRandom& rng, size_t bytes) {
  std::string text(bytes, '\0');
  rng.Fill(std::as_writable_bytes(std::span(text)));
  return text;
}

// A set whose devices but the last have little room left, so that a cycle writes to all of them.
SetImages NarrowSet(size_t devices) {
  std::vector<uint64_t> sizes = {kRootBytes};
  while (sizes.size() < devices) sizes.push_back(kGiB);
  absl::StatusOr<SetImages> images = FormattedSet(sizes);
  EXPECT_TRUE(images.ok()) << images.status();
  const uint64_t last = kRootBytes + (devices - 2) * kGiB;
  const absl::Status occupied = Occupy(*images, [&](uint64_t at) {
    if (at >= last) return true;
    const uint64_t within = at < kRootBytes ? at : (at - kRootBytes) % kGiB;
    const uint64_t room = at < kRootBytes ? kRootRoom : kMiddleRoom;
    return within >= 512 * kMiB && within < 512 * kMiB + room;
  });
  EXPECT_TRUE(occupied.ok()) << occupied;
  return *std::move(images);
}

// How many devices there are, and whether the engine has threads of its own. Cycles run for Syncs
// only, with and without.
struct Shape {
  size_t devices;
  bool threads;
};
VolumeOptions OptionsOf(const Shape& shape) {
  if (!shape.threads) return ManualOptions();
  VolumeOptions options;
  options.flush_age = absl::ZeroDuration();
  options.flusher_threads = 3;
  return options;
}

// A volume whose disk "d" durably holds `before`.
class SetWorld {
 public:
  SetWorld(const SetImages& images, const Shape& shape) : stack(images) {
    absl::StatusOr<std::unique_ptr<Volume>> opened = stack.Open(OptionsOf(shape));
    EXPECT_TRUE(opened.ok()) << opened.status();
    volume = *std::move(opened);
    EXPECT_TRUE(volume->CreateDisk({"", "d"}, {kDiskBytes}).ok());
    disk = *volume->OpenDisk({"", "d"});
    EXPECT_EQ(WriteText(*volume, disk, 0, before), absl::OkStatus());
    EXPECT_TRUE(volume->Sync(nullptr, {}).ok());
    begin = stack.log().size();
    before_images = stack.Snapshot();
  }
  // What is to be written and what the disk then holds.
  absl::Status WriteAfter() { return WriteText(*volume, disk, 0, after); }
  size_t HeaderWrites() const {
    const std::vector<IoEvent> events = stack.EventsFrom(begin);
    return static_cast<size_t>(std::count_if(events.begin(), events.end(), IsHeaderWrite));
  }
  std::string Reopened() const {
    ImageVolume later(stack.Snapshot(), ManualOptions());
    EXPECT_TRUE(later.status().ok()) << later.status();
    if (!later.status().ok()) return "";
    std::string content = *ReadAll(*later, *later->OpenDisk({"", "d"}));
    ExpectCleanSet(later.Snapshot());  // the open has fenced a torn slot
    return content;
  }

  SeededRandom rng{5};
  const std::string before = Noise(rng, kDiskBytes);
  const std::string after = Noise(rng, kDiskBytes);
  DeviceStack stack;
  std::unique_ptr<Volume> volume;
  DiskRef disk;
  size_t begin = 0;  // of the record that counts
  SetImages before_images;
};

class SeveralDevices : public testing::TestWithParam<Shape> {
 protected:
  SeveralDevices() : images_(NarrowSet(GetParam().devices)) {}
  static size_t devices() { return GetParam().devices; }
  const SetImages images_;
};

// Row 4 cannot be told by a test whose cycles write to one device only.
TEST_P(SeveralDevices, ACycleWritesToAllOfThem) {
  SetWorld world(images_, GetParam());
  ASSERT_EQ(world.WriteAfter(), absl::OkStatus());
  ASSERT_TRUE(world.volume->Sync(nullptr, {}).ok());
  std::vector<int> writes(devices());
  for (const IoEvent& event : world.stack.EventsFrom(world.begin)) {
    if (event.kind == IoEvent::kWrite) ++writes[static_cast<size_t>(event.device)];
  }
  for (size_t device = 0; device < writes.size(); ++device) EXPECT_GT(writes[device], 0) << device;
  EXPECT_EQ(world.Reopened(), world.after);
}

// F-118, F-121, D-06: also where a cycle has written nothing to a device, it gets its barrier; only
// the root gets headers, and a second barrier after each.
TEST_P(SeveralDevices, EachGetsABarrierInEachCycleAndOnlyTheRootAHeader) {
  SetWorld world(images_, GetParam());
  constexpr int kCycles = 5;
  for (int cycle = 0; cycle < kCycles; ++cycle) {
    ASSERT_EQ(WriteText(*world.volume, world.disk, 0, absl::StrCat("cycle ", cycle)),
              absl::OkStatus());
    ASSERT_TRUE(world.volume->Sync(nullptr, {}).ok());
  }
  const std::vector<IoEvent> events = world.stack.EventsFrom(world.begin);
  EXPECT_EQ(BarriersBeforeHeaders(events, devices()), absl::OkStatus());
  EXPECT_EQ(world.HeaderWrites(), size_t{kCycles});
  std::vector<int> barriers(devices());
  for (const IoEvent& event : events) {
    if (event.kind == IoEvent::kSync) ++barriers[static_cast<size_t>(event.device)];
  }
  EXPECT_EQ(barriers[0], 2 * kCycles);
  for (size_t device = 1; device < barriers.size(); ++device) {
    EXPECT_EQ(barriers[device], kCycles) << device;
    AlignedBuffer was(kVolumeHeaderBytes), is(kVolumeHeaderBytes);
    world.before_images[device].Read(0, was.span());
    world.stack.Snapshot()[device].Read(0, is.span());
    EXPECT_TRUE(AsText(was.span()) == AsText(is.span())) << "the header of device " << device;
  }
}

// Row 4, D-05: whichever device it is, and although all the others succeed.
TEST_P(SeveralDevices, ABarrierThatKeepsFailingOnAnyOfThemKeepsTheHeaderAway) {
  for (size_t device = 0; device < devices(); ++device) {
    SCOPED_TRACE(absl::StrCat("device ", device));
    SetWorld world(images_, GetParam());
    ASSERT_EQ(world.WriteAfter(), absl::OkStatus());
    world.stack.point(device).Reset({.fail_at = 1, .sticky = true, .writes = false});
    EXPECT_FALSE(world.volume->Sync(nullptr, {}).ok());
    EXPECT_EQ(world.HeaderWrites(), 0u);
    EXPECT_EQ(world.Reopened(), world.before);
    EXPECT_EQ(*ReadAll(*world.volume, world.disk), world.after) << "reads go on";
  }
}

// F-116, F-117, F-118: each write and each barrier of each device fails once, in every way.
TEST_P(SeveralDevices, EachIoOfEachOfThemCanFail) {
  uint64_t faults = 0;
  for (const FaultPlan::Effect effect :
       {FaultPlan::Effect::kNothing, FaultPlan::Effect::kShort, FaultPlan::Effect::kWhole}) {
    for (size_t device = 0; device < devices(); ++device) {
      bool reached = true;
      for (uint64_t n = 1; reached; ++n) {
        SCOPED_TRACE(
            absl::StrCat("device ", device, " I/O ", n, " effect ", static_cast<int>(effect)));
        SetWorld world(images_, GetParam());
        ASSERT_EQ(world.WriteAfter(), absl::OkStatus());
        FaultPoint& point = world.stack.point(device);
        point.Reset({.fail_at = n, .effect = effect});
        const auto synced = world.volume->Sync(nullptr, {});
        reached = point.reached();
        faults += reached;
        const std::string found = world.Reopened();
        EXPECT_TRUE(found == world.after || (!synced.ok() && found == world.before));
        EXPECT_EQ(BarriersBeforeHeaders(world.stack.EventsFrom(world.begin), devices()),
                  absl::OkStatus());
      }
    }
  }
  EXPECT_GT(faults, 6 * devices());
}

struct SetRecord {
  std::vector<IoEvent> log;
  std::map<uint64_t, Contents> published;  // by mirror_tid
  std::map<size_t, uint64_t> promised;     // answered when the log had so many events
};

// Writes to two disks, alone and as one transaction, and syncs.
SetRecord RunOverSet(const SetImages& images, const Shape& shape, uint64_t seed) {
  SetRecord record;
  DeviceStack stack(images);
  const auto volume = stack.Open(OptionsOf(shape));
  EXPECT_TRUE(volume.ok()) << volume.status();
  SeededRandom rng(seed);
  record.promised[0] = (*volume)->GetStatus().mirror_tid.v;
  Contents now;
  record.published[record.promised[0]] = now;
  for (const char* name : {"a", "b"}) {
    EXPECT_TRUE((*volume)->CreateDisk({"", name}, {kDiskBytes}).ok());
    now[name] = std::string(kDiskBytes, '\0');
  }
  for (int cycle = 0; cycle < 6; ++cycle) {
    const TxnInfo txn = *(*volume)->Begin({});
    for (auto& [name, content] : now) {
      const DiskRef disk = *(*volume)->OpenDisk({"", name});
      const uint64_t offset = rng.Next64() % (kDiskBytes / 2);
      const std::string text = Noise(rng, 1 + rng.Next64() % (kDiskBytes / 2));
      const ConstByteSpan bytes = AsBytes(text);
      EXPECT_EQ((*volume)->TxnWrite(txn.id, disk, offset, std::span(&bytes, 1), {}),
                absl::OkStatus());
      content.replace(offset, text.size(), text);
    }
    EXPECT_TRUE((*volume)->Commit(txn.id, {}).ok());
    const auto synced = (*volume)->Sync(nullptr, {});
    EXPECT_TRUE(synced.ok()) << synced.status();
    record.published[synced->mirror_tid.v] = now;
    record.promised[stack.log().size()] = synced->mirror_tid.v;
  }
  record.log = stack.log().events();
  return record;
}

void JudgeSet(const SetRecord& record, size_t cut, const SetImages& images) {
  ImageVolume volume(images, ManualOptions());
  ASSERT_TRUE(volume.status().ok()) << volume.status();
  const uint64_t tid = volume->GetStatus().mirror_tid.v;
  EXPECT_GE(tid, std::prev(record.promised.upper_bound(cut))->second);
  const auto state = record.published.find(tid);
  ASSERT_NE(state, record.published.end()) << "mirror_tid " << tid << " was never published";
  ASSERT_EQ(volume->ListDisks("", 100, "")->disks.size(), state->second.size());
  for (const auto& [name, content] : state->second) {
    const absl::StatusOr<std::string> found = ReadAll(*volume, *volume->OpenDisk({"", name}));
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_TRUE(*found == content) << "disk " << name;
  }
  ExpectCleanSet(volume.Snapshot());
}

// Row 16: power is lost for the whole set; each device loses what it likes of what it was not told
// to keep.
TEST_P(SeveralDevices, PowerLossAtEachPointKeepsEveryPromise) {
  const uint64_t seed = TestSeed();
  const SetRecord record = RunOverSet(images_, GetParam(), seed);
  SeededRandom rng(seed + 1);
  CrashStates states(images_, record.log);
  for (size_t cut = 0; cut <= record.log.size(); ++cut) {
    SCOPED_TRACE(absl::StrCat("cut at event ", cut, " of ", record.log.size()));
    states.AdvanceTo(cut);
    JudgeSet(record, cut, states.Draw(rng));
    if (HasFailure()) return;
  }
  EXPECT_GT(record.log.size(), 60u);
}

INSTANTIATE_TEST_SUITE_P(Shapes, SeveralDevices,
                         testing::Values(Shape{2, false}, Shape{3, false}, Shape{2, true},
                                         Shape{3, true}),
                         [](const auto& shape) {
                           return absl::StrCat(shape.param.devices, "Devices",
                                               shape.param.threads ? "WithThreads" : "");
                         });

}  // namespace
}  // namespace h2bd
