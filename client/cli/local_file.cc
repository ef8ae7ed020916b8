#include "client/cli/local_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/api/zero_runs.h"
#include "client/cli/exit_code.h"
#include "core/base/status.h"

namespace h2bd::cli {
namespace {

constexpr uint64_t kFileHoleBytes = 4096;

absl::Status ReadFull(int fd, const std::string& name, ByteSpan into, size_t* got) {
  *got = 0;
  while (*got < into.size()) {
    const ssize_t n = read(fd, into.data() + *got, into.size() - *got);
    if (n == 0) break;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return LocalError(absl::StrCat("read ", name), errno);
    *got += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<LocalSource> LocalSource::Open(const std::string& path) {
  if (path == "-") return LocalSource(dup(STDIN_FILENO), "standard input", std::nullopt, false);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return LocalError(absl::StrCat("open ", path), errno);
  LocalSource source(fd, path, std::nullopt, false);
  struct stat st {};
  if (fstat(fd, &st) != 0) return LocalError(absl::StrCat("stat ", path), errno);
  if (S_ISDIR(st.st_mode)) return LocalError(absl::StrCat("read ", path), EISDIR);
  if (S_ISREG(st.st_mode)) {
    source.size_bytes_ = static_cast<uint64_t>(st.st_size);
    source.has_holes_ = true;
  } else if (S_ISBLK(st.st_mode)) {
    uint64_t bytes = 0;
    if (ioctl(fd, BLKGETSIZE64, &bytes) != 0)
      return LocalError(absl::StrCat("size of ", path), errno);
    source.size_bytes_ = bytes;
  }
  return source;
}

LocalSource::LocalSource(int fd, std::string name, std::optional<uint64_t> size_bytes,
                         bool has_holes)
    : fd_(fd), name_(std::move(name)), size_bytes_(size_bytes), has_holes_(has_holes) {}

LocalSource::LocalSource(LocalSource&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      name_(std::move(other.name_)),
      size_bytes_(other.size_bytes_),
      has_holes_(other.has_holes_),
      position_(other.position_),
      data_end_(other.data_end_) {}

LocalSource::~LocalSource() {
  if (fd_ >= 0) close(fd_);
}

// Leaves the file position at position_ when that lies in data; data_end_ == position_ when it is a
// hole.
absl::Status LocalSource::FindData() {
  const off_t at = static_cast<off_t>(position_);
  const off_t data = lseek(fd_, at, SEEK_DATA);
  if (data < 0 && errno == ENXIO) {  // a hole up to the end
    data_end_ = position_;
    return absl::OkStatus();
  }
  if (data < 0) {  // a file system without SEEK_DATA: all of it counts as data
    has_holes_ = false;
    data_end_ = *size_bytes_;
  } else if (data > at) {
    data_end_ = position_;
    return absl::OkStatus();
  } else {
    const off_t hole = lseek(fd_, at, SEEK_HOLE);
    data_end_ = hole > at ? std::min(static_cast<uint64_t>(hole), *size_bytes_) : *size_bytes_;
  }
  if (lseek(fd_, at, SEEK_SET) < 0) return LocalError(absl::StrCat("seek ", name_), errno);
  return absl::OkStatus();
}

absl::StatusOr<LocalSource::Piece> LocalSource::Next(size_t bytes_max) {
  Piece piece{.offset = position_};
  if (size_bytes_.has_value() && position_ >= *size_bytes_) return piece;
  if (has_holes_ && position_ >= data_end_) {
    H2_RETURN_IF_ERROR(FindData());
    if (data_end_ == position_) {
      const off_t data = lseek(fd_, static_cast<off_t>(position_), SEEK_DATA);
      const uint64_t end = data < 0 ? *size_bytes_ : std::min<uint64_t>(data, *size_bytes_);
      piece.hole_bytes = end - position_;
      position_ = end;
      return piece;
    }
  }
  const uint64_t want =
      has_holes_ ? std::min<uint64_t>(bytes_max, data_end_ - position_) : uint64_t{bytes_max};
  AlignedBuffer buffer(want);
  size_t got = 0;
  H2_RETURN_IF_ERROR(ReadFull(fd_, name_, buffer.span(), &got));
  if (got == 0 && size_bytes_.value_or(position_) != position_) {
    return absl::UnknownError(absl::StrCat(name_, " ended at ", position_, ", ", *size_bytes_,
                                           " bytes were expected: did somebody truncate it?"));
  }
  position_ += got;
  piece.bytes = got == want ? std::move(buffer) : AlignedBuffer::CopyOf(buffer.span().first(got));
  return piece;
}

absl::StatusOr<LocalTarget> LocalTarget::Open(const std::string& path) {
  if (path == "-") return LocalTarget(dup(STDOUT_FILENO), "standard output", false);
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return LocalError(absl::StrCat("open ", path), errno);
  LocalTarget target(fd, path, false);
  struct stat st {};
  if (fstat(fd, &st) != 0) return LocalError(absl::StrCat("stat ", path), errno);
  target.sparse_ = S_ISREG(st.st_mode);
  return target;
}

LocalTarget::LocalTarget(int fd, std::string name, bool sparse)
    : fd_(fd), name_(std::move(name)), sparse_(sparse) {}

LocalTarget::LocalTarget(LocalTarget&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      name_(std::move(other.name_)),
      sparse_(other.sparse_),
      position_(other.position_),
      stored_bytes_(other.stored_bytes_) {}

LocalTarget::~LocalTarget() {
  if (fd_ >= 0) close(fd_);
}

absl::Status LocalTarget::WriteAll(ConstByteSpan bytes, uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t n = sparse_ ? pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset))
                              : write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return LocalError(absl::StrCat("write ", name_), errno);
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
    stored_bytes_ += static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

absl::Status LocalTarget::Write(ConstByteSpan bytes) {
  if (!sparse_) {
    position_ += bytes.size();
    return WriteAll(bytes, 0);
  }
  for (const client::ZeroRun& run : client::SplitZeroRuns(bytes, position_, kFileHoleBytes)) {
    if (run.is_zero) continue;
    H2_RETURN_IF_ERROR(WriteAll(bytes.subspan(run.offset - position_, run.length), run.offset));
  }
  position_ += bytes.size();
  return absl::OkStatus();
}

absl::Status LocalTarget::Finish() {
  if (sparse_ && ftruncate(fd_, static_cast<off_t>(position_)) != 0) {
    return LocalError(absl::StrCat("set the size of ", name_), errno);
  }
  if (close(std::exchange(fd_, -1)) != 0) return LocalError(absl::StrCat("close ", name_), errno);
  return absl::OkStatus();
}

}  // namespace h2bd::cli
