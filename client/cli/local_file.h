// Files and pipes of the machine that the command runs on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/bytes.h"

namespace h2bd::cli {

// Bytes to send, in ascending order, from a regular file, a block device or a pipe. Errors are
// those of LocalError. Not thread-safe.
class LocalSource {
 public:
  // "-" is standard input.
  static absl::StatusOr<LocalSource> Open(const std::string& path);
  LocalSource(LocalSource&& other) noexcept;
  LocalSource& operator=(LocalSource&&) = delete;
  ~LocalSource();

  // Bytes in it; nullopt for a pipe.
  std::optional<uint64_t> size_bytes() const { return size_bytes_; }
  const std::string& name() const { return name_; }

  struct Piece {
    uint64_t offset = 0;
    uint64_t hole_bytes = 0;  // not 0: a hole of this length, no bytes
    AlignedBuffer bytes;      // both empty: the end
  };
  // The next hole (as the file system knows it) or up to `bytes_max` bytes.
  absl::StatusOr<Piece> Next(size_t bytes_max);

 private:
  LocalSource(int fd, std::string name, std::optional<uint64_t> size_bytes, bool has_holes);
  absl::Status FindData();

  int fd_;
  std::string name_;
  std::optional<uint64_t> size_bytes_;
  bool has_holes_;         // SEEK_DATA works
  uint64_t position_ = 0;  // of the next piece
  uint64_t data_end_ = 0;  // [position_, data_end_) is known to hold data
};

// Takes bytes in ascending order. A regular file gets holes where nothing or only zeros are
// written; a pipe gets the zeros. Not thread-safe.
class LocalTarget {
 public:
  // "-" is standard output. A regular file is created or emptied.
  static absl::StatusOr<LocalTarget> Open(const std::string& path);
  LocalTarget(LocalTarget&& other) noexcept;
  LocalTarget& operator=(LocalTarget&&) = delete;
  ~LocalTarget();

  // Appends; whole 4 KiB runs of zeros become holes where the target can have them.
  absl::Status Write(ConstByteSpan bytes);
  // Gives a file its full size and reports errors that only show now. Nothing may follow.
  absl::Status Finish();
  bool is_stdout() const { return name_ == "standard output"; }
  uint64_t stored_bytes() const { return stored_bytes_; }  // without what became holes

 private:
  LocalTarget(int fd, std::string name, bool sparse);
  absl::Status WriteAll(ConstByteSpan bytes, uint64_t offset);

  int fd_;
  std::string name_;
  bool sparse_;
  uint64_t position_ = 0;
  uint64_t stored_bytes_ = 0;
};

}  // namespace h2bd::cli
