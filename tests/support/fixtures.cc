#include "tests/support/fixtures.h"

#include <zstd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/random.h"

namespace h2bd {
namespace {

namespace fs = std::filesystem;
constexpr char kSuffix[] = ".img.zst";

fs::path FixtureDir() { return fs::path(SharedDir().value_or("")) / "fixtures"; }

}  // namespace

std::optional<std::string> SharedDir() {
  fs::path dir;
  if (const char* named = std::getenv("H2BD_SHARED"); named != nullptr) {
    dir = named;
  } else {
    const char* source = std::getenv("H2BD_SOURCE_DIR");
    dir = fs::path(source != nullptr ? source : ".") / ".." / "shared";
  }
  std::error_code ignored;
  if (!fs::is_directory(dir / "fixtures", ignored)) return std::nullopt;
  return dir.string();
}

std::vector<std::string> FixtureNames() {
  std::vector<std::string> names;
  if (!SharedDir().has_value()) return names;
  for (const fs::directory_entry& entry : fs::directory_iterator(FixtureDir())) {
    const std::string file = entry.path().filename().string();
    if (file.ends_with(kSuffix)) names.push_back(file.substr(0, file.size() - sizeof kSuffix + 1));
  }
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<SparseImage> LoadFixture(const std::string& name) {
  const fs::path path = FixtureDir() / (name + kSuffix);
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::NotFoundError(absl::StrCat("cannot open ", path.string()));
  std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> ctx(ZSTD_createDCtx(), ZSTD_freeDCtx);
  ZSTD_DCtx_setParameter(ctx.get(), ZSTD_d_windowLogMax, 27);

  std::vector<std::pair<uint64_t, AlignedBuffer>> pages;
  AlignedBuffer page = AlignedBuffer::Zeroed(SparseImage::kPage);
  uint64_t at = 0;
  size_t filled = 0;
  const auto finish_page = [&] {
    if (!IsAllZero(page.span().first(filled))) {
      pages.emplace_back(at, AlignedBuffer::CopyOf(page.span().first(filled)));
    }
    at += filled;
    filled = 0;
  };
  std::vector<char> raw(1 << 16);
  while (in.read(raw.data(), static_cast<std::streamsize>(raw.size())), in.gcount() > 0) {
    ZSTD_inBuffer input{raw.data(), static_cast<size_t>(in.gcount()), 0};
    for (bool more = true; more || input.pos < input.size;) {
      ZSTD_outBuffer output{page.data() + filled, page.size() - filled, 0};
      const size_t result = ZSTD_decompressStream(ctx.get(), &output, &input);
      if (ZSTD_isError(result)) {
        return absl::DataLossError(absl::StrCat(path.string(), ": ", ZSTD_getErrorName(result)));
      }
      more = output.pos == output.size;
      filled += output.pos;
      if (filled == page.size()) finish_page();
    }
  }
  finish_page();
  SparseImage image(at);
  for (const auto& [offset, bytes] : pages) image.Write(offset, bytes.span());
  return image;
}

absl::StatusOr<std::string> FixtureManifest() {
  std::ifstream in(FixtureDir() / "manifest.json");
  if (!in) return absl::NotFoundError("no manifest.json in the shared fixtures");
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void SkipLoudly(const std::string& what) {
  std::fprintf(stderr, "\n#### SKIPPED: %s (set H2BD_SHARED to the shared material to run it)\n\n",
               what.c_str());
}

uint64_t TestSeed() {
  uint64_t seed = 0;
  const char* given = std::getenv("H2BD_SEED");
  if (given == nullptr || !absl::SimpleAtoi(given, &seed)) seed = SystemRandom().Next64() >> 1;
  std::fprintf(stderr, "H2BD_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

}  // namespace h2bd
