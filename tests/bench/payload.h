// What the benchmarks write, and how they sum up what they measured.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/base/bytes.h"

namespace h2bd::bench {

enum class Content {
  kRandom,  // LZ4 gains nothing
  kText,    // log lines; LZ4 halves them
};
absl::StatusOr<Content> ParseContent(absl::string_view text);  // "random", "text"

// An endless run of bytes out of a pool that is larger than the processor's caches. Each 64 KiB
// block carries its own number, so that no two blocks are equal and no deduplication can win. Not
// thread-safe.
class PayloadSource {
 public:
  PayloadSource(Content content, uint64_t seed);

  // The next `bytes` of the run; a divisor of kPoolBytes. Valid and unchanged until kPoolBytes more
  // were taken.
  ConstByteSpan Next(size_t bytes);

  static constexpr size_t kPoolBytes = size_t{64} << 20;

 private:
  AlignedBuffer pool_;
  size_t position_ = 0;
  uint64_t block_number_ = 0;
};

// Keeps freed memory in the process: with glibc's defaults each large receive buffer goes back to
// the kernel, which costs more than the transfer. All sides of a comparison call it first in main.
void TuneAllocator();

// {"p50_us": …, "p99_us": …, "p999_us": …, "max_us": …, "count": …}; needs at least one sample.
std::string LatencyJson(std::vector<absl::Duration> samples);

// Prints "PROGRAM: STATUS" to stderr and ends with 1.
[[noreturn]] void Die(const char* program, const absl::Status& status);

}  // namespace h2bd::bench
