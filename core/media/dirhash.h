// Directory hash and name rules (spec 01 section 8).
#pragma once

#include "absl/strings/string_view.h"
#include "core/base/status.h"
#include "core/base/types.h"

namespace h2bd {

// Key of the first possible entry for `name`; entries lie in [h, h + 0x7fff].
Key Dirhash(absl::string_view name);

// kInvalidArgument that names what is wrong: legal are 1 to 255 bytes without '/' and NUL, not "."
// and not "..". `what` names the thing in the message ("disk name", "PFS label").
absl::Status CheckName(absl::string_view name, absl::string_view what);

}  // namespace h2bd
