#include <ostream>

#include "absl/strings/str_cat.h"
#include "client/media/actions.h"
#include "client/media/images.h"
#include "client/media/report.h"
#include "core/volume/volume.h"

namespace h2bd {

absl::Status RunGrow(const GrowCommand& command, const MediaIo& io) {
  H2_ASSIGN_OR_RETURN(Devices devices, OpenImages({command.path}, /*read_only=*/false));
  VolumeOptions options;
  options.manual_cycles = true;
  options.allow_one_header_slot = true;
  H2_ASSIGN_OR_RETURN(const auto volume, Volume::Open(std::move(devices), options, {}));
  H2_ASSIGN_OR_RETURN(const GrowReport report, volume->Grow({.bytes = command.size}));
  H2_RETURN_IF_ERROR(volume->Close());
  if (io.json()) {
    PrintJson(io.out, {{"old_size", report.old_bytes},
                       {"new_size", report.new_bytes},
                       {"header_slots", report.header_slots}});
    return absl::OkStatus();
  }
  PrintFacts(io.out, {{"old size", ExactBytes(report.old_bytes)},
                      {"new size", ExactBytes(report.new_bytes)},
                      {"header slots", absl::StrCat(report.header_slots)}});
  return absl::OkStatus();
}

}  // namespace h2bd
