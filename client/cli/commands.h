// The groups of commands, one file each. Every function adds its commands to `app`; they run
// through `session`.
#pragma once

#include <iosfwd>

#include "CLI/CLI.hpp"
#include "client/cli/session.h"

namespace h2bd::cli {

void AddDiskCommands(CLI::App& app, Session& session);  // disk create|ls|info|resize|rename|rm
void AddIoCommands(CLI::App& app, Session& session);    // read, write, sync
// import, export; `notes` gets the summary of an export to standard output
void AddTransferCommands(CLI::App& app, Session& session, std::ostream& notes);
void AddTransactionCommand(CLI::App& app, Session& session);  // txn
void AddVolumeCommands(CLI::App& app, Session& session);      // volume status, pfs ls

}  // namespace h2bd::cli
