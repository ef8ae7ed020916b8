// A header whose freemap lags behind its topology, as other implementations leave it: the open
// marks what the freemap does not know (spec 04 F-209, D-12, D-13, I-06; fault row 20).
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/fsck/check.h"
#include "core/media/placement.h"
#include "tests/fsck/image_editor.h"
#include "tests/support/fixtures.h"
#include "tests/support/metric_values.h"
#include "tests/volume/device_stack.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

constexpr uint64_t kVolumeBytes = 8 * kGiB;  // four header slots: the freemap can lag by three
// What is left free of the first GiB.
constexpr uint64_t kSegmentBytes = 4 * kMiB, kRoomSegments = 8 * kSegmentBytes;
constexpr uint64_t kRoomInEach = 640 * kKiB;
constexpr uint64_t kLargeBytes = 8 * kRoomInEach;
constexpr uint64_t kDiskBytes = 400 * 1000;

using Contents = std::map<std::string, std::string>;

std::string Noise(SeededRandom& rng, size_t bytes) {
  std::string text(bytes, '\0');
  rng.Fill(std::as_writable_bytes(std::span(text)));
  return text;
}

std::unique_ptr<VolumeData> HeaderIn(const SparseImage& image, int slot) {
  auto header = std::make_unique<VolumeData>();
  image.Read(HeaderSlotOffset(slot).v, std::as_writable_bytes(std::span(header.get(), 1)));
  return header;
}

int NewestSlot(const SparseImage& image) {
  int newest = 0;
  for (int slot = 1; slot < kVolumeHeaderSlots; ++slot) {
    if (HeaderIn(image, slot)->mirror_tid > HeaderIn(image, newest)->mirror_tid) newest = slot;
  }
  return newest;
}

// Gives the newest header the freemap of the header `lag` cycles before it.
void MakeFreemapLag(SparseImage& image, uint64_t lag) {
  const int newest = NewestSlot(image);
  const auto header = HeaderIn(image, newest);
  for (int slot = 0; slot < kVolumeHeaderSlots; ++slot) {
    const auto older = HeaderIn(image, slot);
    if (older->mirror_tid.v + lag != header->mirror_tid.v) continue;
    header->freemap_blockset = older->freemap_blockset;
    header->freemap_tid = older->freemap_tid;
    header->allocator_free = older->allocator_free;
    SealVolumeData(*header);
    image.Write(HeaderSlotOffset(newest).v, std::as_bytes(std::span(header.get(), 1)));
    return;
  }
  FAIL() << "no header lies " << lag << " cycles back";
}

int FreemapLeaves(const SparseImage& image) {
  const ImageEditor editor(image, NewestSlot(image));
  int leaves = 0;
  for (const auto& node : editor.nodes()) leaves += node.bref.type == BrefType::kFreemapLeaf;
  return leaves;
}

double Recovered(const Volume& volume) {
  return MetricValues(volume)["h2bd_recovery_blocks_fixed_total"];
}

void ExpectNewestClean(const SparseImage& image) {
  MemoryDevice device(image);
  BlockDevice* devices[] = {&device};
  CheckOptions options;
  options.slot = NewestSlot(image);
  options.all_slots_strict = true;
  const CheckReport report = CheckDevices(devices, options);
  EXPECT_EQ(report.errors, 0u) << report.ToString(Severity::kError);
}

void ExpectContents(Volume& volume, const Contents& contents) {
  for (const auto& [name, content] : contents) {
    const absl::StatusOr<DiskRef> disk = volume.OpenDisk({"", name});
    ASSERT_TRUE(disk.ok()) << disk.status();
    const absl::StatusOr<std::string> found = ReadAll(volume, *disk);
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_TRUE(*found == content) << "disk " << name;
  }
}

// A new disk full of noise. Its blocks go to the lowest places that are free, which in a lagging
// freemap are those that it does not know.
absl::Status AddDisk(Volume& volume, const std::string& name, Contents& contents,
                     SeededRandom& rng) {
  const std::string text = Noise(rng, 2 * kDiskBytes);
  H2_RETURN_IF_ERROR(volume.CreateDisk({"", name}, {text.size()}).status());
  H2_ASSIGN_OR_RETURN(const DiskRef disk, volume.OpenDisk({"", name}));
  H2_RETURN_IF_ERROR(WriteText(volume, disk, 0, text));
  contents[name] = text;
  return absl::OkStatus();
}

class Recovery : public testing::Test {
 protected:
  Recovery() : image_(0) {
    SetImages images = *FormattedSet({kVolumeBytes});
    RunCycles(images, {"disk0", absl::StrCat("disk0", std::string(100, 'n'))});
    // Each type of block has its segments now; with little room in them the last cycle overflows.
    const uint64_t begin = RoundDown(HeaderIn(images.front(), 0)->allocator_beg, kSegmentBytes);
    EXPECT_EQ(Occupy(images,
                     [&](uint64_t at) {
                       return at >= kGiB || (at >= begin && at < begin + kRoomSegments &&
                                             at % kSegmentBytes < kRoomInEach);
                     }),
              absl::OkStatus());
    // Names of either kind: in their blockref, and too long for it.
    RunCycles(images, {"disk1", absl::StrCat("disk2", std::string(100, 'n')), "disk3", "large"});
    image_ = images.front();
  }
  // Each name in a cycle of its own.
  void RunCycles(SetImages& images, const std::vector<std::string>& names) {
    DeviceStack stack(images);
    const auto volume = stack.Open(ManualOptions());
    ASSERT_TRUE(volume.ok()) << volume.status();
    for (const std::string& name : names) {
      ASSERT_EQ(Add(**volume, name, name == "large" ? kLargeBytes : kDiskBytes), absl::OkStatus());
      const auto synced = (*volume)->Sync(nullptr, {});
      ASSERT_TRUE(synced.ok()) << synced.status();
    }
    images = stack.Snapshot();
  }
  absl::Status Add(Volume& volume, const std::string& name, uint64_t bytes) {
    contents_[name] = Noise(rng_, bytes);
    H2_RETURN_IF_ERROR(volume.CreateDisk({"", name}, {bytes}).status());
    H2_ASSIGN_OR_RETURN(const DiskRef disk, volume.OpenDisk({"", name}));
    return WriteText(volume, disk, 0, contents_[name]);
  }
  SparseImage Lagging(uint64_t lag) const {
    SparseImage image = image_;
    MakeFreemapLag(image, lag);
    return image;
  }

  SeededRandom rng_{3};
  Contents contents_;
  SparseImage image_;  // freemap up to date
};

TEST_F(Recovery, GapsOfAnyLengthAreMarkedAndNothingIsOverwritten) {
  double fewer = 0;
  for (uint64_t lag = 1; lag <= 3; ++lag) {
    SCOPED_TRACE(absl::StrCat("lag ", lag));
    const SparseImage lagging = Lagging(lag);
    EXPECT_LT(FreemapLeaves(lagging), FreemapLeaves(image_)) << "the gap needs a leaf that is new";
    DeviceStack stack({lagging});
    const auto volume = stack.Open(ManualOptions());
    ASSERT_TRUE(volume.ok()) << volume.status();
    EXPECT_GT(Recovered(**volume), fewer);
    fewer = Recovered(**volume);
    Contents contents = contents_;
    for (int cycle = 0; cycle < 5; ++cycle) {
      ASSERT_EQ(AddDisk(**volume, absl::StrCat("new", cycle), contents, rng_), absl::OkStatus());
      const auto synced = (*volume)->Sync(nullptr, {});
      ASSERT_TRUE(synced.ok()) << synced.status();
      ExpectNewestClean(stack.Snapshot().front());
    }
    ImageVolume later(stack.Snapshot(), ManualOptions());
    ASSERT_TRUE(later.status().ok()) << later.status();
    EXPECT_EQ(Recovered(*later), 0);
    ExpectContents(*later, contents);
    ExpectCleanSet(later.Snapshot());  // the header that lagged has left the ring
  }
}

// The first header after a recovery says that nothing lags any more, and is due although no disk
// has changed (F-213).
TEST_F(Recovery, TheNextCycleWritesAHeaderAndTheOpenAfterItHasNothingToDo) {
  DeviceStack stack({Lagging(2)});
  const auto volume = stack.Open(ManualOptions());
  ASSERT_TRUE(volume.ok()) << volume.status();
  const Tid before = (*volume)->GetStatus().mirror_tid;
  EXPECT_LT((*volume)->GetStatus().freemap_tid, before);
  ASSERT_EQ((*volume)->RunCycle(), absl::OkStatus());
  EXPECT_EQ((*volume)->GetStatus().mirror_tid, Tid(before.v + 1));
  const SparseImage image = stack.Snapshot().front();
  EXPECT_EQ(HeaderIn(image, NewestSlot(image))->freemap_tid, Tid(before.v + 1));
  ImageVolume again({image}, ManualOptions());
  ASSERT_TRUE(again.status().ok()) << again.status();
  EXPECT_EQ(Recovered(*again), 0);
  ExpectContents(*again, contents_);
}

TEST_F(Recovery, OpeningTwiceWithoutACycleFindsTheSame) {
  DeviceStack stack({Lagging(3)});
  SparseImage after_open(0);
  double first = 0;
  {
    const auto volume = stack.Open(ManualOptions());
    ASSERT_TRUE(volume.ok()) << volume.status();
    first = Recovered(**volume);
    after_open = stack.Snapshot().front();
  }
  EXPECT_TRUE(after_open == Lagging(3)) << "only memory may change";
  ImageVolume again({after_open}, ManualOptions());
  ASSERT_TRUE(again.status().ok()) << again.status();
  EXPECT_EQ(Recovered(*again), first);
  ExpectContents(*again, contents_);
}

TEST_F(Recovery, WithoutALagNothingIsRead) {
  ImageVolume volume({image_}, ManualOptions());
  ASSERT_TRUE(volume.status().ok()) << volume.status();
  EXPECT_EQ(Recovered(*volume), 0);
}

// What is below a table that cannot be read cannot be protected: no writing, but reading.
TEST_F(Recovery, ADamagedTableInTheGapIsRefusedForWritingAndCanBeReadAround) {
  SparseImage lagging = Lagging(2);
  const ImageEditor editor(lagging, NewestSlot(lagging));
  const int inode = editor.FindInode([&](const InodeData& data, const ImageEditor::Node& node) {
    return data.meta.type == ObjectType::kRegfile && data.meta.size == kLargeBytes &&
           node.bref.mirror_tid > editor.header().freemap_tid;
  });
  const uint64_t at = editor.nodes()[static_cast<size_t>(inode)].bref.data_off.offset().v;
  std::byte byte{};
  lagging.Read(at + 40, {&byte, 1});
  byte ^= std::byte{1};
  lagging.Write(at + 40, {&byte, 1});
  ImageVolume writable({lagging}, ManualOptions());
  EXPECT_EQ(writable.status().code(), absl::StatusCode::kDataLoss) << writable.status();
  VolumeOptions reading = ManualOptions();
  reading.read_only = true;
  ImageVolume readable({lagging}, reading);
  ASSERT_TRUE(readable.status().ok()) << readable.status();
  Contents others = contents_;
  others.erase("large");
  ExpectContents(*readable, others);
}

// Row 20: power is lost at each I/O of the open, its fence, the recovery and the first cycle; the
// open after it recovers again.
TEST_F(Recovery, PowerLossAtEachIoOfOpenAndFirstCycle) {
  const uint64_t seed = TestSeed();
  SeededRandom rng(seed);
  SparseImage base = Lagging(3);
  // A slot that the fence has to invalidate.
  const std::string torn(512, 't');
  base.Write(HeaderSlotOffset((NewestSlot(base) + 1) % kVolumeHeaderSlots).v, AsBytes(torn));
  DeviceStack stack({base});
  Contents after = contents_;
  size_t opened = 0;
  {
    const auto volume = stack.Open(ManualOptions());
    ASSERT_TRUE(volume.ok()) << volume.status();
    opened = stack.log().size();
    ASSERT_EQ(AddDisk(**volume, "new", after, rng), absl::OkStatus());
    ASSERT_TRUE((*volume)->Sync(nullptr, {}).ok());
  }
  EXPECT_GT(opened, 1u) << "the fence writes and syncs";
  const std::vector<IoEvent> log = stack.log().events();
  CrashStates states({base}, log);
  for (size_t cut = 0; cut <= log.size(); ++cut) {
    SCOPED_TRACE(absl::StrCat("cut at event ", cut, " of ", log.size()));
    states.AdvanceTo(cut);
    for (int draw = 0; draw < 2; ++draw) {
      DeviceStack later(states.Draw(rng));
      const auto volume = later.Open(ManualOptions());
      ASSERT_TRUE(volume.ok()) << volume.status();
      const bool has_new = (*volume)->OpenDisk({"", "new"}).ok();
      EXPECT_TRUE(has_new || cut < log.size());
      Contents expected = has_new ? after : contents_;
      ASSERT_EQ(AddDisk(**volume, "later", expected, rng), absl::OkStatus());
      const auto synced = (*volume)->Sync(nullptr, {});
      ASSERT_TRUE(synced.ok()) << synced.status();
      ExpectNewestClean(later.Snapshot().front());
      ImageVolume last(later.Snapshot(), ManualOptions());
      ASSERT_TRUE(last.status().ok()) << last.status();
      ExpectContents(*last, expected);
    }
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace h2bd
