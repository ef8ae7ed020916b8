#include "client/cli/output.h"

#include <algorithm>
#include <ostream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "core/base/types.h"

namespace h2bd::cli {
namespace {

std::string Pad(const std::string& text, size_t columns, bool right) {
  const std::string blanks(columns - std::min(columns, DisplayWidth(text)), ' ');
  return right ? blanks + text : text + blanks;
}

}  // namespace

void PrintJson(std::ostream& out, const Json& value) {
  out << value.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
}

Table::Table(std::vector<std::string> titles) {
  for (std::string& title : titles) {
    right_.push_back(title.starts_with('>'));
    if (right_.back()) title.erase(0, 1);
  }
  rows_.push_back(std::move(titles));
}

void Table::AddRow(std::vector<std::string> cells) {
  H2_ASSERT(cells.size() == right_.size());
  rows_.push_back(std::move(cells));
}

void Table::Print(std::ostream& out) const {
  std::vector<size_t> widths(right_.size(), 0);
  for (const std::vector<std::string>& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], DisplayWidth(row[i]));
  }
  for (const std::vector<std::string>& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      absl::StrAppend(&line, i == 0 ? "" : "  ", Pad(row[i], widths[i], right_[i]));
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out << line << "\n";
  }
}

void Facts::Print(std::ostream& out) const {
  size_t width = 0;
  for (const auto& [name, value] : rows_) width = std::max(width, DisplayWidth(name) + 1);
  for (const auto& [name, value] : rows_) {
    out << Pad(absl::StrCat(name, ":"), width, false) << " " << value << "\n";
  }
}

std::string ExactBytes(uint64_t bytes) {
  if (bytes < kKiB) return absl::StrCat(bytes, " bytes");
  return absl::StrCat(FormatBytes(bytes), " (", bytes, " bytes)");
}

std::string TimeText(absl::Time time) {
  if (time == absl::InfinitePast()) return "-";
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

size_t DisplayWidth(absl::string_view text) {
  // A continuation byte 10xxxxxx begins no character.
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace h2bd::cli
