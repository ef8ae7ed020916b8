// Names come from the media as bytes; proto3 strings must be UTF-8.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace h2bd {

// Bytes of the valid character at the start of `text`; 0 where there is none or `text` is empty.
size_t Utf8Length(absl::string_view text);

// Each byte that is not part of valid UTF-8 becomes U+FFFD.
std::string ReplaceInvalidUtf8(absl::string_view text);

}  // namespace h2bd
