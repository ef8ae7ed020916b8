#include "server/rpc_metrics.h"

#include "server/status_map.h"

namespace h2bd {

absl::string_view Name(Method method) {
  static constexpr std::array<absl::string_view, kMethods> kNames = {
      "DiskService.CreateDisk",
      "DiskService.GetDisk",
      "DiskService.ListDisks",
      "DiskService.ResizeDisk",
      "DiskService.RenameDisk",
      "DiskService.DeleteDisk",
      "IoService.Read",
      "IoService.Write",
      "IoService.WriteZeroes",
      "IoService.Discard",
      "IoService.Sync",
      "TransactionService.BeginTransaction",
      "TransactionService.CommitTransaction",
      "TransactionService.AbortTransaction",
      "TransactionService.GetTransaction",
      "VolumeService.GetVolume",
      "VolumeService.ListPfs",
      "VolumeService.ListFlushCycles",
      "Channel.OPEN",
      "Channel.CLOSE",
      "Channel.READ",
      "Channel.WRITE",
      "Channel.WRITE_ZEROES",
      "Channel.DISCARD",
      "Channel.SYNC",
      "Channel.BAD_FRAME",
  };
  return kNames[static_cast<size_t>(method)];
}

RpcScope::RpcScope(MethodMetrics& metrics, const Clock& clock)
    : metrics_(&metrics), clock_(&clock), begin_(clock.MonotonicNow()) {
  metrics_->in_flight.Add(1);
}

void RpcScope::Finish(const absl::Status& status) {
  metrics_->in_flight.Add(-1);
  metrics_->seconds.Observe(clock_->MonotonicNow() - begin_);
  const size_t code = static_cast<size_t>(status.raw_code());
  const size_t known =
      code < metrics_->codes.size() ? code : static_cast<size_t>(absl::StatusCode::kUnknown);
  metrics_->codes[known].Add();
}

void ServerMetrics::Describe(MetricVisitor& visit) const {
  for (size_t i = 0; i < kMethods; ++i) {
    const MethodMetrics& m = methods_[i];
    const std::string method(Name(static_cast<Method>(i)));
    visit.OnHistogram("h2bd_rpc_duration_seconds", "Time from a call's arrival to its answer.",
                      {{"method", method}}, m.seconds);
    visit.OnGauge("h2bd_rpc_in_flight", "Calls that have arrived and are not answered yet.",
                  {{"method", method}}, static_cast<double>(m.in_flight.value()));
    for (size_t code = 0; code < m.codes.size(); ++code) {
      const uint64_t count = m.codes[code].value();
      if (count == 0 && code != 0) continue;
      visit.OnCounter("h2bd_rpc_calls_total", "Calls answered, by status code.",
                      {{"method", method}, {"code", CodeName(static_cast<absl::StatusCode>(code))}},
                      static_cast<double>(count));
    }
  }
  const auto counter = [&visit](const char* name, const char* help, const Counter& c) {
    visit.OnCounter(name, help, {}, static_cast<double>(c.value()));
  };
  counter("h2bd_rpc_received_payload_bytes_total", "Bytes of data in write requests.",
          received_payload_bytes);
  counter("h2bd_rpc_sent_payload_bytes_total", "Bytes of data in answers to reads.",
          sent_payload_bytes);
  counter("h2bd_rpc_refused_total", "Calls and streams refused by a limit or because of draining.",
          refused_calls);
  counter("h2bd_channel_inline_writes_total", "Channel writes carried out by a network thread.",
          inline_writes);
  counter("h2bd_channel_handed_over_writes_total",
          "Channel writes handed to a worker because they would have waited.", handed_over_writes);
  counter("h2bd_channel_cumulative_answers_total",
          "Channel operations answered by the frame of another one.", cumulative_answers);
  visit.OnGauge("h2bd_channel_streams", "Channel streams that are open.", {},
                static_cast<double>(channels.value()));
}

}  // namespace h2bd
