// The same calls give the same volume: byte for byte with one worker, entry for entry with any
// number (spec 04 F-300, I-30).
#include <gtest/gtest.h>

#include <string>

#include "tests/support/fake_clock.h"
#include "tests/support/fixtures.h"
#include "tests/volume/device_stack.h"
#include "tests/volume/random_script.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

class Determinism : public testing::Test {
 protected:
  SparseImage RunScript(const VolumeOptions& options) {
    MemoryDevice device(base_);
    FakeClock clock;
    SeededRandom random(seed_);
    VolumeEnv env;
    env.clock = &clock;
    env.random = &random;
    const auto volume = OpenOn(device, options, env);
    EXPECT_TRUE(volume.ok()) << volume.status();
    RandomScript script(**volume, seed_ + 1);
    for (int cycle = 0; cycle < 8; ++cycle) {
      for (int step = 0; step < 12; ++step) {
        clock.Advance(absl::Milliseconds(700));
        script.Step();
      }
      const auto synced = (*volume)->Sync(nullptr, {});
      EXPECT_TRUE(synced.ok()) << synced.status();
      if (HasFailure()) break;
    }
    EXPECT_EQ((*volume)->Close(), absl::OkStatus());
    return device.Snapshot();
  }
  static VolumeOptions Workers(size_t workers) {
    VolumeOptions options;
    options.flush_age = absl::ZeroDuration();
    options.flusher_threads = workers;
    return options;
  }

  const uint64_t seed_ = TestSeed();
  const SparseImage base_ = *FormattedImage(8 * kGiB);
};

TEST_F(Determinism, OneWorkerGivesTheSameBytesTwice) {
  const SparseImage first = RunScript(ManualOptions());
  EXPECT_TRUE(RunScript(ManualOptions()) == first);
  ExpectCleanSet({first});
}

TEST_F(Determinism, AnyNumberOfWorkersGivesTheSameTree) {
  const std::string digest = DigestOf(RunScript(ManualOptions()));
  EXPECT_NE(digest, DigestOf(base_));
  for (const size_t workers : {1, 2, 4, 7}) {
    const SparseImage image = RunScript(Workers(workers));
    EXPECT_EQ(DigestOf(image), digest) << workers << " workers";
    ExpectCleanSet({image});
  }
}

}  // namespace
}  // namespace h2bd
