// Sizes, offsets and lengths as people write and read them. Units are powers of two throughout.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace h2bd::cli {

// "10G", "10GiB", "4096", "0x1000", "512b": digits, decimal or after 0x hexadecimal, and one of B,
// K, M, G, T, P, E, in either case, "iB" behind it if wanted. "10GB" is refused, because it means
// 10^10 elsewhere; so are signs, fractions, blanks and what does not fit 64 bits. kInvalidArgument.
absl::StatusOr<uint64_t> ParseSize(absl::string_view text);

// "222.4 MiB/s"; "-" when no time has passed.
std::string FormatRate(uint64_t bytes, absl::Duration elapsed);

// "0.8 s", "1:05", "2:00:09".
std::string FormatElapsed(absl::Duration elapsed);

}  // namespace h2bd::cli
