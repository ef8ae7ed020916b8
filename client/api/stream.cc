#include "client/api/stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "client/api/connection.h"
#include "client/api/pipe.h"
#include "client/api/zero_runs.h"
#include "core/base/status.h"

namespace h2bd::client {
namespace {

// Where a piece that starts at `offset` ends.
uint64_t PieceEnd(uint64_t offset, uint64_t end, uint64_t piece_bytes) {
  return std::min(end, (offset / piece_bytes + 1) * piece_bytes);
}

std::string What(absl::string_view verb, const DiskName& disk, uint64_t offset, uint64_t length) {
  return absl::StrCat(verb, " ", disk.ToString(), ", ", length, " bytes at offset ", offset);
}

}  // namespace

DiskWriter::DiskWriter(std::shared_ptr<Connection> connection, const DiskName& disk,
                       const WriterOptions& options)
    : options_(options),
      disk_(disk),
      pipe_(std::make_unique<Pipe>(std::move(connection), disk.ToResource(), options.window)) {}

DiskWriter::~DiskWriter() = default;

absl::Status DiskWriter::Write(uint64_t offset, ConstByteSpan bytes) {
  while (!bytes.empty()) {
    const uint64_t length = PieceEnd(offset, offset + bytes.size(), options_.piece_bytes) - offset;
    H2_RETURN_IF_ERROR(Write(
        offset, std::make_shared<const AlignedBuffer>(AlignedBuffer::CopyOf(bytes.first(length)))));
    bytes = bytes.subspan(length);
    offset += length;
  }
  return absl::OkStatus();
}

absl::Status DiskWriter::Write(uint64_t offset, SharedBytes bytes) {
  if (options_.zero_granule == 0) return WriteData({offset, bytes->size()}, bytes, bytes->data());
  for (const ZeroRun& run : SplitZeroRuns(bytes->span(), offset, options_.zero_granule)) {
    H2_RETURN_IF_ERROR(run.is_zero ? WriteZeroes(run.offset, run.length)
                                   : WriteData({run.offset, run.length}, bytes,
                                               bytes->data() + (run.offset - offset)));
  }
  return absl::OkStatus();
}

absl::Status DiskWriter::WriteData(Range range, const SharedBytes& owner, const std::byte* data) {
  H2_RETURN_IF_ERROR(SendZeroes());
  const uint64_t end = range.offset + range.length;
  for (uint64_t at = range.offset; at < end;) {
    const uint64_t next = PieceEnd(at, end, options_.piece_bytes);
    H2_RETURN_IF_ERROR(Send({at, next - at}, owner, data + (at - range.offset)));
    at = next;
  }
  return absl::OkStatus();
}

absl::Status DiskWriter::WriteZeroes(uint64_t offset, uint64_t length) {
  if (options_.skip_zeroes) {
    absl::MutexLock lock(&mu_);
    totals_.zero_bytes += length;
    totals_.acknowledged_bytes += length;
    return error_;
  }
  if (offset != zeroes_.offset + zeroes_.length) H2_RETURN_IF_ERROR(SendZeroes());
  if (zeroes_.length == 0) zeroes_.offset = offset;
  zeroes_.length += length;
  return absl::OkStatus();
}

absl::Status DiskWriter::SendZeroes() {
  const Range range = std::exchange(zeroes_, {});
  if (range.length == 0) return absl::OkStatus();
  return Send(range, nullptr, nullptr);
}

bool DiskWriter::Meets(Range range) const {
  // The ranges in flight are disjoint: the last one that begins before the end decides.
  const auto after = in_flight_.lower_bound(range.offset + range.length);
  return after != in_flight_.begin() && std::prev(after)->second > range.offset;
}

absl::Status DiskWriter::Send(Range range, SharedBytes owner, const std::byte* data) {
  {
    absl::MutexLock lock(&mu_);
    const auto may_go = [this, range]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
      return !error_.ok() || !Meets(range);
    };
    mu_.Await(absl::Condition(&may_go));
    H2_RETURN_IF_ERROR(error_);
    in_flight_[range.offset] = range.offset + range.length;
    (data != nullptr ? totals_.data_bytes : totals_.zero_bytes) += range.length;
  }
  pipe_->Submit({.kind = data != nullptr ? v1::CHANNEL_OP_WRITE : v1::CHANNEL_OP_WRITE_ZEROES,
                 .offset = range.offset,
                 .length = range.length,
                 .owner = std::move(owner),
                 .data = data,
                 .done = [this, range](const absl::Status& status, AlignedBuffer) {
                   Answered(range, status);
                 }});
  return absl::OkStatus();
}

void DiskWriter::Answered(Range range, const absl::Status& status) {
  absl::MutexLock lock(&mu_);
  in_flight_.erase(range.offset);
  if (status.ok()) {
    totals_.acknowledged_bytes += range.length;
  } else if (error_.ok()) {
    error_ = Annotate(status, What("write", disk_, range.offset, range.length));
  }
}

absl::Status DiskWriter::Flush() {
  H2_RETURN_IF_ERROR(SendZeroes());
  pipe_->Drain();
  {
    absl::MutexLock lock(&mu_);
    H2_RETURN_IF_ERROR(error_);
  }
  // Nothing may have been sent at all: then this tells whether the disk is there.
  const absl::Status opened = pipe_->DiskSize().status();
  return opened.ok() ? opened : Annotate(opened, absl::StrCat("open disk ", disk_.ToString()));
}

DiskWriter::Totals DiskWriter::totals() const {
  absl::MutexLock lock(&mu_);
  return totals_;
}

struct DiskReader::Slot {
  uint64_t offset = 0;
  uint64_t length = 0;
  absl::Status status;
  AlignedBuffer bytes;
  absl::Notification answered;  // status and bytes hold from then on
};

DiskReader::DiskReader(std::shared_ptr<Connection> connection, const DiskName& disk,
                       const ReaderOptions& options)
    : options_(options),
      disk_(disk),
      next_offset_(options.offset),
      pipe_(std::make_unique<Pipe>(std::move(connection), disk.ToResource(), options.window)) {}

DiskReader::~DiskReader() = default;

void DiskReader::Fill(uint64_t end) {
  while (next_offset_ < end) {
    const uint64_t next = PieceEnd(next_offset_, end, options_.piece_bytes);
    auto slot = std::make_shared<Slot>();
    slot->offset = next_offset_;
    slot->length = next - next_offset_;
    const bool room = slot_bytes_ + slot->length <= options_.window.bytes &&
                      slots_.size() < options_.window.operations;
    if (!room && !slots_.empty()) return;
    slots_.push_back(slot);
    slot_bytes_ += slot->length;
    next_offset_ = next;
    pipe_->Submit({.kind = v1::CHANNEL_OP_READ,
                   .offset = slot->offset,
                   .length = slot->length,
                   .done = [slot](const absl::Status& status, AlignedBuffer bytes) {
                     slot->status = status;
                     slot->bytes = std::move(bytes);
                     slot->answered.Notify();
                   }});
  }
}

absl::StatusOr<DiskReader::Piece> DiskReader::Next() {
  const absl::StatusOr<uint64_t> size = pipe_->DiskSize();
  if (!size.ok()) return Annotate(size.status(), absl::StrCat("open disk ", disk_.ToString()));
  const uint64_t end = options_.length.has_value() ? options_.offset + *options_.length : *size;
  Fill(end);
  if (slots_.empty()) return Piece{.offset = next_offset_};
  const std::shared_ptr<Slot> slot = std::move(slots_.front());
  slots_.pop_front();
  slot->answered.WaitForNotification();
  slot_bytes_ -= slot->length;
  Fill(end);
  const std::string what = What("read", disk_, slot->offset, slot->length);
  if (!slot->status.ok()) return Annotate(slot->status, what);
  if (slot->bytes.size() != slot->length) {
    return absl::InternalError(
        absl::StrCat(what, ": the server gave ", slot->bytes.size(), " bytes"));
  }
  return Piece{.offset = slot->offset, .bytes = std::move(slot->bytes)};
}

}  // namespace h2bd::client
