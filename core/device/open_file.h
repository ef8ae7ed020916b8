// Opening a path as a device: locks, sector size, direct I/O. Private to core/device.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "core/base/log.h"
#include "core/base/status.h"
#include "core/device/file_device.h"
#include "core/device/queue_report.h"

namespace h2bd {

// Owns a file descriptor.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileDescriptor();
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

struct OpenFile {
  FileDescriptor fd;          // holds the lock
  uint64_t size_bytes = 0;    // whole sectors
  uint32_t sector_bytes = 0;  // 512..4096
  bool read_only = false;
  bool direct = false;      // O_DIRECT is on
  std::string write_cache;  // what the queue says: "write back", "write through", or "unknown"
  QueueReport queue;        // of a block device
  bool volatile_cache() const { return write_cache != "write through"; }
};

// Errors as OpenFileDevice.
absl::StatusOr<OpenFile> OpenForExclusiveUse(const std::string& path,
                                             const FileDeviceOptions& options, Logger& logger);

// The size of the device or file now, in whole sectors.
absl::StatusOr<uint64_t> MeasureAgain(const std::string& path, const OpenFile& file);
// Takes space up to `bytes` for a regular file and makes that durable. Errors as
// BlockDevice::Extend.
absl::Status ExtendFile(const std::string& path, const OpenFile& file, uint64_t bytes);

// The name of the file system with this f_type when fdatasync on it is a promise of another
// machine, or of a program that we cannot see into (F-226); else null.
const char* NetworkFileSystem(uint32_t magic);
// kFailedPrecondition for such a one, unless `options` allow it.
absl::Status CheckFileSystem(const std::string& path, uint32_t magic,
                             const FileDeviceOptions& options);

// "No such file or directory".
std::string ErrnoText(int error);

}  // namespace h2bd
