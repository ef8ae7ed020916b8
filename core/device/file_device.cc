#include "core/device/file_device.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "core/device/open_file.h"
#include "core/device/transfer.h"

namespace h2bd {
namespace {

// Neighbours in a batch travel as one transfer of up to this size: fewer and larger requests.
constexpr uint64_t kMergedBytesMax = kMiB;
constexpr size_t kMergedBuffersMax = 256;

std::byte* BufferOf(const ReadOp& op) { return op.into.data(); }
size_t SizeOf(const ReadOp& op) { return op.into.size(); }
// iovec has no const form; pwritev does not write through it.
std::byte* BufferOf(const WriteOp& op) { return const_cast<std::byte*>(op.from.data()); }
size_t SizeOf(const WriteOp& op) { return op.from.size(); }

class FileDevice final : public BlockDevice {
 public:
  FileDevice(std::string path, OpenFile file, std::unique_ptr<TransferEngine> engine)
      : path_(std::move(path)),
        file_(std::move(file)),
        size_(file_.size_bytes),
        engine_(std::move(engine)) {}

  absl::Status Read(ByteOff off, ByteSpan into) override {
    const ReadOp op{off, into};
    return ReadBatch({&op, 1});
  }
  absl::Status Write(ByteOff off, ConstByteSpan from) override {
    const WriteOp op{off, from};
    return WriteBatch({&op, 1});
  }
  absl::Status ReadBatch(std::span<const ReadOp> ops) override {
    return RunBatch(Direction::kRead, ops);
  }
  absl::Status WriteBatch(std::span<const WriteOp> ops) override {
    if (file_.read_only) {
      return WithReason(absl::FailedPreconditionError(absl::StrCat(path_, " is open read-only")),
                        kReasonReadOnly);
    }
    return RunBatch(Direction::kWrite, ops);
  }
  absl::Status Sync() override;

  uint64_t size_bytes() const override { return size_; }
  absl::StatusOr<uint64_t> RefreshSize() override {
    H2_ASSIGN_OR_RETURN(const uint64_t now, MeasureAgain(path_, file_));
    uint64_t before = size_;
    while (now > before && !size_.compare_exchange_weak(before, now)) {
    }
    return now;
  }
  absl::Status Extend(uint64_t bytes) override {
    H2_RETURN_IF_ERROR(ExtendFile(path_, file_, bytes));
    return RefreshSize().status();
  }
  uint32_t sector_bytes() const override { return file_.sector_bytes; }
  bool read_only() const override { return file_.read_only; }
  bool volatile_cache() const override { return file_.volatile_cache(); }
  std::string write_cache() const override { return file_.write_cache; }
  const std::string& name() const override { return path_; }

 private:
  template <class Op>
  absl::Status RunBatch(Direction direction, std::span<const Op> ops);
  absl::Status Outcome(Direction direction, const Transfer& transfer) const;

  const std::string path_;
  const OpenFile file_;
  std::atomic<uint64_t> size_;
  const std::unique_ptr<TransferEngine> engine_;
  absl::Mutex sync_mu_ ABSL_ACQUIRED_BEFORE(counts_mu_);  // one fdatasync at a time
  absl::Mutex counts_mu_;
  uint64_t failed_syncs_ ABSL_GUARDED_BY(counts_mu_) = 0;
  absl::Status last_failure_ ABSL_GUARDED_BY(counts_mu_);
};

template <class Op>
absl::Status FileDevice::RunBatch(Direction direction, std::span<const Op> ops) {
  absl::Status first_error;
  std::vector<iovec> buffers;
  buffers.reserve(ops.size());  // the transfers point into it
  std::vector<Transfer> transfers;
  for (const Op& op : ops) {
    const absl::Status legal = CheckTransfer(op.off, {BufferOf(op), SizeOf(op)});
    first_error.Update(legal);
    if (!legal.ok() || SizeOf(op) == 0) continue;
    buffers.push_back({BufferOf(op), SizeOf(op)});
    Transfer* last = transfers.empty() ? nullptr : &transfers.back();
    if (last != nullptr && last->off + last->left == op.off.v &&
        last->left + SizeOf(op) <= kMergedBytesMax && last->buffers.size() < kMergedBuffersMax) {
      last->buffers = {last->buffers.data(), last->buffers.size() + 1};
      last->left += SizeOf(op);
    } else {
      transfers.push_back({op.off.v, {&buffers.back(), 1}, SizeOf(op)});
    }
  }
  if (transfers.size() == 1) {
    RunTransfer(file_.fd.get(), direction, transfers.front());
  } else if (!transfers.empty()) {
    engine_->Run(file_.fd.get(), direction, transfers);
  }
  for (const Transfer& transfer : transfers) first_error.Update(Outcome(direction, transfer));
  return first_error;
}

absl::Status FileDevice::Outcome(Direction direction, const Transfer& transfer) const {
  if (transfer.error == 0) return absl::OkStatus();
  const char* verb = direction == Direction::kRead ? "read" : "write";
  const std::string why =
      transfer.error == kShortTransfer ? "short transfer" : ErrnoText(transfer.error);
  return absl::UnavailableError(absl::StrFormat("%s: %s of %d bytes at %#x failed: %s", path_, verb,
                                                transfer.left, transfer.off, why));
}

// The kernel tells a failed write-back to one fdatasync of this descriptor and then forgets it
// (F-224). A Sync that was waiting or running beside the one that was told must fail, too: its own
// writes may be among the lost.
absl::Status FileDevice::Sync() {
  uint64_t failed_before = 0;
  {
    absl::MutexLock lock(&counts_mu_);
    failed_before = failed_syncs_;
  }
  absl::MutexLock one_at_a_time(&sync_mu_);
  int result = 0;
  do {
    result = fdatasync(file_.fd.get());
  } while (result != 0 && errno == EINTR);
  const int error = result == 0 ? 0 : errno;
  absl::MutexLock lock(&counts_mu_);
  if (error != 0) {
    ++failed_syncs_;
    last_failure_ =
        absl::UnavailableError(absl::StrCat(path_, ": fdatasync failed: ", ErrnoText(error)));
  }
  return failed_syncs_ == failed_before ? absl::OkStatus() : last_failure_;
}

std::unique_ptr<TransferEngine> MakeEngine(const std::string& path,
                                           const FileDeviceOptions& options, Logger& logger) {
  if (options.use_io_uring) {
    absl::StatusOr<std::unique_ptr<TransferEngine>> engine = MakeUringEngine(options.queue_depth);
    if (engine.ok()) return *std::move(engine);
    logger.Warning("io_uring is not available, using threads",
                   {{"device", path}, {"why", std::string(engine.status().message())}});
  }
  return MakeThreadEngine(options.queue_depth);
}

}  // namespace

absl::StatusOr<std::unique_ptr<BlockDevice>> OpenFileDevice(const std::string& path,
                                                            const FileDeviceOptions& options,
                                                            Logger& logger) {
  if (options.queue_depth == 0 || options.queue_depth > kQueueDepthMax) {
    return absl::InvalidArgumentError(
        absl::StrFormat("queue depth %d, legal: 1..%d", options.queue_depth, kQueueDepthMax));
  }
  H2_ASSIGN_OR_RETURN(OpenFile file, OpenForExclusiveUse(path, options, logger));
  std::unique_ptr<TransferEngine> engine = MakeEngine(path, options, logger);
  logger.Info("device open", {{"device", path},
                              {"size", FormatBytes(file.size_bytes)},
                              {"sector_bytes", absl::StrCat(file.sector_bytes)},
                              {"read_only", file.read_only ? "yes" : "no"},
                              {"direct_io", file.direct ? "yes" : "no"},
                              {"engine", engine->name()},
                              {"write_cache", file.write_cache},
                              {"fua", file.queue.fua},
                              {"queue", file.queue.name.empty() ? "none" : file.queue.ToString()}});
  WarnOfDoubts(path, file.queue, logger);
  return std::make_unique<FileDevice>(path, std::move(file), std::move(engine));
}

}  // namespace h2bd
