#include "server/resource_names.h"

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/base/status.h"
#include "server/utf8.h"

namespace h2bd {
namespace {

constexpr char kDefaultPfs[] = "-";
constexpr char kLegalDisk[] = "pfs/{pfs}/disks/{disk}";
constexpr size_t kShownBytes = 64;  // of a wrong name in a message

absl::Status Bad(absl::string_view name, absl::string_view why) {
  const absl::string_view shown = name.substr(0, kShownBytes);
  return absl::InvalidArgumentError(absl::StrCat(
      "name \"", PercentEncode(shown), shown.size() < name.size() ? "..." : "", "\": ", why));
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

absl::StatusOr<std::string> PercentDecode(absl::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    const int high = i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
    const int low = high >= 0 ? HexDigit(text[i + 2]) : -1;
    if (low < 0) return Bad(text, "% is not followed by two hexadecimal digits");
    out.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return out;
}

// One component of a path, or a PFS label, decoded.
absl::StatusOr<std::string> ParseComponent(absl::string_view text) {
  H2_ASSIGN_OR_RETURN(std::string name, PercentDecode(text));
  if (name.empty()) return Bad(text, "empty; legal: 1 to 255 bytes");
  if (name.size() > kMaxNameBytes) {
    return Bad(text, absl::StrCat(name.size(), " bytes; legal: 1 to ", kMaxNameBytes));
  }
  if (name == "." || name == "..") return Bad(text, "not a name");
  if (name.find('\0') != std::string::npos) return Bad(text, "holds NUL");
  if (absl::StrContains(name, "/")) return Bad(text, "holds '/'");
  return name;
}

// A PFS segment: "-" stands for the default PFS, which core calls "".
absl::StatusOr<std::string> ParsePfsSegment(absl::string_view segment) {
  if (segment == kDefaultPfs) return std::string();
  return ParseComponent(segment);
}

}  // namespace

std::string PercentEncode(absl::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const unsigned char c = static_cast<unsigned char>(text[0]);
    const size_t length = Utf8Length(text);
    if (length == 0 || c == '%' || c < 0x20 || c == 0x7F) {
      absl::StrAppendFormat(&out, "%%%02X", c);
      text.remove_prefix(1);
    } else {
      out.append(text.data(), length);
      text.remove_prefix(length);
    }
  }
  return out;
}

absl::StatusOr<DiskName> ParseDiskName(absl::string_view name) {
  absl::string_view rest = name;
  if (!absl::ConsumePrefix(&rest, "pfs/")) return Bad(name, absl::StrCat("legal: ", kLegalDisk));
  const size_t end = rest.find('/');
  if (end == absl::string_view::npos) return Bad(name, absl::StrCat("legal: ", kLegalDisk));
  DiskName disk;
  H2_ASSIGN_OR_RETURN(disk.pfs, ParsePfsSegment(rest.substr(0, end)));
  rest.remove_prefix(end);
  if (!absl::ConsumePrefix(&rest, "/disks/")) {
    return Bad(name, absl::StrCat("legal: ", kLegalDisk));
  }
  std::vector<std::string> components;
  for (const absl::string_view segment : absl::StrSplit(rest, '/')) {
    H2_ASSIGN_OR_RETURN(components.emplace_back(), ParseComponent(segment));
  }
  disk.path = absl::StrJoin(components, "/");
  return disk;
}

std::string FormatDiskName(const DiskName& name) {
  return absl::StrCat(FormatPfsName(name.pfs), "/disks/", PercentEncode(name.path));
}

absl::StatusOr<std::string> ParsePfsName(absl::string_view name) {
  absl::string_view rest = name;
  if (!absl::ConsumePrefix(&rest, "pfs/") || absl::StrContains(rest, "/")) {
    return Bad(name, "legal: pfs/{pfs}");
  }
  return ParsePfsSegment(rest);
}

std::string FormatPfsName(absl::string_view label) {
  // A label that is "-" must not read as the default PFS.
  return absl::StrCat("pfs/", label == kDefaultPfs ? "%2D" : PercentEncode(label));
}

absl::StatusOr<std::string> ParseDiskId(absl::string_view id) { return ParseComponent(id); }

absl::StatusOr<TxnId> ParseTransactionName(absl::string_view name) {
  absl::string_view rest = name;
  uint64_t id = 0;
  if (!absl::ConsumePrefix(&rest, "transactions/") || rest.empty() ||
      rest.find_first_not_of("0123456789") != absl::string_view::npos ||
      !absl::SimpleAtoi(rest, &id)) {
    return Bad(name, "legal: transactions/{number}");
  }
  return TxnId(id);
}

std::string FormatTransactionName(TxnId id) { return absl::StrCat("transactions/", id.v); }

}  // namespace h2bd
