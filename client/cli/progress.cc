#include "client/cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/size.h"
#include "core/base/types.h"

namespace h2bd::cli {
namespace {

constexpr absl::Duration kRedraw = absl::Milliseconds(100);
constexpr size_t kBarColumns = 20;

double Fraction(const ProgressState& state) {
  if (*state.total_bytes == 0) return 1;
  return std::min(1.0,
                  static_cast<double>(state.done_bytes) / static_cast<double>(*state.total_bytes));
}

std::string Bar(double fraction) {
  const size_t full = static_cast<size_t>(fraction * kBarColumns);
  std::string bar(full, '=');
  if (full < kBarColumns) bar += '>';
  bar.resize(kBarColumns, ' ');
  return absl::StrCat("[", bar, "]");
}

std::string TimeLeft(const ProgressState& state) {
  if (state.done_bytes == 0 || state.done_bytes >= *state.total_bytes) return "";
  const double left = static_cast<double>(*state.total_bytes - state.done_bytes) /
                      static_cast<double>(state.done_bytes);
  return absl::StrCat(FormatElapsed(state.elapsed * left), " left");
}

}  // namespace

std::string RenderProgress(const ProgressState& state, size_t columns) {
  std::vector<std::string> parts = {state.what};
  if (state.total_bytes.has_value()) {
    // Rounded down: 100% means all of it.
    parts.push_back(absl::StrFormat("%3d%%", static_cast<int>(Fraction(state) * 100)));
    parts.push_back(Bar(Fraction(state)));
    parts.push_back(
        absl::StrCat(FormatBytes(state.done_bytes), " of ", FormatBytes(*state.total_bytes)));
  } else {
    parts.push_back(FormatBytes(state.done_bytes));
  }
  parts.push_back(FormatRate(state.done_bytes, state.elapsed));
  if (state.total_bytes.has_value()) parts.push_back(TimeLeft(state));
  std::erase(parts, "");
  std::string line = absl::StrJoin(parts, "  ");
  if (line.size() > columns && state.total_bytes.has_value()) {
    parts.erase(parts.begin() + 2);
    line = absl::StrJoin(parts, "  ");
  }
  while (line.size() > columns && parts.size() > 2) {
    parts.pop_back();
    line = absl::StrJoin(parts, "  ");
  }
  if (line.size() > columns) line.resize(columns);
  return line;
}

ProgressMeter::ProgressMeter(std::string what, std::optional<uint64_t> total_bytes, Writer write,
                             size_t columns, const Clock& clock)
    : state_{.what = std::move(what), .total_bytes = total_bytes},
      write_(std::move(write)),
      columns_(columns),
      clock_(&clock),
      began_(clock.MonotonicNow()) {}

ProgressMeter ProgressMeter::ForStderr(std::string what, std::optional<uint64_t> total_bytes,
                                       bool wanted) {
  winsize size{};
  if (!wanted || isatty(STDERR_FILENO) == 0 || ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0) {
    return ProgressMeter(std::move(what), total_bytes, nullptr, 0);
  }
  // The last column stays free: some terminals wrap when it is written.
  const size_t columns = size.ws_col > 1 ? size.ws_col - 1u : 79;
  return ProgressMeter(
      std::move(what), total_bytes,
      [](absl::string_view text) { fwrite(text.data(), 1, text.size(), stderr); }, columns);
}

ProgressMeter::~ProgressMeter() {
  if (write_ != nullptr && drawn_.has_value()) write_("\r\x1b[K");
}

void ProgressMeter::Advance(uint64_t done_bytes) {
  state_.done_bytes = done_bytes;
  if (write_ == nullptr) return;
  const absl::Duration now = clock_->MonotonicNow();
  if (drawn_.has_value() && now - *drawn_ < kRedraw) return;
  drawn_ = now;
  state_.elapsed = now - began_;
  write_(absl::StrCat("\r", RenderProgress(state_, columns_), "\x1b[K"));
}

}  // namespace h2bd::cli
