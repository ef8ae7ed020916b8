#include "server/flush_proto.h"

#include <string>

#include "server/proto_time.h"

namespace h2bd {

void ToProto(const std::array<absl::Duration, kFlushPhases>& phases, FlushPhases& out) {
  for (int i = 0; i < kFlushPhases; ++i) {
    v1::FlushPhase& phase = *out.Add();
    phase.set_name(std::string(Name(static_cast<FlushPhase>(i))));
    ToProto(phases[static_cast<size_t>(i)], *phase.mutable_duration());
  }
}

void ToProto(const SyncResult& result, v1::SyncResponse& response) {
  response.set_durable_seq(result.durable_opseq.v);
  response.set_mirror_tid(result.mirror_tid.v);
  response.set_header_slot(static_cast<uint32_t>(result.header_slot));
  ToProto(result.phases, *response.mutable_phases());
}

}  // namespace h2bd
