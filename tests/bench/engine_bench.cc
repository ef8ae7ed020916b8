// Sequential writes into a disk through core/volume, in this process: format, write, Sync; the time
// of the last two.
//
//   engine_bench --device PATH --bytes N --io N --content random|text
//
// DESTROYS what PATH holds. Prints one JSON object: MB/s, and the seconds that each phase of the
// cycles took.
#include <cstdio>
#include <map>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "core/base/clock.h"
#include "core/base/metrics.h"
#include "tests/bench/payload.h"
#include "tests/bench/scratch_volume.h"

namespace h2bd::bench {
namespace {

struct Arguments {
  std::string device, content = "random";
  uint64_t bytes = kGiB, io_bytes = 64 * kKiB;
};

// Adds up the phases of all cycles.
class PhaseSums final : public MetricVisitor {
 public:
  void OnCounter(absl::string_view, absl::string_view, const MetricLabels&, double) override {}
  void OnGauge(absl::string_view, absl::string_view, const MetricLabels&, double) override {}
  void OnHistogram(absl::string_view name, absl::string_view, const MetricLabels& labels,
                   const Histogram& histogram) override {
    if (name != "h2bd_flush_phase_duration_seconds") return;
    for (const auto& [label, value] : labels) {
      if (label == "phase") seconds_[value] += histogram.Read().sum;
    }
  }
  std::string Json() const {
    std::string json = "{";
    for (const auto& [phase, seconds] : seconds_) {
      absl::StrAppend(&json, json.size() > 1 ? ", " : "", "\"", phase, "\": ", seconds);
    }
    return json + "}";
  }

 private:
  std::map<std::string, double> seconds_;
};

absl::Status Run(const Arguments& arguments) {
  H2_ASSIGN_OR_RETURN(const Content content, ParseContent(arguments.content));
  PayloadSource payload(content, SystemRandom().Next64());
  H2_ASSIGN_OR_RETURN(const std::unique_ptr<Volume> volume, MakeScratchVolume(arguments.device));
  H2_ASSIGN_OR_RETURN(const DiskRef disk, MakeDisk(*volume, "bench", arguments.bytes));

  const absl::Duration begin = SystemClock().MonotonicNow();
  for (uint64_t at = 0; at < arguments.bytes; at += arguments.io_bytes) {
    H2_RETURN_IF_ERROR(volume->Write(disk, at, payload.Next(arguments.io_bytes), {}).status());
  }
  const absl::Duration accepted = SystemClock().MonotonicNow() - begin;
  H2_RETURN_IF_ERROR(volume->Sync(nullptr, {}).status());
  const absl::Duration durable = SystemClock().MonotonicNow() - begin;

  PhaseSums phases;
  volume->Describe(phases);
  const double mb = static_cast<double>(arguments.bytes) / 1e6;
  std::printf(R"({"mb_per_s": %.1f, "accepted_mb_per_s": %.1f, "phase_seconds": %s})"
              "\n",
              mb / absl::ToDoubleSeconds(durable), mb / absl::ToDoubleSeconds(accepted),
              phases.Json().c_str());
  return volume->Close();
}

}  // namespace
}  // namespace h2bd::bench

int main(int argc, char** argv) {
  h2bd::bench::TuneAllocator();
  h2bd::bench::Arguments arguments;
  CLI::App app("Sequential writes through the engine, without RPC");
  app.add_option("--device", arguments.device, "file or block device; is formatted")->required();
  app.add_option("--bytes", arguments.bytes, "bytes to write, a multiple of --io");
  app.add_option("--io", arguments.io_bytes, "bytes of one write");
  app.add_option("--content", arguments.content, "random or text");
  CLI11_PARSE(app, argc, argv);
  if (const absl::Status status = h2bd::bench::Run(arguments); !status.ok()) {
    h2bd::bench::Die("engine_bench", status);
  }
  return 0;
}
