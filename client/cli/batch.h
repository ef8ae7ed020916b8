// The changes of one `h2bd txn`, from its arguments or a batch file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/api/types.h"

namespace h2bd::cli {

struct BatchChange {
  client::DiskName disk;
  uint64_t offset = 0;
  std::string file;         // the bytes to write; "-": standard input; "": zeros
  uint64_t zero_bytes = 0;  // how many, when `file` is empty
  std::optional<uint64_t> new_size = std::nullopt;  // set: the disk's size changes, and only that
  bool operator==(const BatchChange&) const = default;
};

// "DISK:OFFSET:FILE" or "DISK:resize:SIZE". A disk with a ':' in its name needs a batch file.
// kInvalidArgument.
absl::StatusOr<BatchChange> ParseChange(absl::string_view text);

// One change a line: `write DISK OFFSET FILE`, `zero DISK OFFSET LENGTH` or `resize DISK SIZE`. A
// word with blanks stands in double quotes, in which \" and \\ stand for themselves. Empty lines
// and those that begin with # are skipped. kInvalidArgument names the line.
absl::StatusOr<std::vector<BatchChange>> ParseBatch(absl::string_view text);

}  // namespace h2bd::cli
