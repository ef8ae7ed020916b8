// What cycles tell their callers, as protobuf spells it.
#pragma once

#include <array>

#include "core/flush/flush_types.h"
#include "h2bd/v1/durability.pb.h"
#include "h2bd/v1/io_service.pb.h"

namespace h2bd {

using FlushPhases = google::protobuf::RepeatedPtrField<v1::FlushPhase>;

// All phases in their order, those that were not reached with a duration of 0.
void ToProto(const std::array<absl::Duration, kFlushPhases>& phases, FlushPhases& out);
void ToProto(const SyncResult& result, v1::SyncResponse& response);

}  // namespace h2bd
