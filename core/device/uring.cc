#include <liburing.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/device/transfer.h"

namespace h2bd {
namespace {

// One ring, used by one batch at a time.
class Ring {
 public:
  // nullptr with errno set when the kernel refuses.
  static std::unique_ptr<Ring> Make(unsigned depth) {
    std::unique_ptr<Ring> ring(new Ring(depth));
    const int result = io_uring_queue_init(depth, &ring->ring_, 0);
    if (result < 0) {
      errno = -result;
      return nullptr;
    }
    ring->open_ = true;
    return ring;
  }
  ~Ring() {
    if (open_) io_uring_queue_exit(&ring_);
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // True when the ring may be used again. False when the kernel refused it: then nothing is in
  // flight any more and the transfers that have not ended are the caller's to do.
  bool Run(int fd, Direction direction, std::span<Transfer> transfers) {
    std::vector<Transfer*> waiting;
    for (Transfer& transfer : transfers) {
      if (transfer.left > 0) waiting.push_back(&transfer);
    }
    std::reverse(waiting.begin(), waiting.end());  // taken from the back
    unsigned in_flight = 0;
    while (!waiting.empty() || in_flight > 0) {
      unsigned prepared = 0;
      for (; !waiting.empty() && in_flight + prepared < depth_; ++prepared) {
        Prepare(fd, direction, *waiting.back());
        waiting.pop_back();
      }
      if (!Submit(prepared, &in_flight)) {
        while (in_flight > 0) Reap(&in_flight, &waiting);
        return false;
      }
      Reap(&in_flight, &waiting);
    }
    return true;
  }

 private:
  explicit Ring(unsigned depth) : depth_(depth) {}

  void Prepare(int fd, Direction direction, Transfer& transfer) {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    H2_ASSERT(sqe != nullptr);  // the ring has as many entries as we keep in flight
    const auto count = static_cast<unsigned>(transfer.buffers.size());
    if (direction == Direction::kRead) {
      io_uring_prep_readv(sqe, fd, transfer.buffers.data(), count, transfer.off);
    } else {
      io_uring_prep_writev(sqe, fd, transfer.buffers.data(), count, transfer.off);
    }
    io_uring_sqe_set_data(sqe, &transfer);
  }

  bool Submit(unsigned prepared, unsigned* in_flight) {
    while (prepared > 0) {
      const int result = io_uring_submit(&ring_);
      if (result == -EINTR || result == -EAGAIN || result == -EBUSY) continue;
      if (result <= 0) return false;
      prepared -= static_cast<unsigned>(result);
      *in_flight += static_cast<unsigned>(result);
    }
    return true;
  }

  // Waits for one completion and takes all that are there. What must go on is added to `again`.
  void Reap(unsigned* in_flight, std::vector<Transfer*>* again) {
    io_uring_cqe* cqe = nullptr;
    int result = 0;
    do {
      result = io_uring_wait_cqe(&ring_, &cqe);
    } while (result == -EINTR || result == -EAGAIN);
    // Returning would leave the kernel writing into buffers that the caller is about to free.
    H2_ASSERT(result == 0);
    do {
      auto* transfer = static_cast<Transfer*>(io_uring_cqe_get_data(cqe));
      if (!AdvanceTransfer(*transfer, cqe->res)) again->push_back(transfer);
      io_uring_cqe_seen(&ring_, cqe);
      --*in_flight;
    } while (*in_flight > 0 && io_uring_peek_cqe(&ring_, &cqe) == 0);
  }

  const unsigned depth_;
  bool open_ = false;
  io_uring ring_{};
};

// A few rings, so that concurrent batches do not wait for each other; made when they are first
// needed.
class UringEngine final : public TransferEngine {
 public:
  UringEngine(unsigned depth, std::unique_ptr<Ring> first) : depth_(depth) {
    idle_.push_back(std::move(first));
  }

  void Run(int fd, Direction direction, std::span<Transfer> transfers) override {
    std::unique_ptr<Ring> ring = Take();
    if (ring != nullptr && ring->Run(fd, direction, transfers)) {
      Return(std::move(ring));
      return;
    }
    for (Transfer& transfer : transfers) {
      if (transfer.error == 0) RunTransfer(fd, direction, transfer);
    }
  }
  const char* name() const override { return "io_uring"; }

 private:
  static constexpr size_t kIdleMax = 8;

  std::unique_ptr<Ring> Take() {
    {
      absl::MutexLock lock(&mu_);
      if (!idle_.empty()) {
        std::unique_ptr<Ring> ring = std::move(idle_.back());
        idle_.pop_back();
        return ring;
      }
    }
    return Ring::Make(depth_);
  }

  void Return(std::unique_ptr<Ring> ring) {
    absl::MutexLock lock(&mu_);
    if (idle_.size() < kIdleMax) idle_.push_back(std::move(ring));
  }

  const unsigned depth_;
  absl::Mutex mu_;
  std::vector<std::unique_ptr<Ring>> idle_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<TransferEngine>> MakeUringEngine(unsigned queue_depth) {
  std::unique_ptr<Ring> first = Ring::Make(queue_depth);
  if (first == nullptr) {
    return absl::UnavailableError(absl::StrCat("no io_uring: ", std::strerror(errno)));
  }
  return std::make_unique<UringEngine>(queue_depth, std::move(first));
}

}  // namespace h2bd
