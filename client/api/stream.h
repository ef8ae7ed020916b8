// Pipelined reading and writing of a disk over one IoService.Channel stream.
//
// A broken stream is opened again, and what was not answered is sent again (RetryPolicy), as the
// order of overlapping writes is kept. Both belong to one thread at a time; each has a thread of
// its own for the network. Made by Client::OpenWriter and OpenReader, which do not wait.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "client/api/types.h"
#include "core/base/bytes.h"

namespace h2bd::client {

struct Connection;
class Pipe;

// How much may be sent and not answered. A single operation always goes.
struct StreamWindow {
  uint64_t bytes = 16 * kMiB;
  uint32_t operations = 256;
};

struct WriterOptions {
  StreamWindow window;
  // Longer writes are cut at multiples of this; a write of one piece is all there or not there
  // after a crash.
  uint64_t piece_bytes = 512 * kKiB;
  // Whole aligned runs of so many zeros are sent as WriteZeroes; a power of two, 0: off. The blocks
  // of a volume have 64 KiB, so smaller runs would save nothing there.
  uint64_t zero_granule = 64 * kKiB;
  // The disk is known to read as zeros: runs of zeros are not even sent.
  bool skip_zeroes = false;
};

class DiskWriter {
 public:
  DiskWriter(std::shared_ptr<Connection> connection, const DiskName& disk,
             const WriterOptions& options);
  // Without Flush before it: what is not answered yet may or may not take effect.
  ~DiskWriter();
  DiskWriter(const DiskWriter&) = delete;
  DiskWriter& operator=(const DiskWriter&) = delete;

  // Each waits only for the window. A write that meets one in flight waits for that one's answer
  // first: where writes overlap, the later call wins. Gives the first error of any write so far;
  // nothing is sent after one. Error messages carry the offset of the write that failed.
  absl::Status Write(uint64_t offset, ConstByteSpan bytes);
  absl::Status Write(uint64_t offset, SharedBytes bytes);  // without a copy
  absl::Status WriteZeroes(uint64_t offset, uint64_t length);

  // Waits until everything is acknowledged: visible to every read, not yet durable.
  absl::Status Flush();

  struct Totals {
    uint64_t acknowledged_bytes = 0;  // data and zeros, skipped ones included
    uint64_t data_bytes = 0;          // sent as data
    uint64_t zero_bytes = 0;          // sent as WriteZeroes, or skipped
  };
  Totals totals() const;

 private:
  struct Range {
    uint64_t offset = 0;
    uint64_t length = 0;
  };
  absl::Status WriteData(Range range, const SharedBytes& owner, const std::byte* data);
  absl::Status SendZeroes();
  // Zeros when `data` is null.
  absl::Status Send(Range range, SharedBytes owner, const std::byte* data);
  void Answered(Range range, const absl::Status& status);
  bool Meets(Range range) const ABSL_SHARED_LOCKS_REQUIRED(mu_);

  const WriterOptions options_;
  const DiskName disk_;
  Range zeroes_;  // a run of zeros that was not sent yet, as it may still grow

  mutable absl::Mutex mu_;
  std::map<uint64_t, uint64_t> in_flight_ ABSL_GUARDED_BY(mu_);  // offset -> end, disjoint
  absl::Status error_ ABSL_GUARDED_BY(mu_);
  Totals totals_ ABSL_GUARDED_BY(mu_);

  // Last, so that it ends first: its thread calls Answered.
  std::unique_ptr<Pipe> pipe_;
};

struct ReaderOptions {
  uint64_t offset = 0;
  std::optional<uint64_t> length;  // none: up to the end of the disk
  StreamWindow window;
  uint64_t piece_bytes = 512 * kKiB;
};

// Reads a range from its start to its end.
class DiskReader {
 public:
  DiskReader(std::shared_ptr<Connection> connection, const DiskName& disk,
             const ReaderOptions& options);
  ~DiskReader();
  DiskReader(const DiskReader&) = delete;
  DiskReader& operator=(const DiskReader&) = delete;

  struct Piece {
    uint64_t offset = 0;
    AlignedBuffer bytes;  // empty: the end
  };
  // The next piece, in order. After an error (its message carries the offset) Next goes on behind
  // the piece that failed, so that a damaged disk can be read around its damage.
  absl::StatusOr<Piece> Next();

 private:
  struct Slot;
  void Fill(uint64_t end);

  const ReaderOptions options_;
  const DiskName disk_;
  uint64_t next_offset_;                     // of the next piece to ask for
  std::deque<std::shared_ptr<Slot>> slots_;  // asked for and not given out, in order
  uint64_t slot_bytes_ = 0;                  // of those
  std::unique_ptr<Pipe> pipe_;
};

}  // namespace h2bd::client
