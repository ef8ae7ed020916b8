// Resource names of the wire contract (proto/h2bd/v1/disk_service.proto, "Names").
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/types.h"
#include "core/volume/volume.h"

namespace h2bd {

inline constexpr size_t kMaxNameBytes = 255;  // of one component, decoded

// All parsers give kInvalidArgument with what was found and what is legal.

// "pfs/DATA/disks/vm1" -> {"DATA", "vm1"}; "pfs/-/disks/dir/file" -> {"", "dir/file"}.
absl::StatusOr<DiskName> ParseDiskName(absl::string_view name);
// `name` with the PFS spelled out.
std::string FormatDiskName(const DiskName& name);

// "pfs/DATA" -> "DATA"; "pfs/-" -> "".
absl::StatusOr<std::string> ParsePfsName(absl::string_view name);
std::string FormatPfsName(absl::string_view label);

// The last segment of a name to be: one component.
absl::StatusOr<std::string> ParseDiskId(absl::string_view id);

// "transactions/17".
absl::StatusOr<TxnId> ParseTransactionName(absl::string_view name);
std::string FormatTransactionName(TxnId id);

// The bytes `text` as they may stand in a proto3 string: what is not valid UTF-8, '%' and control
// characters become %XX.
std::string PercentEncode(absl::string_view text);

}  // namespace h2bd
