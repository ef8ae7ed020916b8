#include "client/cli/size.h"

#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "core/base/types.h"

namespace h2bd::cli {
namespace {

// The shift of a unit, -1 for what is none.
int UnitShift(absl::string_view unit) {
  if (unit.empty() || absl::EqualsIgnoreCase(unit, "b")) return 0;
  const size_t power = absl::string_view("kmgtpe").find(absl::ascii_tolower(unit[0]));
  unit.remove_prefix(1);
  if (power == absl::string_view::npos) return -1;
  if (!unit.empty() && !absl::EqualsIgnoreCase(unit, "ib")) return -1;
  return static_cast<int>(power + 1) * 10;
}

int DigitValue(char c, int base) {
  const char lower = absl::ascii_tolower(c);
  if (absl::ascii_isdigit(lower)) return lower - '0';
  if (base == 16 && lower >= 'a' && lower <= 'f') return lower - 'a' + 10;
  return -1;
}

}  // namespace

absl::StatusOr<uint64_t> ParseSize(absl::string_view text) {
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  const auto bad = [text](absl::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("size \"", text, "\": ", why,
                     "; legal: digits and one of K, M, G, T, P, E (powers of two), e.g. 10G"));
  };
  absl::string_view rest = text;
  const int base = absl::ConsumePrefix(&rest, "0x") ? 16 : 10;
  uint64_t value = 0;
  size_t digits = 0;
  for (; digits < rest.size(); ++digits) {
    const int digit = DigitValue(rest[digits], base);
    if (digit < 0) break;
    if (value > (kMax - static_cast<uint64_t>(digit)) / static_cast<uint64_t>(base)) {
      return bad("does not fit 64 bits");
    }
    value = value * static_cast<uint64_t>(base) + static_cast<uint64_t>(digit);
  }
  if (digits == 0) return bad("does not begin with a digit");
  const int shift = UnitShift(rest.substr(digits));
  if (shift < 0) return bad(absl::StrCat("unknown unit \"", rest.substr(digits), "\""));
  if (value > (kMax >> shift)) return bad("does not fit 64 bits");
  return value << shift;
}

std::string FormatRate(uint64_t bytes, absl::Duration elapsed) {
  const double seconds = absl::ToDoubleSeconds(elapsed);
  if (seconds <= 0) return "-";
  const double rate = static_cast<double>(bytes) / seconds;
  if (rate >= 0x1p60) return "-";
  return absl::StrCat(FormatBytes(static_cast<uint64_t>(rate)), "/s");
}

std::string FormatElapsed(absl::Duration elapsed) {
  if (elapsed < absl::Seconds(59.95)) {
    return absl::StrFormat("%.1f s", absl::ToDoubleSeconds(elapsed));
  }
  const int64_t seconds = absl::ToInt64Seconds(elapsed + absl::Milliseconds(500));
  if (seconds < 3600) return absl::StrFormat("%d:%02d", seconds / 60, seconds % 60);
  return absl::StrFormat("%d:%02d:%02d", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

}  // namespace h2bd::cli
