// Fault row 25: memory runs out in the middle of a commit. Nobody catches it, so the process ends,
// as in row 23; what a Sync had answered is there for the next.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <limits>
#include <new>

#include "absl/strings/str_cat.h"
#include "core/device/file_device.h"
#include "core/device/open_file.h"
#include "tests/support/fixtures.h"
#include "tests/volume/test_volume.h"

namespace {

// How many more allocations succeed, in all threads together.
std::atomic<int64_t> allocations_left{std::numeric_limits<int64_t>::max()};

bool MayAllocate() { return allocations_left.fetch_sub(1, std::memory_order_relaxed) > 0; }

}  // namespace

// This program's own heap, so that the n-th allocation can fail.
[[gnu::noinline]] void* operator new(size_t bytes) {
  void* const place = MayAllocate() ? std::malloc(bytes == 0 ? 1 : bytes) : nullptr;
  if (place == nullptr) throw std::bad_alloc();
  return place;
}
[[gnu::noinline]] void operator delete(void* place) noexcept { std::free(place); }
[[gnu::noinline]] void operator delete(void* place, size_t) noexcept { std::free(place); }

namespace h2bd {
namespace {

constexpr uint64_t kDiskBytes = 3 * kMiB;
constexpr int kSynced = 0, kRefused = 3;  // how the child ends when it has memory enough

std::string Content(char first) {
  SeededRandom rng(static_cast<uint64_t>(first));
  std::string text(kDiskBytes, '\0');
  rng.Fill(std::as_writable_bytes(std::span(text)));
  text[0] = first;
  return text;
}

// Without io_uring, whose end outlasts its process and with it the lock on the file.
absl::StatusOr<std::unique_ptr<BlockDevice>> OpenImage(const std::string& path, bool read_only) {
  return OpenFileDevice(path, {.read_only = read_only, .use_io_uring = false}, NullLogger());
}

absl::StatusOr<std::unique_ptr<Volume>> OpenFileVolume(const std::string& path, bool read_only) {
  std::vector<std::unique_ptr<BlockDevice>> devices;
  H2_ASSIGN_OR_RETURN(devices.emplace_back(), OpenImage(path, read_only));
  VolumeOptions options;
  options.read_only = read_only;
  options.flush_age = absl::ZeroDuration();
  options.flusher_threads = 2;
  return Volume::Open(std::move(devices), options, {});
}

// Never returns. The second commit has so many allocations.
[[noreturn]] void RunChild(const std::string& path, int64_t allocations) noexcept {
  const struct rlimit no_core {};
  setrlimit(RLIMIT_CORE, &no_core);
  close(STDERR_FILENO);  // the end is expected
  const std::string before = Content('b'), after = Content('a');
  absl::StatusOr<std::unique_ptr<Volume>> volume = OpenFileVolume(path, false);
  if (!volume.ok() || !(*volume)->CreateDisk({"", "d"}, {kDiskBytes}).ok()) _exit(kRefused);
  const DiskRef disk = *(*volume)->OpenDisk({"", "d"});
  if (!WriteText(**volume, disk, 0, before).ok()) _exit(kRefused);
  if (!(*volume)->Sync(nullptr, {}).ok()) _exit(kRefused);
  if (!WriteText(**volume, disk, 0, after).ok()) _exit(kRefused);
  allocations_left = allocations;
  _exit((*volume)->Sync(nullptr, {}).ok() ? kSynced : kRefused);
}

int EndOfChild(const std::string& path, int64_t allocations) {
  const pid_t child = fork();
  if (child == 0) RunChild(path, allocations);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

void MakeVolume(const std::string& path) {
  unlink(path.c_str());
  ASSERT_EQ(CreateImageFile(path, 8 * kGiB, ImageSpace::kSparse), absl::OkStatus());
  std::vector<std::unique_ptr<BlockDevice>> devices;
  devices.push_back(*OpenImage(path, false));
  const auto report = Format(devices, {}, SystemClock(), SystemRandom());
  ASSERT_TRUE(report.ok()) << report.status();
}

std::string ContentOf(const std::string& path) {
  const auto volume = OpenFileVolume(path, true);
  EXPECT_TRUE(volume.ok()) << volume.status();
  if (!volume.ok()) return "";
  const auto content = ReadAll(**volume, *(*volume)->OpenDisk({"", "d"}));
  EXPECT_TRUE(content.ok()) << content.status();
  return content.value_or("");
}

void ExpectCleanFile(const std::string& path) {
  const auto device = OpenImage(path, true);
  ASSERT_TRUE(device.ok()) << device.status();
  ExpectClean(**device);
}

TEST(OutOfMemory, EndsTheProcessAndLosesNothingThatWasPromised) {
  const std::string path =
      absl::StrCat(testing::TempDir(), "h2bd-out-of-memory-", getpid(), ".img");
  int died = 0;
  for (int64_t allocations = 0;; allocations += allocations / 2 + 1) {
    SCOPED_TRACE(absl::StrCat(allocations, " allocations"));
    MakeVolume(path);
    const int status = EndOfChild(path, allocations);
    const std::string found = ContentOf(path);
    ExpectCleanFile(path);
    if (!WIFSIGNALED(status)) {
      EXPECT_EQ(WEXITSTATUS(status), kSynced);
      EXPECT_TRUE(found == Content('a'));
      break;
    }
    ++died;
    EXPECT_EQ(WTERMSIG(status), SIGABRT) << "an end that nobody meant";
    EXPECT_TRUE(found == Content('b') || found == Content('a'));
    if (HasFailure()) break;
  }
  unlink(path.c_str());
  EXPECT_GT(died, 6) << "a commit has more allocations than that";
}

}  // namespace
}  // namespace h2bd
