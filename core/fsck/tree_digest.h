// One value for all names, types, sizes and contents of a volume, to compare volumes with.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "core/fsck/media_reader.h"

namespace h2bd {

// SHA-256 (hexadecimal) over one line per entry, "PFS NUL path NUL type NUL size NUL content LF",
// sorted by PFS and path. `size` is empty except for files and softlinks; `content` is the SHA-256
// of a file, or "-" above 16 GiB; the target of a softlink; otherwise empty. Names and targets are
// written as ShowName does. An entry whose inode does not exist has the type "dangling". Two
// volumes with the same digest show the same tree, however it is stored. Memory: the names of the
// directories on one path, and the numbers of a PFS's directories. Errors as MediaReader; kDataLoss
// also for a directory with two names.
absl::StatusOr<std::string> TreeDigest(MediaReader& reader);

// SHA-256 of a file's contents, hexadecimal, holes included.
absl::StatusOr<std::string> FileSha256(MediaReader& reader, const InodeData& file);

// Raw name bytes as printable UTF-8: a byte that is not part of valid UTF-8 becomes \xNN, a
// backslash \\.
std::string ShowName(absl::string_view raw);

}  // namespace h2bd
