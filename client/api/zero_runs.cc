#include "client/api/zero_runs.h"

#include <algorithm>

#include "core/base/types.h"

namespace h2bd::client {

std::vector<ZeroRun> SplitZeroRuns(ConstByteSpan bytes, uint64_t offset, uint64_t granule) {
  std::vector<ZeroRun> runs;
  const uint64_t end = offset + bytes.size();
  for (uint64_t at = offset; at < end;) {
    const uint64_t next = std::min(end, RoundDown(at, granule) + granule);
    const bool is_zero = next - at == granule && IsAllZero(bytes.subspan(at - offset, granule));
    if (!runs.empty() && runs.back().is_zero == is_zero) {
      runs.back().length += next - at;
    } else {
      runs.push_back({.offset = at, .length = next - at, .is_zero = is_zero});
    }
    at = next;
  }
  return runs;
}

}  // namespace h2bd::client
