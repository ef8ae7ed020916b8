#include "core/device/transfer.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>

#include "core/base/executor.h"

namespace h2bd {
namespace {

// iovecs that one system call takes (IOV_MAX of Linux).
constexpr size_t kBuffersPerCall = 1024;
// More threads than this do not make a queue of system calls faster.
constexpr unsigned kThreadsMax = 8;

class ThreadEngine final : public TransferEngine {
 public:
  explicit ThreadEngine(unsigned threads) : pool_("h2bd-dev", threads) {}
  void Run(int fd, Direction direction, std::span<Transfer> transfers) override {
    ParallelFor(pool_, transfers.size(),
                [&](size_t i) { RunTransfer(fd, direction, transfers[i]); });
  }
  const char* name() const override { return "threads"; }

 private:
  ThreadPool pool_;
};

}  // namespace

bool AdvanceTransfer(Transfer& transfer, int64_t result) {
  if (result == -EINTR) return false;
  if (result == -EAGAIN) {
    sched_yield();
    return false;
  }
  if (result <= 0) {
    transfer.error = result == 0 ? kShortTransfer : static_cast<int>(-result);
    return true;
  }
  transfer.off += static_cast<uint64_t>(result);
  transfer.left -= static_cast<uint64_t>(result);
  for (auto rest = static_cast<size_t>(result); rest > 0;) {
    iovec& front = transfer.buffers.front();
    const size_t n = std::min(rest, front.iov_len);
    front.iov_base = static_cast<char*>(front.iov_base) + n;
    front.iov_len -= n;
    rest -= n;
    if (front.iov_len == 0) transfer.buffers = transfer.buffers.subspan(1);
  }
  return transfer.left == 0;
}

void RunTransfer(int fd, Direction direction, Transfer& transfer) {
  if (transfer.left == 0) return;
  int64_t result = 0;
  do {
    const auto count = static_cast<int>(std::min(transfer.buffers.size(), kBuffersPerCall));
    const auto off = static_cast<off_t>(transfer.off);
    result = direction == Direction::kRead ? preadv(fd, transfer.buffers.data(), count, off)
                                           : pwritev(fd, transfer.buffers.data(), count, off);
    if (result < 0) result = -errno;
  } while (!AdvanceTransfer(transfer, result));
}

std::unique_ptr<TransferEngine> MakeThreadEngine(unsigned queue_depth) {
  return std::make_unique<ThreadEngine>(std::clamp(queue_depth, 1u, kThreadsMax));
}

}  // namespace h2bd
