#include "tests/bench/direct_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "core/base/types.h"

namespace h2bd::bench {
namespace {

absl::StatusOr<int> OpenDirect(const std::string& path, int more_flags) {
  const int fd = open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC | more_flags, 0644);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("open ", path));
  return fd;
}

}  // namespace

absl::StatusOr<DirectFile> DirectFile::Open(const std::string& path) {
  H2_ASSIGN_OR_RETURN(const int fd, OpenDirect(path, 0));
  return DirectFile(fd);
}

DirectFile::DirectFile(DirectFile&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

DirectFile::~DirectFile() {
  if (fd_ >= 0) close(fd_);
}

absl::Status DirectFile::Write(uint64_t at, const AlignedBuffer& buffer, size_t bytes) {
  const ssize_t written = pwrite(fd_, buffer.data(), bytes, static_cast<off_t>(at));
  if (written == static_cast<ssize_t>(bytes)) return absl::OkStatus();
  return absl::ErrnoToStatus(written < 0 ? errno : EIO, "pwrite");
}

absl::Status DirectFile::Barrier() {
  return fdatasync(fd_) == 0 ? absl::OkStatus() : absl::ErrnoToStatus(errno, "fdatasync");
}

absl::Status MakeWrittenFile(const std::string& path, uint64_t bytes) {
  struct stat found {};
  if (stat(path.c_str(), &found) == 0 && static_cast<uint64_t>(found.st_size) >= bytes) {
    return absl::OkStatus();
  }
  H2_ASSIGN_OR_RETURN(const int fd, OpenDirect(path, O_CREAT | O_TRUNC));
  close(fd);
  H2_ASSIGN_OR_RETURN(DirectFile file, DirectFile::Open(path));
  const AlignedBuffer zeros = AlignedBuffer::Zeroed(8 * kMiB);
  for (uint64_t at = 0; at < bytes; at += zeros.size()) {
    H2_RETURN_IF_ERROR(file.Write(at, zeros, zeros.size()));
  }
  return file.Barrier();
}

}  // namespace h2bd::bench
