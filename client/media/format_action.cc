#include <filesystem>
#include <ostream>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "client/media/actions.h"
#include "client/media/images.h"
#include "client/media/report.h"
#include "core/device/file_device.h"

namespace h2bd {
namespace {

// Makes the files that do not exist; returns which it made.
absl::Status CreateMissing(const FormatCommand& command, std::vector<std::string>& created) {
  for (const std::string& path : command.paths) {
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) {
      if (!command.size.has_value() || !std::filesystem::is_regular_file(path, ignored)) continue;
      const uint64_t found = std::filesystem::file_size(path, ignored);
      if (found == *command.size) continue;
      return absl::InvalidArgumentError(
          absl::StrCat(path, " exists and has ", found, " bytes; --size is for new files"));
    }
    if (!command.size.has_value()) {
      return absl::NotFoundError(absl::StrCat(path, " does not exist; --size would create it"));
    }
    H2_RETURN_IF_ERROR(Annotate(CreateImageFile(path, *command.size, command.space),
                                command.space == ImageSpace::kSparse ? "--sparse" : "--size"));
    created.push_back(path);
  }
  return absl::OkStatus();
}

void Print(const FormatReport& report, const MediaIo& io) {
  if (io.json()) {
    PrintJson(io.out, {{"fsid", FormatUuid(report.fsid)},
                       {"total_size", report.total_size},
                       {"allocator_size", report.allocator_size},
                       {"boot_bytes", report.boot_bytes},
                       {"aux_bytes", report.aux_bytes},
                       {"header_slots", report.header_slots}});
    return;
  }
  PrintFacts(io.out, {{"fsid", FormatUuid(report.fsid)},
                      {"total size", ExactBytes(report.total_size)},
                      {"space for data", ExactBytes(report.allocator_size)},
                      {"boot area", ExactBytes(report.boot_bytes)},
                      {"aux area", ExactBytes(report.aux_bytes)},
                      {"header slots", absl::StrCat(report.header_slots)}});
}

}  // namespace

absl::Status RunFormat(const FormatCommand& command, const MediaIo& io) {
  std::vector<std::string> created;
  absl::Cleanup remove_created = [&] {
    for (const std::string& path : created) {
      std::error_code ignored;
      std::filesystem::remove(path, ignored);
    }
  };
  H2_RETURN_IF_ERROR(CreateMissing(command, created));
  H2_ASSIGN_OR_RETURN(const Devices devices, OpenImages(command.paths, /*read_only=*/false));
  H2_ASSIGN_OR_RETURN(const FormatReport report,
                      Format(devices, command.options, SystemClock(), SystemRandom()));
  std::move(remove_created).Cancel();
  if (report.header_slots == 1) {
    io.err << "h2bd: warning: the volume is smaller than 2 GiB + 4 MiB and has one header slot; a "
              "header write that a power loss tears must be repaired from its shadow copy\n";
  }
  Print(report, io);
  return absl::OkStatus();
}

}  // namespace h2bd
