// The progress line of import and export: one line that redraws itself, on a terminal only.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/base/clock.h"

namespace h2bd::cli {

struct ProgressState {
  std::string what;  // "import vm1"
  uint64_t done_bytes = 0;
  std::optional<uint64_t> total_bytes;  // unknown for a pipe
  absl::Duration elapsed;
};

// One line of at most `columns` characters, without a line end:
//   import vm1  45% [=========>          ]  1.2 GiB of 2.6 GiB  512.0 MiB/s  2.7 s left
// What does not fit is left out, the bar first. Without a total there is neither bar nor time left.
std::string RenderProgress(const ProgressState& state, size_t columns);

// Draws the line at most ten times a second. Not thread-safe.
class ProgressMeter {
 public:
  // `write` gets what goes to the terminal; null: nobody watches, and nothing is drawn.
  using Writer = std::function<void(absl::string_view)>;
  ProgressMeter(std::string what, std::optional<uint64_t> total_bytes, Writer write, size_t columns,
                const Clock& clock = SystemClock());
  // Watches stderr when it is a terminal and `wanted`.
  static ProgressMeter ForStderr(std::string what, std::optional<uint64_t> total_bytes,
                                 bool wanted);
  // Wipes the line, so that the next message stands alone.
  ~ProgressMeter();
  ProgressMeter(ProgressMeter&&) = default;

  void Advance(uint64_t done_bytes);
  absl::Duration elapsed() const { return clock_->MonotonicNow() - began_; }

 private:
  ProgressState state_;
  Writer write_;
  size_t columns_;
  const Clock* clock_;
  absl::Duration began_;
  std::optional<absl::Duration> drawn_;  // when last
};

}  // namespace h2bd::cli
