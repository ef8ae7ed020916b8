// What a receiver keeps on the target between two runs.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/stream/format.h"

namespace h2bd::stream {

// A disk takes the place of another, or goes.
struct Replacement {
  std::string from;  // the received disk; empty: `path` is removed
  std::string path;
  bool operator==(const Replacement&) const = default;
};

struct ReceiveState {
  // Numbers 1, 2, … of the stream, as far as `at` has come; empty when finishing.
  struct Entry {
    std::string path;
    bool removed = false;
    bool operator==(const Entry&) const = default;
  };
  Prelude at;  // everything before this place is applied and durable
  std::vector<Entry> entries;
  // Received as a whole and verified; the replacements may be done, in part or not at all.
  bool finishing = false;
  std::vector<Replacement> replacements;
  bool operator==(const ReceiveState&) const = default;
};

// What a state may take: some hundred thousand disks.
inline constexpr size_t kStateBytesMax = 32 * kMiB;

// kResourceExhausted when the stream has more disks than a state can hold.
absl::StatusOr<std::string> EncodeState(const ReceiveState& state);
// kDataLoss.
absl::StatusOr<ReceiveState> DecodeState(absl::string_view bytes);

}  // namespace h2bd::stream
