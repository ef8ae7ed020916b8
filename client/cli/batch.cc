#include "client/cli/batch.h"

#include <iomanip>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/size.h"
#include "core/base/status.h"

namespace h2bd::cli {
namespace {

// The words of a line; a '#' as its first one makes it empty.
absl::StatusOr<std::vector<std::string>> SplitWords(absl::string_view line) {
  std::istringstream in{std::string(line)};
  std::vector<std::string> words;
  while (!(in >> std::ws).eof()) {
    const bool quoted = in.peek() == '"';
    std::string word;
    in >> std::quoted(word);
    // std::quoted takes what follows the last quote as the end of the text, be it missing.
    if (quoted && in.eof() && !absl::EndsWith(line, "\"")) {
      return absl::InvalidArgumentError("a quote is not closed");
    }
    words.push_back(std::move(word));
    if (words.front().starts_with('#')) return std::vector<std::string>();
  }
  return words;
}

absl::StatusOr<BatchChange> ParseWords(const std::vector<std::string>& words) {
  BatchChange change;
  if (words.size() == 3 && words[0] == "resize") {
    H2_ASSIGN_OR_RETURN(change.disk, client::DiskName::Parse(words[1]));
    H2_ASSIGN_OR_RETURN(change.new_size, ParseSize(words[2]));
    return change;
  }
  if (words.size() != 4 || (words[0] != "write" && words[0] != "zero")) {
    return absl::InvalidArgumentError(
        "legal: write DISK OFFSET FILE, zero DISK OFFSET LENGTH, or resize DISK SIZE");
  }
  H2_ASSIGN_OR_RETURN(change.disk, client::DiskName::Parse(words[1]));
  H2_ASSIGN_OR_RETURN(change.offset, ParseSize(words[2]));
  if (words[0] == "zero") {
    H2_ASSIGN_OR_RETURN(change.zero_bytes, ParseSize(words[3]));
  } else if (words[3].empty()) {
    return absl::InvalidArgumentError("the name of the file is empty");
  } else {
    change.file = words[3];
  }
  return change;
}

}  // namespace

absl::StatusOr<BatchChange> ParseChange(absl::string_view text) {
  const std::vector<std::string> parts = absl::StrSplit(text, absl::MaxSplits(':', 2));
  if (parts.size() != 3) {
    return absl::InvalidArgumentError(
        absl::StrCat("change \"", text, "\"; legal: DISK:OFFSET:FILE or DISK:resize:SIZE"));
  }
  if (parts[1] == "resize") return ParseWords({"resize", parts[0], parts[2]});
  return ParseWords({"write", parts[0], parts[1], parts[2]});
}

absl::StatusOr<std::vector<BatchChange>> ParseBatch(absl::string_view text) {
  std::vector<BatchChange> changes;
  size_t number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::string where = absl::StrCat("batch line ", ++number);
    const absl::StatusOr<std::vector<std::string>> words = SplitWords(line);
    if (!words.ok()) return Annotate(words.status(), where);
    if (words->empty()) continue;
    absl::StatusOr<BatchChange> change = ParseWords(*words);
    if (!change.ok()) return Annotate(change.status(), where);
    changes.push_back(*std::move(change));
  }
  return changes;
}

}  // namespace h2bd::cli
