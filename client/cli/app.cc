#include "client/cli/app.h"

#include <cerrno>
#include <ostream>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/session.h"

namespace h2bd::cli {
namespace {

// Options that all commands share may stand behind the command as well.
void LetGlobalOptionsFollow(CLI::App& app) {
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) {
    command->fallthrough();
    LetGlobalOptionsFollow(*command);
  }
}

// What is wrong with the command line. An unknown command is all that CLI11 does not name.
absl::Status UsageError(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<std::string> unknown = app.remaining(true);
  const bool no_command = dynamic_cast<const CLI::RequiredError*>(&error) != nullptr;
  if (!no_command || unknown.empty()) return absl::InvalidArgumentError(error.what());
  return absl::InvalidArgumentError(
      absl::StrCat("unknown command or argument \"", unknown.front(), "\""));
}

}  // namespace

int RunCommand(int argc, const char* const* argv, std::ostream& out, std::ostream& err,
               const AddOfflineCommands& offline) {
  CLI::App app("h2bd: virtual disks on a HAMMER2 volume, over the network", "h2bd");
  app.set_version_flag("--version", "h2bd " H2BD_VERSION);
  app.require_subcommand(1);
  Session session(out);
  session.AddGlobalOptions(app);
  AddDiskCommands(app, session);
  AddIoCommands(app, session);
  AddTransferCommands(app, session, err);
  AddTransactionCommand(app, session);
  AddVolumeCommands(app, session);
  std::optional<int> offline_code;
  if (offline != nullptr) offline(app, out, err, offline_code);
  LetGlobalOptionsFollow(app);
  app.footer(ExitCodeHelp());  // after the commands, which would inherit it
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error, out, err);  // help or version
    const absl::Status usage = UsageError(app, error);
    err << ErrorLine(usage) << "Run with --help for more information.\n";
    return static_cast<int>(ExitCodeOf(usage));
  }
  if (offline_code.has_value()) return *offline_code;
  out.flush();
  absl::Status status = session.status();
  if (status.ok() && !out) status = LocalError("write standard output", EIO);
  if (!status.ok()) err << ErrorLine(status);
  return static_cast<int>(ExitCodeOf(status));
}

}  // namespace h2bd::cli
