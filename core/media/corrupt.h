// The one form of message about bytes that no legal medium holds.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"

namespace h2bd {

// kDataLoss "corrupt THING: FIELD=FOUND, legal: LEGAL". `thing` says what it is and where it lies.
inline absl::Status Corrupt(absl::string_view thing, absl::string_view field, uint64_t found,
                            absl::string_view legal) {
  return absl::DataLossError(
      absl::StrFormat("corrupt %s: %s=0x%x, legal: %s", thing, field, found, legal));
}

}  // namespace h2bd
