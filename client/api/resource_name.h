// Resource names of the wire contract (proto/h2bd/v1/disk_service.proto, "Names"). Not for users of
// the library, who have DiskName.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace h2bd::client {

// Writes `%`, control characters and bytes outside of valid UTF-8 as %XX; and back.
// kInvalidArgument for an empty segment and for a '%' without two upper-case hexadecimal digits.
std::string EscapeSegment(absl::string_view text);
absl::StatusOr<std::string> UnescapeSegment(absl::string_view text);

// "pfs/DATA" for the label "DATA", "pfs/-" for "", the default PFS; and back.
std::string PfsResource(absl::string_view label);
absl::StatusOr<std::string> PfsLabel(absl::string_view resource);

// "transactions/17" for the id "17".
std::string TransactionResource(absl::string_view id);

}  // namespace h2bd::client
