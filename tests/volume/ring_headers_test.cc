// Whatever happens later, the tree of each header in the ring stays as it was published, until that
// header is overwritten: nothing it reaches is freed or written over (spec 04 F-219, I-02, P8).
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/media/placement.h"
#include "tests/support/fixtures.h"
#include "tests/volume/device_stack.h"
#include "tests/volume/random_script.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

class RingHeaders : public testing::TestWithParam<uint64_t> {};

TEST_P(RingHeaders, KeepTheirTreesWhileNewerOnesArePublished) {
  const uint64_t seed = TestSeed();
  MemoryDevice device(*FormattedImage(GetParam()));
  const size_t slots = static_cast<size_t>(HeaderSlotCount(GetParam()));
  std::map<Tid, std::string> published = DigestsOf(device.Snapshot());
  const auto volume = OpenOn(device, ManualOptions());
  ASSERT_TRUE(volume.ok()) << volume.status();
  RandomScript script(**volume, seed);
  for (int cycle = 0; cycle < 12; ++cycle) {
    SCOPED_TRACE(absl::StrCat("cycle ", cycle));
    for (int step = 0; step < 10; ++step) script.Step();
    const auto synced = (*volume)->Sync(nullptr, {});
    ASSERT_TRUE(synced.ok()) << synced.status();
    const std::map<Tid, std::string> found = DigestsOf(device.Snapshot());
    EXPECT_EQ(found.size(), std::min<size_t>(slots, static_cast<size_t>(cycle) + 2));
    published[synced->mirror_tid] = found.at(synced->mirror_tid);
    for (const auto& [tid, digest] : found) EXPECT_EQ(digest, published[tid]) << tid.v;
    // The strict checker says so, too: no block of an older header is free in the newest freemap.
    ExpectCleanSet({device.Snapshot()});
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Volumes, RingHeaders, testing::Values(3 * kGiB, 8 * kGiB));

}  // namespace
}  // namespace h2bd
