#include "client/stream/sender.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/status.h"

namespace h2bd::stream {
namespace {

std::string Hex(const Uuid& uuid) { return absl::BytesToHexString(AsText(uuid)); }

// Where to start: at the token's place, if it is one of these snapshots.
absl::StatusOr<Prelude> StartOfSending(const Identity& identity, const SendOptions& options) {
  if (!options.resume.has_value()) {
    Identity mine = identity;
    mine.stream = options.stream;
    return StartOf(mine);
  }
  const Identity& token = options.resume->identity;
  if (token.source != identity.source || token.base != identity.base ||
      token.one_disk != identity.one_disk) {
    return absl::FailedPreconditionError(
        absl::StrCat("the resume token is of a stream of ", token.one_disk ? "one disk" : "a PFS",
                     ", snapshot ", Hex(token.source), ", base ", Hex(token.base),
                     "; asked for is ", identity.one_disk ? "one disk" : "a PFS", ", snapshot ",
                     Hex(identity.source), ", base ", Hex(identity.base)));
  }
  return *options.resume;
}

class Sending {
 public:
  Sending(SourceVolume& source, ByteSink& sink, const Prelude& start, const SendOptions& options)
      : source_(source),
        start_(start.position),
        encoder_(sink, start, options.encoding),
        observer_(options.observer) {}

  absl::StatusOr<SendProgress> Run() {
    H2_ASSIGN_OR_RETURN(const std::vector<SourceDisk> disks, source_.Disks());
    progress_.disks = disks.size();
    H2_RETURN_IF_ERROR(CheckStart(disks));
    H2_RETURN_IF_ERROR(encoder_.Begin());
    for (uint64_t number = std::max<uint64_t>(start_.disk, 1); number <= disks.size(); ++number) {
      const SourceDisk& disk = disks[number - 1];
      next_ = number == start_.disk ? start_.offset : 0;
      if (number != start_.disk) H2_RETURN_IF_ERROR(BeginDisk(number, disk));
      if (disk.kind != SourceDisk::Kind::kRemoved) H2_RETURN_IF_ERROR(SendChanges(disk));
    }
    H2_ASSIGN_OR_RETURN(const Sha256Digest attest, source_.Attest());
    H2_RETURN_IF_ERROR(encoder_.End(attest));
    return Progress();
  }

 private:
  absl::Status CheckStart(const std::vector<SourceDisk>& disks) const {
    if (start_.disk == 0) return absl::OkStatus();
    if (start_.disk <= disks.size() && start_.disk_bytes == disks[start_.disk - 1].size_bytes) {
      return absl::OkStatus();
    }
    return absl::FailedPreconditionError(absl::StrCat("the resume token stands at disk ",
                                                      start_.disk, " of ", start_.disk_bytes,
                                                      " bytes, which these snapshots do not have"));
  }

  absl::Status BeginDisk(uint64_t number, const SourceDisk& disk) {
    absl::Status status = absl::OkStatus();
    if (disk.kind == SourceDisk::Kind::kRemoved) {
      H2_RETURN_IF_ERROR(CheckPath(disk.base_path));
      status = encoder_.Remove(disk.base_path);
    } else {
      DiskRecord record{.number = number,
                        .path = disk.path,
                        .size_bytes = disk.size_bytes,
                        .settings = disk.settings};
      H2_RETURN_IF_ERROR(CheckPath(record.path));
      if (disk.kind == SourceDisk::Kind::kOfBase) {
        record.base_path = disk.base_path;
        H2_RETURN_IF_ERROR(CheckPath(disk.base_path));
      }
      status = encoder_.Disk(record);
    }
    H2_RETURN_IF_ERROR(status);
    return Observe();
  }

  absl::Status SendChanges(const SourceDisk& disk) {
    while (true) {
      H2_ASSIGN_OR_RETURN(const std::vector<ChangedRange> ranges,
                          source_.Changes(disk, RoundUp(next_, kBlockBytes)));
      if (ranges.empty()) return SendPendingHole();
      for (const ChangedRange& range : ranges) {
        H2_RETURN_IF_ERROR(CheckRange(disk, range));
        H2_RETURN_IF_ERROR(range.is_hole ? Hole(disk, range.offset, range.length)
                                         : SendData(disk, range));
        next_ = range.offset + range.length;
      }
    }
  }

  absl::Status CheckRange(const SourceDisk& disk, const ChangedRange& range) const {
    const bool inside = range.length > 0 && range.offset < disk.size_bytes &&
                        range.length <= disk.size_bytes - range.offset;
    const uint64_t end = range.offset + range.length;
    if (inside && range.offset >= next_ && range.offset % kBlockBytes == 0 &&
        (end % kBlockBytes == 0 || end == disk.size_bytes)) {
      return absl::OkStatus();
    }
    return absl::InternalError(absl::StrCat(
        "a changed range of ", range.length, " bytes at ", range.offset, " of ", disk.path, " (",
        disk.size_bytes, " bytes) behind ", next_, ", in blocks of ", kBlockBytes));
  }

  absl::Status SendData(const SourceDisk& disk, const ChangedRange& range) {
    uint64_t at = range.offset;
    const uint64_t end = range.offset + range.length;
    const auto send_piece = [&](ConstByteSpan piece) {
      const absl::Status status = SendPiece(disk, at, end, piece);
      at += piece.size();
      return status;
    };
    H2_RETURN_IF_ERROR(source_.Read(disk, range.offset, range.length, send_piece));
    if (at == end) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("only ", at - range.offset, " of ", range.length,
                                            " bytes at ", range.offset, " of ", disk.path));
  }

  absl::Status SendPiece(const SourceDisk& disk, uint64_t offset, uint64_t end,
                         ConstByteSpan piece) {
    const uint64_t left = end - offset;
    const bool last = piece.size() == left;
    if (piece.size() > left || (piece.size() % kBlockBytes != 0 && !last)) {
      return absl::InternalError(absl::StrCat("a piece of ", piece.size(), " bytes at ", offset,
                                              " of ", disk.path, " up to ", end));
    }
    for (size_t at = 0; at < piece.size(); at += kBlockBytes) {
      const size_t bytes = std::min<size_t>(kBlockBytes, piece.size() - at);
      H2_RETURN_IF_ERROR(Block(disk, offset + at, piece.subspan(at, bytes)));
    }
    return absl::OkStatus();
  }

  absl::Status Block(const SourceDisk& disk, uint64_t offset, ConstByteSpan bytes) {
    if (IsAllZero(bytes)) return Hole(disk, offset, bytes.size());
    H2_RETURN_IF_ERROR(SendPendingHole());
    H2_RETURN_IF_ERROR(encoder_.Data(offset, bytes));
    return Observe();
  }

  // A new disk has zeros everywhere; otherwise neighbours become one record.
  absl::Status Hole(const SourceDisk& disk, uint64_t offset, uint64_t bytes) {
    if (disk.kind == SourceDisk::Kind::kNew) return absl::OkStatus();
    if (hole_bytes_ != 0 && hole_offset_ + hole_bytes_ == offset) {
      hole_bytes_ += bytes;
      return absl::OkStatus();
    }
    H2_RETURN_IF_ERROR(SendPendingHole());
    hole_offset_ = offset;
    hole_bytes_ = bytes;
    return absl::OkStatus();
  }

  absl::Status SendPendingHole() {
    if (hole_bytes_ == 0) return absl::OkStatus();
    H2_RETURN_IF_ERROR(encoder_.Hole(hole_offset_, std::exchange(hole_bytes_, 0)));
    return Observe();
  }

  SendProgress Progress() const {
    SendProgress progress = progress_;
    progress.disk = encoder_.position().disk;
    progress.data_bytes = encoder_.position().data_bytes;
    progress.hole_bytes = encoder_.position().hole_bytes;
    progress.sent_bytes = encoder_.sent_bytes();
    return progress;
  }
  absl::Status Observe() {
    return observer_ == nullptr ? absl::OkStatus() : observer_->Sent(Progress());
  }

  SourceVolume& source_;
  const Position start_;
  Encoder encoder_;
  SendObserver* const observer_;
  SendProgress progress_;
  uint64_t next_ = 0;         // all of the present disk below this was looked at
  uint64_t hole_offset_ = 0;  // a hole that may still grow
  uint64_t hole_bytes_ = 0;
};

}  // namespace

absl::StatusOr<SendProgress> Send(SourceVolume& source, ByteSink& sink,
                                  const SendOptions& options) {
  H2_ASSIGN_OR_RETURN(const Identity identity, source.Identify());
  H2_ASSIGN_OR_RETURN(const Prelude start, StartOfSending(identity, options));
  return Sending(source, sink, start, options).Run();
}

}  // namespace h2bd::stream
