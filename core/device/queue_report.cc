#include "core/device/queue_report.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace h2bd {
namespace {

namespace fs = std::filesystem;

// Stacks deeper than this are not real.
constexpr int kLevelsMax = 8;

std::string LineOf(const fs::path& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

bool Exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

std::vector<fs::path> EntriesOf(const fs::path& directory) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    entries.push_back(it->path());
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

QueueReport ReadAt(const fs::path& entry, int levels) {
  std::error_code error;
  fs::path directory = fs::canonical(entry, error);
  if (error) directory = entry;
  // A partition has no queue of its own; its disk is the directory above.
  if (!Exists(directory / "queue") && Exists(directory.parent_path() / "queue")) {
    directory = directory.parent_path();
  }
  QueueReport report;
  report.name = directory.filename().string();
  for (const char* kind : {"dm", "md", "loop"}) {
    if (Exists(directory / kind)) report.kind = kind;
  }
  const std::string cache = LineOf(directory / "queue" / "write_cache");
  if (!cache.empty()) report.write_cache = cache;
  const std::string fua = LineOf(directory / "queue" / "fua");
  if (!fua.empty()) report.fua = fua == "0" ? "no" : "yes";
  report.backing_file = LineOf(directory / "loop" / "backing_file");
  if (levels == 0) return report;
  for (const fs::path& slave : EntriesOf(directory / "slaves")) {
    report.below.push_back(ReadAt(slave, levels - 1));
  }
  return report;
}

void AddDoubts(const QueueReport& above, const QueueReport& report,
               std::vector<std::string>& doubts) {
  for (const QueueReport& below : report.below) {
    if (above.write_cache == "write through" && below.write_cache == "write back") {
      doubts.push_back(absl::StrCat(above.name, " says that it writes through, but ", below.name,
                                    " below it has a write cache that no flush may reach"));
    }
    AddDoubts(above, below, doubts);
  }
}

}  // namespace

std::string QueueReport::ToString() const {
  std::string text = absl::StrCat(name, " (", kind, ", ", write_cache, ")");
  if (!backing_file.empty()) absl::StrAppend(&text, " over ", backing_file);
  if (below.empty()) return text;
  const auto add = [](std::string* out, const QueueReport& report) {
    absl::StrAppend(out, report.ToString());
  };
  return absl::StrCat(text, " over ", absl::StrJoin(below, ", ", add));
}

QueueReport ReadQueueReport(const std::string& sysfs, unsigned major, unsigned minor) {
  return ReadAt(fs::path(sysfs) / absl::StrFormat("dev/block/%d:%d", major, minor), kLevelsMax);
}

std::vector<std::string> DoubtsOf(const QueueReport& report) {
  std::vector<std::string> doubts;
  AddDoubts(report, report, doubts);
  if (!report.backing_file.empty()) {
    doubts.push_back(absl::StrCat(report.name,
                                  " is a loop device: what a flush reaches depends on ",
                                  "the file system of ", report.backing_file));
  }
  return doubts;
}

void WarnOfDoubts(const std::string& path, const QueueReport& report, Logger& logger) {
  for (const std::string& doubt : DoubtsOf(report)) {
    logger.Warning("a barrier may not reach the disk", {{"device", path}, {"why", doubt}});
  }
}

}  // namespace h2bd
