// Plain counters, gauges and histograms. They lie beside the code that they count; server/ walks
// them through a MetricVisitor. core/ knows nothing of Prometheus.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace h2bd {

// All updates are relaxed atomics: safe from any thread, never a lock.
class Counter {
 public:
  void Add(uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

class Gauge {
 public:
  void Set(int64_t v) { value_.store(v, std::memory_order_relaxed); }
  void Add(int64_t n) { value_.fetch_add(n, std::memory_order_relaxed); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

// Cumulative-bucket histogram. The bounds are fixed when it is made.
class Histogram {
 public:
  // `upper_bounds` ascending; one more bucket, +Inf, is implied. The span must outlive it.
  explicit Histogram(std::span<const double> upper_bounds);
  void Observe(double value);
  void Observe(absl::Duration latency) { Observe(absl::ToDoubleSeconds(latency)); }

  struct Snapshot {
    std::vector<uint64_t> buckets;  // not cumulative; the last is +Inf
    uint64_t count = 0;
    double sum = 0;
  };
  Snapshot Read() const;
  std::span<const double> upper_bounds() const { return bounds_; }

 private:
  std::span<const double> bounds_;
  std::vector<std::atomic<uint64_t>> buckets_;
  std::atomic<double> sum_{0};
};

// 50 us … 60 s, about three buckets for each factor of ten (spec 04 section 10).
std::span<const double> LatencyBuckets();
// 1, 2, 4 … 4096.
std::span<const double> CountBuckets();

// A latency histogram with the buckets of spec 04 section 10.
class LatencyHistogram : public Histogram {
 public:
  LatencyHistogram() : Histogram(LatencyBuckets()) {}
};

using MetricLabels = std::vector<std::pair<std::string, std::string>>;

// Receives every metric of an object. `help` is one sentence; `name` carries the prefix h2bd_.
class MetricVisitor {
 public:
  virtual ~MetricVisitor() = default;
  virtual void OnCounter(absl::string_view name, absl::string_view help, const MetricLabels& labels,
                         double value) = 0;
  virtual void OnGauge(absl::string_view name, absl::string_view help, const MetricLabels& labels,
                       double value) = 0;
  virtual void OnHistogram(absl::string_view name, absl::string_view help,
                           const MetricLabels& labels, const Histogram& histogram) = 0;
};

}  // namespace h2bd
