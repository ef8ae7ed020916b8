// What the commands do, apart from how the command line spells it.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "core/base/status.h"
#include "core/device/file_device.h"
#include "core/fsck/check.h"
#include "core/volume/format.h"

namespace h2bd {

enum class OutputForm { kTable, kJson };

struct MediaIo {
  std::ostream& out;
  std::ostream& err;
  OutputForm form = OutputForm::kTable;
  bool json() const { return form == OutputForm::kJson; }
};

// Devices of one volume, and which of its headers to look through.
struct MediaTarget {
  std::vector<std::string> images;
  std::optional<int> slot;  // default: the newest
  int header_back = 0;      // instead of a slot: so many headers older than the newest
};

struct FormatCommand {
  std::vector<std::string> paths;
  std::optional<uint64_t> size;  // of files that do not exist yet
  ImageSpace space = ImageSpace::kAllocated;
  FormatOptions options;
};
absl::Status RunFormat(const FormatCommand& command, const MediaIo& io);

struct CheckCommand {
  MediaTarget target;
  bool strict = false;
  bool metadata_only = false;
  bool repair = false;
  bool write = false;  // with `repair`: else only what would be done is told
  bool keep_leaks = false, drop_dangling = false;
};
// Whether the volume is clean; with `repair`, whether there is nothing (left) to do and it is clean
// through its newest header.
absl::StatusOr<bool> RunCheck(const CheckCommand& command, const MediaIo& io);

struct GrowCommand {
  std::string path;
  std::optional<uint64_t> size;  // default: all of the device
};
// Makes a volume of one device larger, and its file first.
absl::Status RunGrow(const GrowCommand& command, const MediaIo& io);

struct RewindCommand {
  MediaTarget target;
  bool write = false;
};
absl::Status RunRewind(const RewindCommand& command, const MediaIo& io);

struct ShowCommand {
  MediaTarget target;
  bool headers = false, tree = false, freemap = false;
};
// Goes on where it can: only devices that cannot be opened are an error.
absl::Status RunShow(const ShowCommand& command, const MediaIo& io);

struct ListCommand {
  MediaTarget target;
  std::string path;  // PFS[/path]; "": the PFSs
  bool details = false, recursive = false;
};
absl::Status RunList(const ListCommand& command, const MediaIo& io);

// `path` is PFS/path of a file or softlink.
absl::Status RunCat(const MediaTarget& target, const std::string& path, const MediaIo& io);
absl::Status RunDigest(const MediaTarget& target, const MediaIo& io);

}  // namespace h2bd
