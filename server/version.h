#pragma once

namespace h2bd {

// The project's version in the top CMakeLists.txt.
extern const char kVersion[];

}  // namespace h2bd
