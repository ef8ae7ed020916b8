// The block-device side of FileDevice, on a loop device. Needs the right to make one.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>

#include "absl/strings/str_cat.h"
#include "core/device/file_device.h"
#include "core/device/open_file.h"
#include "tests/support/fixtures.h"

namespace h2bd {
namespace {

// A loop device over an unlinked file.
class LoopDevice {
 public:
  static std::unique_ptr<LoopDevice> Make(uint64_t bytes, uint32_t sector_bytes) {
    std::unique_ptr<LoopDevice> loop(new LoopDevice());
    return loop->Attach(bytes, sector_bytes) ? std::move(loop) : nullptr;
  }
  ~LoopDevice() {
    if (attached_) ioctl(fd_, LOOP_CLR_FD, 0);
    if (fd_ >= 0) close(fd_);
  }
  const std::string& path() const { return path_; }

 private:
  LoopDevice() = default;
  bool Attach(uint64_t bytes, uint32_t sector_bytes) {
    std::string name = absl::StrCat(testing::TempDir(), "h2bd-loop-XXXXXX");
    const int file = mkstemp(name.data());
    if (file < 0) return false;
    unlink(name.c_str());
    bool done = ftruncate(file, static_cast<off_t>(bytes)) == 0;
    const int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    const int number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
    if (control >= 0) close(control);
    if (done && number >= 0) {
      path_ = absl::StrCat("/dev/loop", number);
      fd_ = open(path_.c_str(), O_RDWR | O_CLOEXEC);
      loop_config config{};
      config.fd = static_cast<uint32_t>(file);
      config.block_size = sector_bytes;
      attached_ = fd_ >= 0 && ioctl(fd_, LOOP_CONFIGURE, &config) == 0;
    }
    close(file);
    return attached_;
  }
  std::string path_;
  int fd_ = -1;
  bool attached_ = false;
};

class LoopDeviceTest : public testing::TestWithParam<uint32_t> {};

INSTANTIATE_TEST_SUITE_P(Sectors, LoopDeviceTest, testing::Values(512u, 4096u));

TEST_P(LoopDeviceTest, IsMeasuredLockedAndWritten) {
  const std::unique_ptr<LoopDevice> loop = LoopDevice::Make(16 * kMiB, GetParam());
  if (loop == nullptr) {
    SkipLoudly(absl::StrCat("no loop device here: ", std::strerror(errno)));
    GTEST_SKIP();
  }
  AlignedBuffer out(65536), in(65536);
  std::memset(out.data(), 0x5a, out.size());
  {
    auto device = OpenFileDevice(loop->path(), {}, NullLogger());
    ASSERT_TRUE(device.ok()) << device.status();
    EXPECT_EQ((*device)->size_bytes(), 16 * kMiB);
    EXPECT_EQ((*device)->sector_bytes(), GetParam());
    ASSERT_TRUE((*device)->Write(ByteOff(kMiB), out.span()).ok());
    ASSERT_TRUE((*device)->Sync().ok());

    for (const bool read_only : {false, true}) {
      const auto second = OpenFileDevice(loop->path(), {.read_only = read_only}, NullLogger());
      EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
      EXPECT_EQ(ReasonOf(second.status()), kReasonInUse);
    }
    // O_EXCL is what keeps a mount, or a tool that asks for it, away.
    const int fd = open(loop->path().c_str(), O_RDWR | O_EXCL | O_CLOEXEC);
    EXPECT_EQ(fd, -1);
    EXPECT_EQ(errno, EBUSY);
    if (fd >= 0) close(fd);
  }
  auto reader = OpenFileDevice(loop->path(), {.read_only = true}, NullLogger());
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_TRUE(OpenFileDevice(loop->path(), {.read_only = true}, NullLogger()).ok());
  ASSERT_TRUE((*reader)->Read(ByteOff(kMiB), in.span()).ok());
  EXPECT_EQ(std::memcmp(in.data(), out.data(), out.size()), 0);
}

// What the queue says of its write cache, as the log of the start repeats it (spec 04 F-227).
std::string QueueSays(const std::string& path) {
  std::ifstream in(
      absl::StrCat("/sys/block/", path.substr(path.rfind('/') + 1), "/queue/write_cache"));
  std::string mode;
  std::getline(in, mode);
  return mode;
}

class WriteCacheLogger final : public Logger {
 public:
  void Write(LogSeverity, absl::string_view, std::initializer_list<LogField> fields) override {
    for (const auto& [name, value] : fields) {
      if (name == "write_cache") reported = value;
    }
  }
  std::string reported;
};

TEST_P(LoopDeviceTest, ReportsTheWriteCacheOfItsQueue) {
  const std::unique_ptr<LoopDevice> loop = LoopDevice::Make(16 * kMiB, GetParam());
  if (loop == nullptr || QueueSays(loop->path()).empty()) {
    SkipLoudly(absl::StrCat("no loop device with a queue here: ", std::strerror(errno)));
    GTEST_SKIP();
  }
  WriteCacheLogger logger;
  ASSERT_TRUE(OpenFileDevice(loop->path(), {}, logger).ok());
  EXPECT_EQ(logger.reported, QueueSays(loop->path()));
}

// What h2bd_commit_volatile_cache shows (spec 04 section 10): safe unless the queue says otherwise.
TEST_P(LoopDeviceTest, TheCacheIsVolatileUnlessTheQueueWritesThrough) {
  for (const char* mode : {"write back", "unknown", ""}) {
    EXPECT_TRUE(OpenFile{.write_cache = mode}.volatile_cache()) << mode;
  }
  EXPECT_FALSE(OpenFile{.write_cache = "write through"}.volatile_cache());

  const std::unique_ptr<LoopDevice> loop = LoopDevice::Make(16 * kMiB, GetParam());
  if (loop == nullptr || QueueSays(loop->path()).empty()) {
    SkipLoudly(absl::StrCat("no loop device with a queue here: ", std::strerror(errno)));
    GTEST_SKIP();
  }
  const auto device = OpenFileDevice(loop->path(), {}, NullLogger());
  ASSERT_TRUE(device.ok()) << device.status();
  EXPECT_EQ((*device)->volatile_cache(), QueueSays(loop->path()) != "write through");
}

}  // namespace
}  // namespace h2bd
