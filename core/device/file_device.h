// BlockDevice over a block special file or a regular file.
#pragma once

#include <memory>
#include <string>

#include "core/base/log.h"
#include "core/device/block_device.h"

namespace h2bd {

inline constexpr unsigned kQueueDepthMax = 4096;

struct FileDeviceOptions {
  bool read_only = false;
  // io_uring where the kernel allows it; pread/pwrite on a few threads otherwise. false forces the
  // latter.
  bool use_io_uring = true;
  // O_DIRECT where the target can; false forces buffered I/O.
  bool use_direct_io = true;
  // Transfers in flight in one batch, 1..kQueueDepthMax.
  unsigned queue_depth = 32;
  // Allow a regular file on a network file system (F-226).
  bool allow_network_file_system = false;
};

// Opens for exclusive use (F-225): O_EXCL on block devices, and a lock on the open file description
// for both; several read-only openers may share, a writer shares with nobody. kNotFound,
// kUnavailable for the kernel's errors, kFailedPrecondition with reason DEVICE_IN_USE when another
// process (or another opener in this one) has it, kInvalidArgument for a directory or other file
// type.
absl::StatusOr<std::unique_ptr<BlockDevice>> OpenFileDevice(const std::string& path,
                                                            const FileDeviceOptions& options,
                                                            Logger& logger);

enum class ImageSpace {
  kAllocated,  // all of it belongs to the file from the start
  kSparse,  // taken when it is written: a host file system that fills up fails writes, and so the
            // volume
};

// Creates a regular file of `size` bytes, fsyncs it and its directory (F-226). kAlreadyExists when
// the path exists; with kAllocated kResourceExhausted when the file system has not so much left,
// kInvalidArgument when it cannot allocate in advance.
absl::Status CreateImageFile(const std::string& path, uint64_t size, ImageSpace space);

}  // namespace h2bd
