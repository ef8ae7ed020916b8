#include "server/volume_service.h"

#include <algorithm>

#include "server/flush_proto.h"
#include "server/proto_time.h"
#include "server/resource_names.h"
#include "server/status_map.h"
#include "server/utf8.h"
#include "server/version.h"

namespace h2bd {
namespace {

v1::FlushReason ToProto(CycleReason reason) {
  switch (reason) {
    case CycleReason::kSync:
      return v1::FLUSH_REASON_SYNC;
    case CycleReason::kAge:
      return v1::FLUSH_REASON_AGE;
    case CycleReason::kPressure:
      return v1::FLUSH_REASON_PRESSURE;
    case CycleReason::kRetry:
      return v1::FLUSH_REASON_RETRY;
    case CycleReason::kRequest:
      return v1::FLUSH_REASON_REQUEST;
    case CycleReason::kClose:
      return v1::FLUSH_REASON_CLOSE;
  }
  return v1::FLUSH_REASON_UNSPECIFIED;
}

void ToProto(const absl::Status& status, v1::Failure& failure) {
  failure.set_code(status.raw_code());
  failure.set_message(WireMessage(status));
}

}  // namespace

void ToProto(const VolumeStatus& status, v1::Volume& volume) {
  volume.set_fsid(status.fsid);
  volume.set_format_version(status.version);
  for (const std::string& device : status.devices) {
    volume.add_devices(ReplaceInvalidUtf8(device));
  }
  volume.set_total_bytes(status.total_bytes);
  v1::Space& space = *volume.mutable_space();
  space.set_total_bytes(status.space.total_bytes);
  space.set_allocated_bytes(status.space.allocated_bytes);
  space.set_staged_bytes(status.space.staged_bytes);
  space.set_free_bytes(status.space.free_bytes);
  space.set_reserved_bytes(status.space.reserved_bytes);
  space.set_unreadable_bytes(status.space.unreadable_bytes);
  volume.set_header_slot(static_cast<uint32_t>(status.header_slot));
  volume.set_header_slots(static_cast<uint32_t>(status.header_slots));
  volume.set_mirror_tid(status.mirror_tid.v);
  volume.set_freemap_tid(status.freemap_tid.v);
  volume.set_seq(status.opseq.v);
  volume.set_durable_seq(status.durable_opseq.v);
  volume.set_dirty_bytes(status.dirty_bytes);
  volume.set_dirty_limit_bytes(status.dirty_limit_bytes);
  volume.set_cached_block_bytes(status.cached_block_bytes);
  volume.set_cached_chain_bytes(status.cached_chain_bytes);
  volume.set_read_only(status.read_only);
  if (!status.failure.ok()) ToProto(status.failure, *volume.mutable_failure());
  if (!status.default_pfs.empty()) volume.set_default_pfs(FormatPfsName(status.default_pfs));
  volume.set_server_version(kVersion);
}

void ToProto(const PfsInfo& info, v1::Pfs& pfs) {
  pfs.set_name(FormatPfsName(info.label));
  pfs.set_type(info.type);
  pfs.set_subtype(info.subtype);
  pfs.set_clid(FormatUuid(info.clid));
  pfs.set_fsid(FormatUuid(info.fsid));
}

void ToProto(const CycleRecord& record, v1::FlushCycle& cycle) {
  cycle.set_number(record.number);
  ToProto(record.began, *cycle.mutable_start_time());
  ToProto(record.took, *cycle.mutable_duration());
  cycle.set_reason(ToProto(record.reason));
  if (!record.status.ok()) ToProto(record.status, *cycle.mutable_failure());
  cycle.set_cut_seq(record.cut.v);
  cycle.set_mirror_tid(record.mirror_tid.v);
  cycle.set_header_slot(static_cast<uint32_t>(record.header_slot));
  cycle.set_disks(record.disks);
  cycle.set_data_blocks(record.data_blocks);
  cycle.set_data_bytes(record.data_bytes);
  ToProto(record.phases, *cycle.mutable_phases());
}

grpc::ServerUnaryReactor* VolumeServiceImpl::GetVolume(grpc::CallbackServerContext* context,
                                                       const v1::GetVolumeRequest*,
                                                       v1::GetVolumeResponse* response) {
  return RunUnary(env_, Method::kGetVolume, *context, [this, response](UnaryCall&) {
    ToProto(env_.volume.GetStatus(), *response->mutable_volume());
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* VolumeServiceImpl::ListPfs(grpc::CallbackServerContext* context,
                                                     const v1::ListPfsRequest*,
                                                     v1::ListPfsResponse* response) {
  return RunUnary(env_, Method::kListPfs, *context, [this, response](UnaryCall&) {
    for (const PfsInfo& info : env_.volume.ListPfs()) ToProto(info, *response->add_pfs());
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* VolumeServiceImpl::ListFlushCycles(
    grpc::CallbackServerContext* context, const v1::ListFlushCyclesRequest* request,
    v1::ListFlushCyclesResponse* response) {
  return RunUnary(env_, Method::kListFlushCycles, *context, [this, request, response](UnaryCall&) {
    const std::vector<CycleRecord> cycles = env_.volume.RecentCycles();
    const size_t wanted = request->limit() == 0 ? cycles.size() : request->limit();
    for (size_t i = cycles.size() - std::min(wanted, cycles.size()); i < cycles.size(); ++i) {
      ToProto(cycles[i], *response->add_cycles());
    }
    return absl::OkStatus();
  });
}

}  // namespace h2bd
