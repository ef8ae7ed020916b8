// What the server counts of its own calls.
#pragma once

#include <array>
#include <string>

#include "absl/status/status.h"
#include "core/base/clock.h"
#include "core/base/metrics.h"

namespace h2bd {

// Values of the label `method`. Operations on a Channel are counted like calls.
enum class Method {
  kCreateDisk,
  kGetDisk,
  kListDisks,
  kResizeDisk,
  kRenameDisk,
  kDeleteDisk,
  kRead,
  kWrite,
  kWriteZeroes,
  kDiscard,
  kSync,
  kBeginTransaction,
  kCommitTransaction,
  kAbortTransaction,
  kGetTransaction,
  kGetVolume,
  kListPfs,
  kListFlushCycles,
  kChannelOpen,
  kChannelClose,
  kChannelRead,
  kChannelWrite,
  kChannelWriteZeroes,
  kChannelDiscard,
  kChannelSync,
  kChannelBadFrame,
};
inline constexpr size_t kMethods = 26;
absl::string_view Name(Method method);  // "DiskService.CreateDisk", "Channel.READ"

struct MethodMetrics {
  LatencyHistogram seconds;
  Gauge in_flight;
  std::array<Counter, 17> codes;  // by number
};

// Thread-safe.
class ServerMetrics {
 public:
  MethodMetrics& of(Method method) { return methods_[static_cast<size_t>(method)]; }

  Counter received_payload_bytes, sent_payload_bytes;
  Gauge channels;              // Channel streams open
  Counter refused_calls;       // because of a limit, or of draining
  Counter inline_writes;       // Channel writes that a network thread carried out itself
  Counter handed_over_writes;  // those that would have waited
  Counter cumulative_answers;  // operations answered by the frame of another one

  void Describe(MetricVisitor& visit) const;

 private:
  std::array<MethodMetrics, kMethods> methods_;
};

// One call from its arrival to its answer. Movable through the stages of the call; Finish exactly
// once.
class RpcScope {
 public:
  RpcScope(MethodMetrics& metrics, const Clock& clock);
  void Finish(const absl::Status& status);

 private:
  MethodMetrics* metrics_;
  const Clock* clock_;
  absl::Duration begin_;
};

}  // namespace h2bd
