// The offline commands, `h2bd media format|check|show|ls|cat|digest|rewind|grow`: volumes that no
// server has open.
#pragma once

#include <iosfwd>
#include <optional>

#include "CLI/CLI.hpp"

namespace h2bd {

// Registers the command `media` with all its forms on `app`. When a command line that names one has
// been parsed, it has run: results on `out`, messages on `err`, and `exit_code` holds 0 for OK or
// clean, 1 for findings or failure. A wrong command line is a CLI::ParseError from app.parse, as
// for every other command; the convention is to exit with 2 then. An option --output (table or
// json) that `app` has already is honoured; otherwise `media` gets one. The references outlive
// `app`.
void AddMediaCommands(CLI::App& app, std::ostream& out, std::ostream& err,
                      std::optional<int>& exit_code);

}  // namespace h2bd
