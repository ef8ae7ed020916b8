// A device that says yes to barriers and keeps nothing in order (spec 04 section 11, row 17):
// promises cannot be kept then, but nobody is given wrong bytes. Every state shows what is broken,
// by a header that does not validate or by a check code, or is a complete older one.
#include <gtest/gtest.h>

#include <cstdio>

#include "core/fsck/check.h"
#include "tests/crash/crash_world.h"
#include "tests/support/fixtures.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

struct Tally {
  int complete = 0;  // some published state, all of it
  int refused = 0;   // does not open
  int damaged = 0;   // opens, and says of some disks that they are damaged
};

// What was read without an error is what the header's state holds; whatever is missing was refused.
void NothingIsSilentlyWrong(const CrashRecord& record, const SparseImage& image, Tally& tally) {
  MemoryDevice device(image);
  BlockDevice* devices[] = {&device};
  CheckOptions options;
  VolumeOptions reading = ManualOptions();
  reading.read_only = true;
  const auto volume = OpenOn(device, reading);
  if (!volume.ok()) {
    ++tally.refused;
    EXPECT_GT(CheckDevices(devices, options).errors, 0u) << volume.status();
    return;
  }
  const auto state = record.published.find((*volume)->GetStatus().mirror_tid.v);
  ASSERT_NE(state, record.published.end()) << "a header that nobody has published";
  size_t whole = 0;
  bool listed = true;
  const auto list = (*volume)->ListDisks("", 1000, "");
  if (!list.ok()) {
    listed = false;
  } else {
    EXPECT_LE(list->disks.size(), state->second.size());
    for (const DiskInfo& disk : list->disks) {
      // An entry whose name lies in a lost block is shown as damaged, without it.
      EXPECT_TRUE(disk.damaged || state->second.contains(disk.name.path)) << disk.name.path;
    }
  }
  for (const auto& [name, content] : state->second) {
    const absl::StatusOr<DiskRef> disk = (*volume)->OpenDisk({"", name});
    if (!disk.ok()) {
      // Not found would be a lie. (Of a PFS that is lost as a whole nothing is known.)
      EXPECT_FALSE(absl::IsNotFound(disk.status())) << disk.status();
      continue;
    }
    const absl::StatusOr<std::string> found = ReadAll(**volume, *disk);
    if (!found.ok()) {
      EXPECT_EQ(found.status().code(), absl::StatusCode::kDataLoss) << found.status();
      continue;
    }
    EXPECT_TRUE(*found == content) << "wrong bytes of disk " << name << " without an error";
    ++whole;
  }
  if (listed && whole == state->second.size()) {
    ++tally.complete;
    return;
  }
  ++tally.damaged;
  options.slot = (*volume)->GetStatus().header_slot;
  EXPECT_GT(CheckDevices(devices, options).errors, 0u) << "the checker does not see it";
}

TEST(IgnoredBarrier, EveryStateIsCompleteOrShowsItsDamage) {
  const uint64_t seed = TestSeed();
  Tally tally;
  for (const uint64_t volume_bytes : {3 * kGiB, 8 * kGiB}) {
    Workload workload;
    workload.volume_bytes = volume_bytes;
    workload.seed = seed;
    absl::StatusOr<CrashRecord> record = RunWorkload(workload);
    ASSERT_TRUE(record.ok()) << record.status();
    // The barriers have settled nothing: everything since the beginning is undecided.
    std::erase_if(record->log, [](const IoEvent& event) { return event.kind == IoEvent::kSync; });
    SeededRandom rng(seed + 1);
    CrashStates states({record->base}, record->log);
    for (size_t cut = 0; cut <= record->log.size(); ++cut) {
      SCOPED_TRACE(testing::Message() << "H2BD_SEED=" << seed << " cut " << cut);
      states.AdvanceTo(cut);
      for (const CrashStyle style :
           {CrashStyle::kWhole, CrashStyle::kSectors, CrashStyle::kPrefix, CrashStyle::kAll}) {
        NothingIsSilentlyWrong(*record, states.Draw(rng, style).front(), tally);
      }
      if (HasFailure()) return;
    }
  }
  std::fprintf(stderr, "%d states complete, %d refused, %d damaged\n", tally.complete,
               tally.refused, tally.damaged);
  EXPECT_GT(tally.complete, 50);
  EXPECT_GT(tally.damaged, 20) << "such a device does harm, or the test shows nothing";
}

}  // namespace
}  // namespace h2bd
