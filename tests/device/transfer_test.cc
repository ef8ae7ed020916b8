#include "core/device/transfer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <numeric>
#include <vector>

#include "core/base/bytes.h"
#include "tests/support/fixtures.h"

namespace h2bd {
namespace {

TEST(AdvanceTransfer, KnowsWhatEndsATransfer) {
  struct Case {
    int64_t result;
    bool ends;
    int error;
    uint64_t left;
    const char* why;
  };
  for (const Case& c :
       {Case{300, true, 0, 0, "all of it"}, Case{120, false, 0, 180, "a short one goes on"},
        Case{0, true, kShortTransfer, 300, "nothing moved: the file has ended"},
        Case{-EINTR, false, 0, 300, "interrupted"}, Case{-EAGAIN, false, 0, 300, "try again"},
        Case{-EIO, true, EIO, 300, "the device failed"},
        Case{-ENOSPC, true, ENOSPC, 300, "no space below the file"}}) {
    char bytes[300];
    iovec buffers[] = {{bytes, 100}, {bytes + 100, 200}};
    Transfer transfer{.off = 1000, .buffers = buffers, .left = 300};
    EXPECT_EQ(AdvanceTransfer(transfer, c.result), c.ends) << c.why;
    EXPECT_EQ(transfer.error, c.error) << c.why;
    EXPECT_EQ(transfer.left, c.left) << c.why;
    EXPECT_EQ(transfer.off, 1000 + 300 - c.left) << c.why;
  }
}

TEST(AdvanceTransfer, AShortOneGoesOnInTheMiddleOfABuffer) {
  char bytes[300];
  iovec buffers[] = {{bytes, 100}, {bytes + 100, 200}};
  Transfer transfer{.off = 0, .buffers = buffers, .left = 300};
  EXPECT_FALSE(AdvanceTransfer(transfer, 120));
  ASSERT_EQ(transfer.buffers.size(), 1u);
  EXPECT_EQ(transfer.buffers[0].iov_base, bytes + 120);
  EXPECT_EQ(transfer.buffers[0].iov_len, 180u);
  EXPECT_TRUE(AdvanceTransfer(transfer, 180));
  EXPECT_TRUE(transfer.buffers.empty());
}

class EngineTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam()) {
      absl::StatusOr<std::unique_ptr<TransferEngine>> uring = MakeUringEngine(4);
      if (!uring.ok()) {
        SkipLoudly(std::string(uring.status().message()));
        GTEST_SKIP();
      }
      engine_ = *std::move(uring);
    } else {
      engine_ = MakeThreadEngine(4);
    }
    fd_ = memfd_create("h2bd-transfer-test", MFD_CLOEXEC);
    ASSERT_GE(fd_, 0);
  }
  void TearDown() override {
    if (fd_ >= 0) close(fd_);
  }
  std::unique_ptr<TransferEngine> engine_;
  int fd_ = -1;
};

INSTANTIATE_TEST_SUITE_P(Engines, EngineTest, testing::Bool(),
                         [](const auto& param) { return param.param ? "Uring" : "Threads"; });

TEST_P(EngineTest, RunsMoreTransfersThanItsDepthAndKeepsOutcomesApart) {
  constexpr size_t kCount = 37;
  constexpr size_t kBytes = 1000;
  ASSERT_EQ(ftruncate(fd_, kCount / 2 * kBytes + 10), 0);
  std::vector<std::vector<char>> data(kCount, std::vector<char>(kBytes));
  std::vector<iovec> buffers(kCount);
  std::vector<Transfer> transfers(kCount);
  for (size_t i = 0; i < kCount; ++i) {
    buffers[i] = {data[i].data(), kBytes};
    transfers[i] = {.off = i * kBytes, .buffers = {&buffers[i], 1}, .left = kBytes};
  }
  engine_->Run(fd_, Direction::kRead, transfers);
  for (size_t i = 0; i < kCount; ++i) {
    EXPECT_EQ(transfers[i].error, i < kCount / 2 ? 0 : kShortTransfer) << i;
    EXPECT_EQ(transfers[i].left, i < kCount / 2 ? 0 : (i == kCount / 2 ? kBytes - 10 : kBytes))
        << i;
  }
}

TEST_P(EngineTest, ReportsTheKernelsError) {
  const int read_only = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(read_only, 0);
  char byte = 0;
  iovec buffers[2] = {{&byte, 1}, {&byte, 1}};
  Transfer transfers[] = {{.off = 0, .buffers = {&buffers[0], 1}, .left = 1},
                          {.off = 9, .buffers = {&buffers[1], 1}, .left = 1}};
  engine_->Run(read_only, Direction::kWrite, transfers);
  EXPECT_EQ(transfers[0].error, EBADF);
  EXPECT_EQ(transfers[1].error, EBADF);
  close(read_only);
}

TEST_P(EngineTest, ScattersOneTransferOverManyBuffers) {
  constexpr size_t kPieces = 200;
  std::vector<char> out(kPieces * 64);
  std::iota(out.begin(), out.end(), 0);
  std::vector<iovec> buffers(kPieces);
  for (size_t i = 0; i < kPieces; ++i) buffers[i] = {out.data() + i * 64, 64};
  Transfer write[] = {{.off = 128, .buffers = buffers, .left = out.size()}};
  engine_->Run(fd_, Direction::kWrite, write);
  ASSERT_EQ(write[0].error, 0);
  ASSERT_EQ(write[0].left, 0u);
  std::vector<char> in(out.size());
  ASSERT_EQ(pread(fd_, in.data(), in.size(), 128), static_cast<ssize_t>(in.size()));
  EXPECT_EQ(in, out);
}

}  // namespace
}  // namespace h2bd
