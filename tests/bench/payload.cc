#include "tests/bench/payload.h"

#include <malloc.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status.h"

namespace h2bd::bench {
namespace {

constexpr size_t kBlockBytes = 65536;
constexpr int kAllocatorKeepBytes = 1 << 30;

void FillRandom(ByteSpan into, std::mt19937_64& rng) {
  for (size_t at = 0; at < into.size(); at += sizeof(uint64_t)) StoreAs(into, rng(), at);
}

void FillText(ByteSpan into, std::mt19937_64& rng) {
  static constexpr const char* kVerbs[] = {"read", "write", "sync", "open", "close", "retry"};
  static constexpr const char* kPlaces[] = {"frontend", "billing", "catalogue", "search", "mail"};
  size_t at = 0;
  for (uint64_t us = 0; at < into.size(); us += 137) {
    const uint64_t r = rng();
    const std::string line =
        absl::StrFormat("2026-03-11 %02d:%02d:%02d.%06d INFO %s[%d]: %s request=%04x took %d us\n",
                        us / 3'600'000'000 % 24, us / 60'000'000 % 60, us / 1'000'000 % 60,
                        us % 1'000'000, kPlaces[r % 5], 1200 + r / 5 % 8, kVerbs[r / 40 % 6],
                        r / 240 % 65536, r / 15'728'640 % 1000);
    const size_t bytes = std::min(line.size(), into.size() - at);
    std::memcpy(into.data() + at, line.data(), bytes);
    at += bytes;
  }
}

}  // namespace

absl::StatusOr<Content> ParseContent(absl::string_view text) {
  if (text == "random") return Content::kRandom;
  if (text == "text") return Content::kText;
  return absl::InvalidArgumentError(absl::StrCat("content ", text, ", legal: random, text"));
}

PayloadSource::PayloadSource(Content content, uint64_t seed) : pool_(kPoolBytes) {
  std::mt19937_64 rng(seed);
  if (content == Content::kRandom) {
    FillRandom(pool_.span(), rng);
  } else {
    FillText(pool_.span(), rng);
  }
  block_number_ = rng() << 32;  // two runs on one volume differ, too
}

ConstByteSpan PayloadSource::Next(size_t bytes) {
  H2_ASSERT(bytes > 0 && kPoolBytes % bytes == 0);
  if (position_ == kPoolBytes) position_ = 0;
  const ByteSpan piece = pool_.span().subspan(position_, bytes);
  position_ += bytes;
  for (size_t at = 0; at + sizeof(uint64_t) <= bytes; at += kBlockBytes) {
    StoreAs(piece, block_number_++, at);
  }
  return piece;
}

void TuneAllocator() {
  mallopt(M_MMAP_THRESHOLD, kAllocatorKeepBytes);
  mallopt(M_TRIM_THRESHOLD, kAllocatorKeepBytes);
  mallopt(M_TOP_PAD, 64 << 20);
}

std::string LatencyJson(std::vector<absl::Duration> samples) {
  H2_ASSERT(!samples.empty());
  std::sort(samples.begin(), samples.end());
  const auto at = [&](double quantile) {
    const auto index = static_cast<size_t>(quantile * static_cast<double>(samples.size()));
    return absl::ToDoubleMicroseconds(samples[std::min(index, samples.size() - 1)]);
  };
  return absl::StrFormat(
      R"({"p50_us": %.1f, "p99_us": %.1f, "p999_us": %.1f, "max_us": %.1f, "count": %d})", at(0.5),
      at(0.99), at(0.999), at(1), samples.size());
}

void Die(const char* program, const absl::Status& status) {
  std::fprintf(stderr, "%s: %s\n", program, status.ToString().c_str());
  std::exit(1);
}

}  // namespace h2bd::bench
