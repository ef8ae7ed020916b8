// Output that the offline commands share.
#pragma once

#include <iosfwd>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "core/media/inode_data.h"
#include "nlohmann/json.hpp"

namespace h2bd {

// Keys keep the order in which they are added.
using MediaJson = nlohmann::ordered_json;

// Two-space indentation and a line end. Bytes that are not UTF-8 come out as U+FFFD.
void PrintJson(std::ostream& out, const MediaJson& value);

// "name:   value" lines, values aligned.
void PrintFacts(std::ostream& out, const std::vector<std::pair<std::string, std::string>>& facts);

// "10.0 GiB (10737418240 bytes)".
std::string ExactBytes(uint64_t bytes);
// "2026-01-31T12:00:00Z".
std::string TimeText(uint64_t media_time);
// "drwxr-xr-x".
std::string ModeText(const InodeMeta& meta);

}  // namespace h2bd
