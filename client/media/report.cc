#include "client/media/report.h"

#include <algorithm>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace h2bd {
namespace {

char TypeLetter(ObjectType type) {
  switch (type) {
    case ObjectType::kDirectory:
      return 'd';
    case ObjectType::kRegfile:
      return '-';
    case ObjectType::kFifo:
      return 'p';
    case ObjectType::kCdev:
      return 'c';
    case ObjectType::kBdev:
      return 'b';
    case ObjectType::kSoftlink:
      return 'l';
    case ObjectType::kSocket:
      return 's';
    case ObjectType::kWhiteout:
      return 'w';
    case ObjectType::kUnknown:
      break;
  }
  return '?';
}

}  // namespace

void PrintJson(std::ostream& out, const MediaJson& value) {
  out << value.dump(2, ' ', false, MediaJson::error_handler_t::replace) << '\n';
}

void PrintFacts(std::ostream& out, const std::vector<std::pair<std::string, std::string>>& facts) {
  size_t widest = 0;
  for (const auto& [name, value] : facts) widest = std::max(widest, name.size());
  for (const auto& [name, value] : facts) {
    out << absl::StrFormat("%-*s %s\n", static_cast<int>(widest + 1), name + ":", value);
  }
}

std::string ExactBytes(uint64_t bytes) {
  return absl::StrCat(FormatBytes(bytes), " (", bytes, " bytes)");
}

std::string TimeText(uint64_t media_time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", FromMediaTime(media_time), absl::UTCTimeZone());
}

std::string ModeText(const InodeMeta& meta) {
  std::string text(1, TypeLetter(meta.type));
  for (int bit = 8; bit >= 0; --bit) {
    text.push_back((meta.mode >> bit & 1) != 0 ? "xwr"[bit % 3] : '-');
  }
  if ((meta.mode & 04000) != 0) text[3] = text[3] == 'x' ? 's' : 'S';
  if ((meta.mode & 02000) != 0) text[6] = text[6] == 'x' ? 's' : 'S';
  if ((meta.mode & 01000) != 0) text[9] = text[9] == 'x' ? 't' : 'T';
  return text;
}

}  // namespace h2bd
