#include "core/device/open_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "core/base/bytes.h"

namespace h2bd {
namespace {

constexpr uint32_t kSectorMin = 512;
constexpr uint32_t kSectorMax = kBufferAlignment;

absl::Status KernelError(const std::string& path, absl::string_view doing, int error) {
  const std::string message = absl::StrCat("cannot ", doing, " ", path, ": ", ErrnoText(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    case EEXIST:
      return absl::AlreadyExistsError(message);
    default:
      return absl::UnavailableError(message);
  }
}

absl::Status InUse(const std::string& path) {
  return WithReason(absl::FailedPreconditionError(absl::StrCat(
                        path, " is in use: another process, a mount or another opener holds it")),
                    kReasonInUse);
}

absl::Status CheckFileType(const std::string& path, mode_t mode) {
  if (S_ISREG(mode) || S_ISBLK(mode)) return absl::OkStatus();
  const char* found = S_ISDIR(mode)    ? "a directory"
                      : S_ISCHR(mode)  ? "a character device"
                      : S_ISFIFO(mode) ? "a pipe"
                      : S_ISSOCK(mode) ? "a socket"
                                       : "an unknown type of file";
  return absl::InvalidArgumentError(
      absl::StrCat(path, " is ", found, "; legal: a block device or a regular file"));
}

absl::StatusOr<FileDescriptor> Open(const std::string& path, int flags) {
  for (;;) {
    FileDescriptor fd(open(path.c_str(), flags));
    if (fd.valid()) return fd;
    if (errno == EINTR) continue;
    if (errno == EBUSY) return InUse(path);
    if (errno == EINVAL && (flags & O_DIRECT) != 0) {
      flags &= ~O_DIRECT;  // the file system has no direct I/O
      continue;
    }
    return KernelError(path, "open", errno);
  }
}

// An open-file-description lock over the whole file: it conflicts between processes and between two
// openers in this one, and closing some other descriptor of the file does not drop it.
absl::Status Lock(const std::string& path, int fd, bool shared) {
  struct flock lock {};
  lock.l_type = shared ? F_RDLCK : F_WRLCK;
  lock.l_whence = SEEK_SET;
  while (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EACCES) return InUse(path);
    return KernelError(path, "lock", errno);
  }
  return absl::OkStatus();
}

bool IsLegalSector(uint32_t bytes) {
  return bytes >= kSectorMin && bytes <= kSectorMax && std::has_single_bit(bytes);
}

// The smallest transfer that O_DIRECT accepts on a regular file; 0 when it accepts none of ours.
uint32_t DirectAlignment(int fd) {
#ifdef STATX_DIOALIGN
  struct statx info {};
  if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) == 0 &&
      (info.stx_mask & STATX_DIOALIGN) != 0) {
    const uint32_t offset_align = std::max(info.stx_dio_offset_align, kSectorMin);
    const bool usable = info.stx_dio_offset_align != 0 &&
                        info.stx_dio_mem_align <= kBufferAlignment && IsLegalSector(offset_align);
    return usable ? offset_align : 0;
  }
#endif
  AlignedBuffer probe(2 * kSectorMax);
  for (uint32_t bytes = kSectorMin; bytes <= kSectorMax; bytes *= 2) {
    if (pread(fd, probe.data(), bytes, bytes) >= 0) return bytes;
    if (errno != EINVAL) return 0;
  }
  return 0;
}

void StopDirectIo(OpenFile& file) {
  const int flags = fcntl(file.fd.get(), F_GETFL);
  if (flags >= 0 && (flags & O_DIRECT) != 0) fcntl(file.fd.get(), F_SETFL, flags & ~O_DIRECT);
  file.direct = false;
}

absl::Status MeasureBlockDevice(const std::string& path, dev_t device, OpenFile& file) {
  int sector = 0;
  uint64_t bytes = 0;
  if (ioctl(file.fd.get(), BLKSSZGET, &sector) != 0 ||
      ioctl(file.fd.get(), BLKGETSIZE64, &bytes) != 0) {
    return KernelError(path, "measure", errno);
  }
  file.sector_bytes = static_cast<uint32_t>(sector);
  file.size_bytes = bytes;
  file.queue = ReadQueueReport("/sys", major(device), minor(device));
  file.write_cache = file.queue.write_cache;
  return absl::OkStatus();
}

void MeasureRegularFile(const struct stat& info, OpenFile& file) {
  file.sector_bytes = kSectorMin;
  file.size_bytes = static_cast<uint64_t>(info.st_size);
  file.write_cache = "unknown";
  if (!file.direct) return;
  const uint32_t align = DirectAlignment(file.fd.get());
  if (align == 0) {
    StopDirectIo(file);
  } else {
    file.sector_bytes = align;
  }
}

absl::Status SyncDirectoryOf(const std::string& path) {
  std::filesystem::path dir = std::filesystem::path(path).parent_path();
  if (dir.empty()) dir = ".";
  const FileDescriptor fd(open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || fsync(fd.get()) != 0) return KernelError(dir.string(), "sync", errno);
  return absl::OkStatus();
}

}  // namespace

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) close(fd_);
}

const char* NetworkFileSystem(uint32_t magic) {
  switch (magic) {
    case 0x00006969:
      return "NFS";
    case 0x0000517b:
    case 0xfe534d42:
    case 0xff534d42:
      return "SMB";
    case 0x00c36400:
      return "Ceph";
    case 0x01021997:
      return "9P";
    case 0x5346414f:
    case 0x6b414653:
      return "AFS";
    case 0x73757245:
      return "Coda";
    case 0x0000564c:
      return "NCP";
    case 0x0bd00bd0:
      return "Lustre";
    case 0x65735546:
      return "FUSE";
    case 0x19830326:
      return "BeeGFS";
    case 0x47504653:
      return "GPFS";
    case 0xaad7aaea:
      return "PanFS";
    case 0x786f4256:
      return "VirtualBox folders";
    case 0xbacbacbc:
      return "VMware folders";
    default:
      return nullptr;
  }
}

absl::Status CheckFileSystem(const std::string& path, uint32_t magic,
                             const FileDeviceOptions& options) {
  const char* const network = NetworkFileSystem(magic);
  if (network == nullptr || options.allow_network_file_system) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(path, " lies on ", network,
                   ": a network file system must be allowed by name, because its fdatasync may "
                   "not reach a disk"));
}

std::string ErrnoText(int error) { return std::generic_category().message(error); }

namespace {

absl::StatusOr<OpenFile> OpenOnce(const std::string& path, const FileDeviceOptions& options,
                                  Logger& logger) {
  // Looked at before the open: opening a pipe waits, and opening some character devices does
  // things.
  struct stat before {};
  if (stat(path.c_str(), &before) != 0) return KernelError(path, "open", errno);
  H2_RETURN_IF_ERROR(CheckFileType(path, before.st_mode));

  int flags = O_CLOEXEC | O_NOCTTY | (options.read_only ? O_RDONLY : O_RDWR);
  if (options.use_direct_io) flags |= O_DIRECT;
  // Readers share; O_EXCL would keep them from each other. The lock below keeps them from a writer.
  if (S_ISBLK(before.st_mode) && !options.read_only) flags |= O_EXCL;
  OpenFile file;
  H2_ASSIGN_OR_RETURN(file.fd, Open(path, flags));
  struct stat info {};
  if (fstat(file.fd.get(), &info) != 0) return KernelError(path, "examine", errno);
  H2_RETURN_IF_ERROR(CheckFileType(path, info.st_mode));
  H2_RETURN_IF_ERROR(Lock(path, file.fd.get(), options.read_only));

  file.read_only = options.read_only;
  file.direct = (fcntl(file.fd.get(), F_GETFL) & O_DIRECT) != 0;
  if (S_ISBLK(info.st_mode)) {
    H2_RETURN_IF_ERROR(MeasureBlockDevice(path, info.st_rdev, file));
  } else {
    struct statfs system {};
    if (fstatfs(file.fd.get(), &system) == 0) {
      H2_RETURN_IF_ERROR(CheckFileSystem(path, static_cast<uint32_t>(system.f_type), options));
    }
    MeasureRegularFile(info, file);
    if (!options.read_only && static_cast<uint64_t>(info.st_blocks) * 512 < file.size_bytes) {
      logger.Warning(
          "the image file is sparse: when its file system fills up, writes fail and the volume "
          "stops taking changes",
          {{"device", path}});
    }
  }
  if (!IsLegalSector(file.sector_bytes)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s has sectors of %d bytes; legal: 512, 1024, 2048, 4096", path, file.sector_bytes));
  }
  const uint64_t whole_sectors = file.size_bytes / file.sector_bytes * file.sector_bytes;
  if (whole_sectors != file.size_bytes) {
    logger.Warning("device size is not a whole number of sectors, the rest is not used",
                   {{"device", path}, {"bytes", absl::StrCat(file.size_bytes)}});
    file.size_bytes = whole_sectors;
  }
  return file;
}

}  // namespace

absl::StatusOr<OpenFile> OpenForExclusiveUse(const std::string& path,
                                             const FileDeviceOptions& options, Logger& logger) {
  // A process that was killed a moment ago may still have requests in the kernel that hold the
  // file.
  constexpr int kTries = 20;
  absl::StatusOr<OpenFile> file = OpenOnce(path, options, logger);
  for (int tries = 1; tries < kTries && ReasonOf(file.status()) == kReasonInUse; ++tries) {
    absl::SleepFor(absl::Milliseconds(50));
    file = OpenOnce(path, options, logger);
  }
  return file;
}

namespace {

absl::Status GiveSize(const std::string& path, int fd, uint64_t size, ImageSpace space) {
  const auto length = static_cast<off_t>(size);
  if (space == ImageSpace::kSparse) {
    return ftruncate(fd, length) == 0 ? absl::OkStatus()
                                      : KernelError(path, "give its size to", errno);
  }
  if (fallocate(fd, 0, 0, length) == 0) return absl::OkStatus();
  if (errno == ENOSPC || errno == EFBIG || errno == EDQUOT) {
    return absl::ResourceExhaustedError(
        absl::StrCat(path, ": its file system has not ", FormatBytes(size),
                     " left; a smaller size, or a sparse file, can be made"));
  }
  if (errno == EOPNOTSUPP || errno == ENOSYS) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": its file system cannot allocate in advance; only a sparse file can be made"));
  }
  return KernelError(path, "allocate the space of", errno);
}

}  // namespace

absl::Status CreateImageFile(const std::string& path, uint64_t size, ImageSpace space) {
  if (size > static_cast<uint64_t>(INT64_MAX)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: size %d, legal: below 2^63", path, size));
  }
  FileDescriptor fd(open(path.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
  if (!fd.valid()) return KernelError(path, "create", errno);
  absl::Status status = GiveSize(path, fd.get(), size, space);
  if (status.ok() && fsync(fd.get()) != 0) status = KernelError(path, "sync", errno);
  if (status.ok()) status = SyncDirectoryOf(path);
  if (!status.ok()) unlink(path.c_str());  // half a file is worse than none
  return status;
}

absl::StatusOr<uint64_t> MeasureAgain(const std::string& path, const OpenFile& file) {
  struct stat info {};
  if (fstat(file.fd.get(), &info) != 0) return KernelError(path, "measure", errno);
  uint64_t bytes = static_cast<uint64_t>(info.st_size);
  if (S_ISBLK(info.st_mode) && ioctl(file.fd.get(), BLKGETSIZE64, &bytes) != 0) {
    return KernelError(path, "measure", errno);
  }
  return RoundDown(bytes, file.sector_bytes);
}

absl::Status ExtendFile(const std::string& path, const OpenFile& file, uint64_t bytes) {
  struct stat info {};
  if (fstat(file.fd.get(), &info) != 0) return KernelError(path, "measure", errno);
  if (!S_ISREG(info.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is no regular file: its size is not ours to change"));
  }
  const auto before = static_cast<uint64_t>(info.st_size);
  if (bytes <= before) return absl::OkStatus();
  const int failed = posix_fallocate(file.fd.get(), static_cast<off_t>(before),
                                     static_cast<off_t>(bytes - before));
  if (failed != 0) return KernelError(path, "make larger", failed);
  if (fsync(file.fd.get()) != 0) return KernelError(path, "sync", errno);
  return absl::OkStatus();
}

}  // namespace h2bd
