#include "server/metrics_text.h"

#include <prometheus/text_serializer.h>

#include <limits>
#include <sstream>
#include <utility>

#include "server/utf8.h"
#include "server/version.h"

namespace h2bd {

prometheus::ClientMetric& FamilyCollector::Add(absl::string_view name, absl::string_view help,
                                               const MetricLabels& labels,
                                               prometheus::MetricType type) {
  prometheus::MetricFamily& family = families_[std::string(name)];
  if (family.name.empty()) {
    family.name = std::string(name);
    family.help = std::string(help);
    family.type = type;
  }
  // One name with two types is a bug of ours that would make the whole page unreadable.
  H2_ASSERT(family.type == type);
  prometheus::ClientMetric& metric = family.metric.emplace_back();
  for (const auto& [label, value] : labels) {
    metric.label.push_back({label, ReplaceInvalidUtf8(value)});
  }
  return metric;
}

void FamilyCollector::OnCounter(absl::string_view name, absl::string_view help,
                                const MetricLabels& labels, double value) {
  Add(name, help, labels, prometheus::MetricType::Counter).counter.value = value;
}

void FamilyCollector::OnGauge(absl::string_view name, absl::string_view help,
                              const MetricLabels& labels, double value) {
  Add(name, help, labels, prometheus::MetricType::Gauge).gauge.value = value;
}

void FamilyCollector::OnHistogram(absl::string_view name, absl::string_view help,
                                  const MetricLabels& labels, const Histogram& histogram) {
  prometheus::ClientMetric::Histogram& out =
      Add(name, help, labels, prometheus::MetricType::Histogram).histogram;
  const Histogram::Snapshot snapshot = histogram.Read();
  const std::span<const double> bounds = histogram.upper_bounds();
  uint64_t cumulative = 0;
  for (size_t i = 0; i < snapshot.buckets.size(); ++i) {
    cumulative += snapshot.buckets[i];
    const double bound = i < bounds.size() ? bounds[i] : std::numeric_limits<double>::infinity();
    out.bucket.push_back({cumulative, bound});
  }
  out.sample_count = snapshot.count;
  out.sample_sum = snapshot.sum;
}

std::vector<prometheus::MetricFamily> FamilyCollector::Take() {
  std::vector<prometheus::MetricFamily> families;
  families.reserve(families_.size());
  for (auto& [name, family] : families_) families.push_back(std::move(family));
  families_.clear();
  return families;
}

std::vector<prometheus::MetricFamily> MetricsSource::Collect() const {
  FamilyCollector collector;
  collector.OnGauge("h2bd_build_info", "Always 1; the version is in the label.",
                    {{"version", kVersion}}, 1);
  server_.Describe(collector);
  volume_.Describe(collector);
  return collector.Take();
}

std::string MetricsText(const std::vector<prometheus::MetricFamily>& families) {
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return out.str();
}

}  // namespace h2bd
