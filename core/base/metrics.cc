#include "core/base/metrics.h"

#include <algorithm>

namespace h2bd {

Histogram::Histogram(std::span<const double> upper_bounds)
    : bounds_(upper_bounds), buckets_(upper_bounds.size() + 1) {}

void Histogram::Observe(double value) {
  const auto it = std::lower_bound(bounds_.begin(), bounds_.end(), value);
  buckets_[static_cast<size_t>(it - bounds_.begin())].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

Histogram::Snapshot Histogram::Read() const {
  Snapshot snapshot;
  snapshot.buckets.reserve(buckets_.size());
  for (const auto& bucket : buckets_) {
    snapshot.buckets.push_back(bucket.load(std::memory_order_relaxed));
    snapshot.count += snapshot.buckets.back();
  }
  snapshot.sum = sum_.load(std::memory_order_relaxed);
  return snapshot;
}

std::span<const double> LatencyBuckets() {
  static constexpr std::array kBounds = {50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3,
                                         10e-3, 20e-3,  50e-3,  0.1,    0.2,  0.5,  1.0,
                                         2.0,   5.0,    10.0,   20.0,   60.0};
  return kBounds;
}

std::span<const double> CountBuckets() {
  static constexpr std::array kBounds = {1.,   2.,   4.,   8.,    16.,   32.,  64.,
                                         128., 256., 512., 1024., 2048., 4096.};
  return kBounds;
}

}  // namespace h2bd
