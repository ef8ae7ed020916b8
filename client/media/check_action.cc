#include <ostream>

#include "absl/strings/str_cat.h"
#include "client/media/actions.h"
#include "client/media/check_report.h"
#include "client/media/images.h"
#include "core/fsck/repair.h"

namespace h2bd {
namespace {

MediaJson ToJson(const Repair& repair, bool written) {
  MediaJson actions = MediaJson::array(), refusals = MediaJson::array();
  for (const RepairAction& action : repair.actions()) {
    actions.push_back(
        {{"kind", std::string(Name(action.kind))}, {"place", action.place}, {"text", action.text}});
  }
  for (const std::string& refusal : repair.refusals()) refusals.push_back(refusal);
  return {{"written", written},
          {"actions", std::move(actions)},
          {"refused", std::move(refusals)},
          {"before", ToJson(repair.before())},
          {"after", ToJson(repair.after())}};
}

void Print(const Repair& repair, bool written, std::ostream& out) {
  for (const RepairAction& action : repair.actions()) {
    out << Name(action.kind) << ": "
        << (action.place.empty() ? "" : absl::StrCat(action.place, ": ")) << action.text << '\n';
  }
  for (const std::string& refusal : repair.refusals()) out << "not repaired: " << refusal << '\n';
  if (repair.actions().empty()) {
    out << "nothing to repair\n";
  } else {
    out << (written ? "repaired" : "nothing is written without --write") << "; through its newest "
        << "header the volume " << (written ? "is" : "would be") << ":\n";
  }
  Print(repair.after(), out);
}

absl::StatusOr<bool> RunRepair(const CheckCommand& command, const MediaIo& io) {
  H2_ASSIGN_OR_RETURN(const Devices devices, OpenImages(command.target.images, !command.write));
  RepairOptions options;
  options.keep_leaks = command.keep_leaks;
  options.drop_dangling = command.drop_dangling;
  options.read_data = !command.metadata_only;
  const std::vector<BlockDevice*> pointers = PointersTo(devices);
  std::unique_ptr<Repair> repair;
  {
    ProgressLine line;
    options.progress = [&line](const CheckProgress& progress) { line.Draw(progress); };
    H2_ASSIGN_OR_RETURN(repair, Repair::Plan(pointers, options));
  }
  const bool written = command.write && !repair->actions().empty();
  if (written) H2_RETURN_IF_ERROR(repair->Write());
  if (io.json()) {
    PrintJson(io.out, ToJson(*repair, written));
  } else {
    Print(*repair, written, io.out);
  }
  const bool nothing_to_do = written || repair->actions().empty();
  return nothing_to_do && repair->refusals().empty() && repair->after().clean();
}

}  // namespace

absl::StatusOr<bool> RunCheck(const CheckCommand& command, const MediaIo& io) {
  if (command.repair) return RunRepair(command, io);
  H2_ASSIGN_OR_RETURN(const Devices devices, OpenImages(command.target.images, /*read_only=*/true));
  CheckOptions options;
  H2_ASSIGN_OR_RETURN(options.slot, SlotOf(command.target, devices));
  options.all_slots_strict = command.strict;
  options.read_data = !command.metadata_only;
  CheckReport report;
  {
    ProgressLine line;
    options.progress = [&line](const CheckProgress& progress) { line.Draw(progress); };
    report = CheckDevices(PointersTo(devices), options);
  }
  if (io.json()) {
    PrintJson(io.out, ToJson(report));
  } else {
    Print(report, io.out);
  }
  return report.clean();
}

}  // namespace h2bd
