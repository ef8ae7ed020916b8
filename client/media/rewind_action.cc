#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/media/actions.h"
#include "client/media/images.h"
#include "client/media/report.h"
#include "core/fsck/rewind.h"

namespace h2bd {

absl::Status RunRewind(const RewindCommand& command, const MediaIo& io) {
  H2_ASSIGN_OR_RETURN(const Devices devices, OpenImages(command.target.images, !command.write));
  H2_ASSIGN_OR_RETURN(const RewindReport report,
                      Rewind(PointersTo(devices), command.target.header_back, command.write));
  if (io.json()) {
    PrintJson(io.out, {{"written", command.write},
                       {"slot", report.slot},
                       {"mirror_tid", report.mirror_tid.v},
                       {"newest_mirror_tid", report.newest_mirror_tid.v},
                       {"erased_slots", report.erased}});
    return absl::OkStatus();
  }
  PrintFacts(io.out,
             {{"header", absl::StrCat("slot ", report.slot)},
              {"mirror_tid",
               absl::StrCat(report.mirror_tid.v, ", the newest has ", report.newest_mirror_tid.v)},
              {"erased slots", absl::StrJoin(report.erased, ", ")},
              {"written", command.write ? "yes" : "no, nothing is written without --write"}});
  return absl::OkStatus();
}

}  // namespace h2bd
