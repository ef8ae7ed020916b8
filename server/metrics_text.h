// From core's plain counters to Prometheus.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <map>
#include <string>
#include <vector>

#include "core/base/metrics.h"
#include "core/volume/volume.h"
#include "server/rpc_metrics.h"

namespace h2bd {

// Gathers what is visited into families: metrics of one name, which may come in any order.
class FamilyCollector final : public MetricVisitor {
 public:
  void OnCounter(absl::string_view name, absl::string_view help, const MetricLabels& labels,
                 double value) override;
  void OnGauge(absl::string_view name, absl::string_view help, const MetricLabels& labels,
               double value) override;
  void OnHistogram(absl::string_view name, absl::string_view help, const MetricLabels& labels,
                   const Histogram& histogram) override;

  // Ordered by name.
  std::vector<prometheus::MetricFamily> Take();

 private:
  prometheus::ClientMetric& Add(absl::string_view name, absl::string_view help,
                                const MetricLabels& labels, prometheus::MetricType type);
  std::map<std::string, prometheus::MetricFamily> families_;
};

// Walks the volume's and the server's metrics at each scrape; touches neither disk nor volume lock.
// Both outlive it.
class MetricsSource final : public prometheus::Collectable {
 public:
  MetricsSource(const Volume& volume, const ServerMetrics& server)
      : volume_(volume), server_(server) {}
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const Volume& volume_;
  const ServerMetrics& server_;
};

// The text exposition format.
std::string MetricsText(const std::vector<prometheus::MetricFamily>& families);

}  // namespace h2bd
