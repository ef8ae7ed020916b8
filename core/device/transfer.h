// How the bytes of a file descriptor move: plain system calls, or a batch on an io_uring. Private
// to core/device.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <span>

#include "core/base/status.h"

namespace h2bd {

// One contiguous range of the file, from or to a list of buffers.
struct Transfer {
  uint64_t off = 0;
  std::span<iovec> buffers;  // consumed from the front while the transfer goes on
  uint64_t left = 0;         // bytes still to move; 0 when it is complete
  int error = 0;  // errno that ended it, 0 while none; kShortTransfer for an early end of file
};
inline constexpr int kShortTransfer = -1;

enum class Direction { kRead, kWrite };

// Moves the rest of `transfer` by preadv or pwritev: interruptions and short transfers go on until
// all is moved or the kernel refuses.
void RunTransfer(int fd, Direction direction, Transfer& transfer);

// Takes note of a result in the kernel's manner (bytes moved, or minus errno). True when the
// transfer has ended, well or not; false when the rest must be submitted again.
bool AdvanceTransfer(Transfer& transfer, int64_t result);

// Runs batches. Thread-safe.
class TransferEngine {
 public:
  virtual ~TransferEngine() = default;
  // Returns when every transfer has ended. The outcome is in each.
  virtual void Run(int fd, Direction direction, std::span<Transfer> transfers) = 0;
  virtual const char* name() const = 0;
};

// nullptr and a reason when the kernel has no io_uring for us (EPERM, ENOSYS, ENOMEM …).
absl::StatusOr<std::unique_ptr<TransferEngine>> MakeUringEngine(unsigned queue_depth);
// preadv and pwritev on a few threads.
std::unique_ptr<TransferEngine> MakeThreadEngine(unsigned queue_depth);

}  // namespace h2bd
