#include "tests/bench/load.h"

#include <time.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/bytes.h"
#include "core/base/clock.h"
#include "core/base/types.h"
#include "core/media/check_code.h"
#include "tests/bench/payload.h"

namespace h2bd::bench {
namespace {

constexpr size_t kSamplesReserved = 1 << 17;

void SleepUntil(absl::Duration due) {
  const absl::Duration left = due - SystemClock().MonotonicNow();
  if (left <= absl::ZeroDuration()) return;
  const timespec time = absl::ToTimespec(left);
  nanosleep(&time, nullptr);
}

}  // namespace

Load::Load(double per_second, std::function<absl::Status()> step)
    : per_second_(per_second), step_(std::move(step)) {
  samples_.reserve(kSamplesReserved);
  thread_ = std::thread([this] { Run(); });
}

Load::~Load() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
}

void Load::Run() {
  const absl::Duration start = SystemClock().MonotonicNow();
  for (int64_t n = 0; !stopping_; ++n) {
    LoadSample sample;
    if (per_second_ > 0) {
      sample.due = start + absl::Seconds(static_cast<double>(n) / per_second_);
      SleepUntil(sample.due);
    }
    sample.began = SystemClock().MonotonicNow();
    status_ = step_();
    sample.ended = SystemClock().MonotonicNow();
    if (!status_.ok()) return;
    if (per_second_ == 0) sample.due = sample.began;
    samples_.push_back(sample);
  }
}

absl::StatusOr<std::vector<LoadSample>> Load::Stop() {
  stopping_ = true;
  thread_.join();
  if (!status_.ok()) return status_;
  return std::move(samples_);
}

std::string LoadJson(const std::vector<LoadSample>& samples, const Window& window) {
  std::vector<absl::Duration> response, service;
  for (const LoadSample& sample : samples) {
    if (sample.due < window.from || sample.due >= window.to) continue;
    response.push_back(sample.ended - sample.due);
    service.push_back(sample.ended - sample.began);
  }
  return absl::StrCat("{\"response\": ", LatencyJson(std::move(response)),
                      ", \"service\": ", LatencyJson(std::move(service)), "}");
}

Burners::Burners() {
  const unsigned count = std::clamp(std::thread::hardware_concurrency(), 1U, 8U);
  for (unsigned i = 0; i < count; ++i) {
    threads_.emplace_back([this] {
      const AlignedBuffer from = AlignedBuffer::Zeroed(64 * kMiB);
      AlignedBuffer to(64 * kKiB);
      for (uint64_t at = 0; !stopping_; at = (at + to.size()) % from.size()) {
        std::memcpy(to.data(), from.data() + at, to.size());
        StoreAs(to.span(), Xxhash64(to.span()));
      }
    });
  }
}

Burners::~Burners() {
  stopping_ = true;
  for (std::thread& thread : threads_) thread.join();
}

}  // namespace h2bd::bench
