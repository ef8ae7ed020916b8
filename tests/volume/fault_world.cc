#include "tests/volume/fault_world.h"

#include <gtest/gtest.h>

#include "tests/support/metric_values.h"

namespace h2bd {

FaultWorld::FaultWorld(const SparseImage& image, const FaultPlan& plan)
    : memory(image),
      recorder(memory, log, 0),
      point(FaultPlan{.fail_at = 0}),
      faulty(recorder, point) {
  absl::StatusOr<std::unique_ptr<Volume>> opened = OpenOn(faulty, ManualOptions());
  EXPECT_TRUE(opened.ok()) << opened.status();
  volume = *std::move(opened);
  EXPECT_TRUE(volume->CreateDisk({"", "d"}, {kDiskBytes}).ok());
  disk = *volume->OpenDisk({"", "d"});
  EXPECT_EQ(WriteText(*volume, disk, 0, before), absl::OkStatus());
  EXPECT_TRUE(volume->Sync(nullptr, {}).ok());
  point.Reset(plan);
}

std::string FaultWorld::Overwrite() {
  std::string after = before;
  after.replace(100, 200000, std::string(200000, 'a'));
  EXPECT_EQ(WriteText(*volume, disk, 100, std::string(200000, 'a')), absl::OkStatus());
  return after;
}

std::string FaultWorld::Reopened() const {
  MemoryDevice later(memory.Snapshot());
  std::string content;
  {
    const auto again = OpenOn(later, ManualOptions());
    EXPECT_TRUE(again.ok()) << again.status();
    if (!again.ok()) return "";
    const absl::StatusOr<DiskRef> found = (*again)->OpenDisk({"", "d"});
    EXPECT_TRUE(found.ok()) << found.status();
    if (found.ok()) content = *ReadAll(**again, *found);
  }
  ExpectClean(later);  // now: a torn header slot is fenced by the open
  return content;
}

double FaultWorld::Metric(absl::string_view name) const { return MetricValues(*volume)[name]; }

}  // namespace h2bd
