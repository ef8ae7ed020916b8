// The h2bd command: command line in, exit code out.
#pragma once

#include <functional>
#include <iosfwd>
#include <optional>

namespace CLI {
class App;
}

namespace h2bd::cli {

// Adds commands that need no server, which run while the command line is parsed: results go to the
// first stream, complaints to the second, and a command that has run leaves its exit code
// (AddMediaCommands in client/media).
using AddOfflineCommands =
    std::function<void(CLI::App&, std::ostream&, std::ostream&, std::optional<int>&)>;

// Results go to `out`, complaints to `err`. Gives the exit code (exit_code.h). Never throws.
int RunCommand(int argc, const char* const* argv, std::ostream& out, std::ostream& err,
               const AddOfflineCommands& offline = nullptr);

}  // namespace h2bd::cli
