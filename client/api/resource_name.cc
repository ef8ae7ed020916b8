#include "client/api/resource_name.h"

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"

namespace h2bd::client {
namespace {

constexpr char kDefaultPfs[] = "-";

// Length of the valid UTF-8 character at the front of `text`, 0 when there is none.
size_t Utf8Length(absl::string_view text) {
  const auto at = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = at(0);
  const size_t length = first < 0x80                     ? 1
                        : first >= 0xC2 && first <= 0xDF ? 2
                        : first >= 0xE0 && first <= 0xEF ? 3
                        : first >= 0xF0 && first <= 0xF4 ? 4
                                                         : 0;
  if (length == 0 || length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xC0) != 0x80) return 0;
  }
  // Over-long forms, surrogates, and what lies above U+10FFFF.
  if (first == 0xE0 && at(1) < 0xA0) return 0;
  if (first == 0xED && at(1) > 0x9F) return 0;
  if (first == 0xF0 && at(1) < 0x90) return 0;
  if (first == 0xF4 && at(1) > 0x8F) return 0;
  return length;
}

bool IsUpperHex(char c) { return absl::ascii_isdigit(c) || (c >= 'A' && c <= 'F'); }

}  // namespace

std::string EscapeSegment(absl::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t length = Utf8Length(text);
    const unsigned char first = static_cast<unsigned char>(text[0]);
    if (length == 0 || first == '%' || first < 0x20 || first == 0x7F) {
      absl::StrAppendFormat(&out, "%%%02X", first);
      text.remove_prefix(1);
    } else {
      out.append(text.data(), length);
      text.remove_prefix(length);
    }
  }
  return out;
}

absl::StatusOr<std::string> UnescapeSegment(absl::string_view text) {
  if (text.empty()) return absl::InvalidArgumentError("resource name: an empty segment");
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size() || !IsUpperHex(text[i + 1]) || !IsUpperHex(text[i + 2])) {
      return absl::InvalidArgumentError(absl::StrCat("resource name \"", text, "\": bad escape"));
    }
    out += absl::HexStringToBytes(text.substr(i + 1, 2));
    i += 2;
  }
  return out;
}

std::string PfsResource(absl::string_view label) {
  return absl::StrCat("pfs/", label.empty() ? kDefaultPfs : EscapeSegment(label));
}

absl::StatusOr<std::string> PfsLabel(absl::string_view resource) {
  if (!absl::ConsumePrefix(&resource, "pfs/") || absl::StrContains(resource, '/')) {
    return absl::InvalidArgumentError(
        absl::StrCat("resource name \"", resource, "\": legal: pfs/{pfs}"));
  }
  return UnescapeSegment(resource);
}

std::string TransactionResource(absl::string_view id) { return absl::StrCat("transactions/", id); }

}  // namespace h2bd::client
