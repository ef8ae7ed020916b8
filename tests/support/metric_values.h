// What an object's metrics say at one moment.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "core/base/metrics.h"

namespace h2bd {

// Each value under the name that a scrape shows: "h2bd_opseq",
// "h2bd_flush_cycles_total{result=ok}", several labels with a comma between them. A histogram is a
// count and a sum: "h2bd_sync_wait_seconds_count".
class MetricValues final : public MetricVisitor {
 public:
  // `described` has a Describe(MetricVisitor&).
  template <class Described>
  explicit MetricValues(const Described& described) {
    described.Describe(*this);
  }

  bool has(absl::string_view key) const { return values_.find(key) != values_.end(); }
  // -1 when there is no such metric.
  double operator[](absl::string_view key) const {
    const auto it = values_.find(key);
    return it == values_.end() ? -1 : it->second;
  }
  // Over all labels.
  double Sum(absl::string_view name) const {
    double sum = 0;
    const std::string labelled = absl::StrCat(name, "{");
    for (const auto& [key, value] : values_) {
      if (key == name || absl::string_view(key).substr(0, labelled.size()) == labelled) {
        sum += value;
      }
    }
    return sum;
  }
  const std::map<std::string, double, std::less<>>& all() const { return values_; }
  // Names that came more than once; empty when all is well.
  const std::string& twice() const { return twice_; }

  void OnCounter(absl::string_view name, absl::string_view, const MetricLabels& labels,
                 double value) override {
    Keep(name, labels, value);
  }
  void OnGauge(absl::string_view name, absl::string_view, const MetricLabels& labels,
               double value) override {
    Keep(name, labels, value);
  }
  void OnHistogram(absl::string_view name, absl::string_view, const MetricLabels& labels,
                   const Histogram& histogram) override {
    const Histogram::Snapshot read = histogram.Read();
    Keep(absl::StrCat(name, "_count"), labels, static_cast<double>(read.count));
    Keep(absl::StrCat(name, "_sum"), labels, read.sum);
  }

 private:
  void Keep(absl::string_view name, const MetricLabels& labels, double value) {
    const std::string key =
        labels.empty()
            ? std::string(name)
            : absl::StrCat(name, "{", absl::StrJoin(labels, ",", absl::PairFormatter("=")), "}");
    // Two values under one name would hide each other in a scrape.
    if (!values_.emplace(key, value).second) twice_ += " " + key;
  }
  std::map<std::string, double, std::less<>> values_;
  std::string twice_;
};

}  // namespace h2bd
