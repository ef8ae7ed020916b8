#include "tests/space/second_checker.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/support/fixtures.h"

namespace h2bd {
namespace {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "h2bd-space-XXXXXX").string();
    if (mkdtemp(pattern.data()) != nullptr) path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

absl::Status WriteSparse(const SparseImage& image, const std::string& path) {
  std::ofstream file(path, std::ios::binary);
  for (const auto& [page, bytes] : image.pages()) {
    const uint64_t at = page * SparseImage::kPage;
    const uint64_t n = std::min<uint64_t>(bytes->size(), image.size() - at);
    file.seekp(static_cast<std::streamoff>(at));
    file.write(reinterpret_cast<const char*>(bytes->data()), static_cast<std::streamsize>(n));
  }
  file.close();
  if (file.fail()) return absl::UnavailableError(absl::StrCat("cannot write ", path));
  std::filesystem::resize_file(path, image.size());
  return absl::OkStatus();
}

uint64_t Number(absl::string_view json, absl::string_view key) {
  const size_t at = json.find(absl::StrCat("\"", key, "\":"));
  if (at == absl::string_view::npos) return 0;
  json.remove_prefix(json.find(':', at) + 1);
  json.remove_prefix(std::min(json.find_first_not_of(' '), json.size()));
  uint64_t value = 0;
  const bool parsed = absl::SimpleAtoi(json.substr(0, json.find_first_of(",} \n")), &value);
  return parsed ? value : 0;
}

struct Ran {
  int exit_code = -1;
  std::string output;
};

Ran Run(const std::string& command) {
  Ran ran;
  std::FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return ran;
  char buffer[4096];
  for (size_t n = 0; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) {
    ran.output.append(buffer, n);
  }
  const int state = pclose(pipe);
  if (WIFEXITED(state)) ran.exit_code = WEXITSTATUS(state);
  return ran;
}

}  // namespace

absl::StatusOr<std::optional<CountedSpace>> RunSecondChecker(const SetImages& images) {
  const std::optional<std::string> shared = SharedDir();
  if (!shared.has_value()) {
    SkipLoudly("the second checker: there is no shared material");
    return std::optional<CountedSpace>();
  }
  const TemporaryFolder folder;
  std::string command =
      absl::StrCat("python3 '", *shared, "/tools/h2inspect.py' --compact --max-hash 0");
  for (size_t device = 0; device < images.size(); ++device) {
    const std::string path = (folder.path() / absl::StrCat("device", device)).string();
    H2_RETURN_IF_ERROR(WriteSparse(images[device], path));
    absl::StrAppend(&command, " '", path, "'");
  }
  const Ran ran = Run(absl::StrCat(command, " 2>&1"));
  const size_t findings = ran.output.find("\"check_errors\":");
  if (ran.exit_code != 0 || findings == std::string::npos) {
    return absl::DataLossError(absl::StrCat(
        "the second checker ended with ", ran.exit_code, ": ",
        ran.output.substr(findings == std::string::npos ? 0 : findings).substr(0, 2000)));
  }
  const size_t freemap = ran.output.find("\"freemap\":");
  if (freemap == std::string::npos) return absl::InternalError("it says nothing of the freemap");
  const absl::string_view counts = absl::string_view(ran.output).substr(freemap);
  if (Number(counts, "used_but_free") != 0 || Number(counts, "used_but_possibly_free") != 0) {
    return absl::DataLossError("the second checker: blocks in use are free in the freemap");
  }
  return CountedSpace{.allocated = Number(counts, "allocated_bytes"),
                      .possibly_free = Number(counts, "possibly_free_bytes"),
                      .free = Number(counts, "free_bytes")};
}

}  // namespace h2bd
