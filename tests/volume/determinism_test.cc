// The same calls give the same volume: byte for byte with one worker, entry for entry with any
// number (spec 04 F-300, I-30).
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/fsck/tree_digest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fixtures.h"
#include "tests/volume/device_stack.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

constexpr uint64_t kDiskBytes = 3 * kMiB;

// Calls that depend on nothing but the seed.
class Script {
 public:
  Script(Volume& volume, FakeClock& clock, uint64_t seed)
      : volume_(volume), clock_(clock), rng_(seed) {}

  void Run() {
    for (int cycle = 0; cycle < 8 && !testing::Test::HasFailure(); ++cycle) {
      for (int step = 0; step < 12; ++step) {
        clock_.Advance(absl::Milliseconds(rng_.Next64() % 5000));
        Step();
      }
      const auto synced = volume_.Sync(nullptr, {});
      EXPECT_TRUE(synced.ok()) << synced.status();
    }
  }

 private:
  void Step() {
    if (sizes_.size() < 4) return Create();
    switch (rng_.Next64() % 10) {
      case 0:
        return Rename();
      case 1:
        return Delete();
      case 2:
        return Resize();
      case 3:
        return Zero();
      case 4:
        return Transaction();
      default:
        return Write();
    }
  }
  std::string NewName() {
    ++serial_;
    return absl::StrCat("disk", serial_, std::string(serial_ % 3 * 50, 'n'));
  }
  std::string Any() {
    auto it = sizes_.begin();
    std::advance(it, rng_.Next64() % sizes_.size());
    return it->first;
  }
  DiskRef Open(const std::string& name) {
    const absl::StatusOr<DiskRef> disk = volume_.OpenDisk({"", name});
    EXPECT_TRUE(disk.ok()) << disk.status();
    return *disk;
  }
  // Half of it does not compress.
  std::string Text(uint64_t bytes) {
    std::string text(bytes, 't');
    rng_.Fill(std::as_writable_bytes(std::span(text)).first(bytes / 2));
    return text;
  }
  void Create() {
    const std::string name = NewName();
    EXPECT_TRUE(volume_.CreateDisk({"", name}, {kDiskBytes}).ok());
    sizes_[name] = kDiskBytes;
  }
  void Rename() {
    const std::string from = Any(), to = NewName();
    EXPECT_TRUE(volume_.RenameDisk({"", from}, {"", to}).ok());
    sizes_[to] = sizes_[from];
    sizes_.erase(from);
  }
  void Delete() {
    const std::string name = Any();
    EXPECT_EQ(volume_.DeleteDisk({"", name}), absl::OkStatus());
    sizes_.erase(name);
  }
  void Resize() {
    const std::string name = Any();
    sizes_[name] = 1 + rng_.Next64() % (2 * kDiskBytes);
    EXPECT_TRUE(volume_.ResizeDisk({"", name}, sizes_[name]).ok());
  }
  void Zero() {
    const std::string name = Any();
    const uint64_t offset = rng_.Next64() % sizes_[name];
    const uint64_t length = rng_.Next64() % (sizes_[name] - offset + 1);
    EXPECT_TRUE(volume_.WriteZeroes(Open(name), offset, length, {}).ok());
  }
  void Write() {
    const std::string name = Any();
    const uint64_t offset = rng_.Next64() % sizes_[name];
    const uint64_t length = 1 + rng_.Next64() % std::min<uint64_t>(sizes_[name] - offset, kMiB);
    EXPECT_EQ(WriteText(volume_, Open(name), offset, Text(length)), absl::OkStatus());
  }
  void Transaction() {
    const TxnInfo txn = *volume_.Begin({});
    for (const auto& [name, size] : sizes_) {
      const std::string text = Text(1 + rng_.Next64() % std::min<uint64_t>(size, 100000));
      const ConstByteSpan bytes = AsBytes(text);
      EXPECT_EQ(volume_.TxnWrite(txn.id, Open(name), 0, std::span(&bytes, 1), {}),
                absl::OkStatus());
    }
    EXPECT_TRUE(volume_.Commit(txn.id, {}).ok());
  }

  Volume& volume_;
  FakeClock& clock_;
  SeededRandom rng_;
  std::map<std::string, uint64_t> sizes_;
  int serial_ = 0;
};

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
    Script(**volume, clock, seed_ + 1).Run();
    EXPECT_EQ((*volume)->Close(), absl::OkStatus());
    return device.Snapshot();
  }
  static VolumeOptions Workers(size_t workers) {
    VolumeOptions options;
    options.flush_age = absl::ZeroDuration();
    options.flusher_threads = workers;
    return options;
  }
  static std::string DigestOf(const SparseImage& image) {
    MemoryDevice device(image);
    std::vector<std::unique_ptr<BlockDevice>> devices;
    devices.push_back(std::make_unique<BorrowedDevice>(device));
    absl::StatusOr<VolumeSet> set = AssembleVolumeSet(std::move(devices), NullLogger());
    EXPECT_TRUE(set.ok()) << set.status();
    absl::StatusOr<MediaReader> reader = MediaReader::Open(*set, set->slot);
    EXPECT_TRUE(reader.ok()) << reader.status();
    const absl::StatusOr<std::string> digest = TreeDigest(*reader);
    EXPECT_TRUE(digest.ok()) << digest.status();
    return *digest;
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
