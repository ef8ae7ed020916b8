// A file as the kernel gives it, past the page cache: what the yardsticks of durable writes use.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "core/base/bytes.h"

namespace h2bd::bench {

class DirectFile {
 public:
  static absl::StatusOr<DirectFile> Open(const std::string& path);
  DirectFile(DirectFile&& other) noexcept;
  DirectFile(const DirectFile&) = delete;
  DirectFile& operator=(const DirectFile&) = delete;
  ~DirectFile();

  absl::Status Write(uint64_t at, const AlignedBuffer& buffer, size_t bytes);
  absl::Status Barrier();  // fdatasync

 private:
  explicit DirectFile(int fd) : fd_(fd) {}
  int fd_;
};

// A regular file of `bytes` whose every byte was written, so that no write into it allocates. What
// is there already is kept when it is long enough.
absl::Status MakeWrittenFile(const std::string& path, uint64_t bytes);

}  // namespace h2bd::bench
