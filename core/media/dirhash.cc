#include "core/media/dirhash.h"

#include "absl/strings/str_cat.h"
#include "core/base/bytes.h"
#include "core/media/check_code.h"
#include "core/media/constants.h"

namespace h2bd {
namespace {

constexpr absl::string_view kSeparators = ".-_~";

}  // namespace

Key Dirhash(absl::string_view name) {
  // The parts are added, so that names made of the same parts share the upper half and lie
  // together; the hash of the whole name then tells them apart.
  uint32_t sum = 0;
  size_t start = 0;
  while (start < name.size()) {
    const size_t end = std::min(name.find_first_of(kSeparators, start), name.size());
    if (end > start) sum += Icrc32(AsBytes(name.substr(start, end - start)));
    start = end + 1;
  }
  uint32_t whole = Icrc32(AsBytes(name));
  whole ^= whole << 16;
  return Key(kDirhashVisible | uint64_t{sum} << 32 | (whole & 0xffff0000) | 0x8000);
}

absl::Status CheckName(absl::string_view name, absl::string_view what) {
  const auto refuse = [&](absl::string_view found, absl::string_view legal) {
    return absl::InvalidArgumentError(absl::StrCat(what, " ", found, ", legal: ", legal));
  };
  if (name.empty()) return refuse("is empty", absl::StrCat("1 to ", kNameMax, " bytes"));
  if (name.size() > kNameMax) {
    return refuse(absl::StrCat("has ", name.size(), " bytes"),
                  absl::StrCat("1 to ", kNameMax, " bytes"));
  }
  if (name == "." || name == "..") {
    return refuse(absl::StrCat("is \"", name, "\""), "anything but \".\" and \"..\"");
  }
  const size_t bad = name.find_first_of(absl::string_view("/\0", 2));
  if (bad != absl::string_view::npos) {
    return refuse(absl::StrCat("has ", name[bad] == '/' ? "'/'" : "NUL", " at byte ", bad),
                  "bytes other than '/' and NUL");
  }
  return absl::OkStatus();
}

}  // namespace h2bd
