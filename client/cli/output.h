// Tables for people, JSON for programs.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"

namespace h2bd::cli {

enum class OutputFormat { kTable, kJson };

// Keys keep the order in which they are added, so that output can be compared. Keys are only ever
// added.
using Json = nlohmann::ordered_json;

// Two-space indentation and a line end. Bytes that are not UTF-8 come out as U+FFFD.
void PrintJson(std::ostream& out, const Json& value);

// Columns as wide as their widest cell, two blanks between them. A title in '>' is aligned to the
// right: Table({"NAME", ">SIZE"}).
class Table {
 public:
  explicit Table(std::vector<std::string> titles);
  // As many cells as there are titles.
  void AddRow(std::vector<std::string> cells);
  void Print(std::ostream& out) const;

 private:
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;  // the first holds the titles
};

// "name:   value" lines, values aligned.
class Facts {
 public:
  void Add(std::string name, std::string value) {
    rows_.emplace_back(std::move(name), std::move(value));
  }
  void Print(std::ostream& out) const;

 private:
  std::vector<std::pair<std::string, std::string>> rows_;
};

// "10.0 GiB (10737418240 bytes)".
std::string ExactBytes(uint64_t bytes);
// "2026-01-31T12:00:00Z"; "-" for the infinite past, which stands for "not known".
std::string TimeText(absl::Time time);

// Columns on the screen that a UTF-8 text takes, with one for each character.
size_t DisplayWidth(absl::string_view text);

}  // namespace h2bd::cli
