#include "client/cli/render.h"

#include <string>

#include "absl/status/status.h"

namespace h2bd::cli {

using client::DiskInfo;
using client::FlushCycleInfo;
using client::TransactionInfo;
using client::VolumeInfo;

namespace {

// null when there is none.
Json FailureJson(const absl::Status& failure) {
  if (failure.ok()) return nullptr;
  return {{"code", absl::StatusCodeToString(failure.code())},
          {"message", std::string(failure.message())}};
}

}  // namespace

Json DiskJson(const DiskInfo& disk) {
  return {{"name", disk.name.ToString()},
          {"size_bytes", disk.size_bytes},
          {"stored_bytes", disk.stored_bytes},
          {"compression", std::string(Name(disk.compression))},
          {"check_code", std::string(Name(disk.check_code))},
          {"inode_number", disk.inode_number},
          {"damaged", disk.damaged},
          {"create_time", TimeText(disk.create_time)},
          {"modify_time", TimeText(disk.modify_time)}};
}

Json VolumeJson(const VolumeInfo& volume) {
  return {{"fsid", volume.fsid},
          {"format_version", volume.format_version},
          {"devices", volume.devices},
          {"total_bytes", volume.total_bytes},
          {"space",
           {{"total_bytes", volume.space.total_bytes},
            {"allocated_bytes", volume.space.allocated_bytes},
            {"staged_bytes", volume.space.staged_bytes},
            {"free_bytes", volume.space.free_bytes},
            {"reserved_bytes", volume.space.reserved_bytes},
            {"unreadable_bytes", volume.space.unreadable_bytes}}},
          {"header_slot", volume.header_slot},
          {"header_slots", volume.header_slots},
          {"mirror_tid", volume.mirror_tid},
          {"freemap_tid", volume.freemap_tid},
          {"seq", volume.seq},
          {"durable_seq", volume.durable_seq},
          {"dirty_bytes", volume.dirty_bytes},
          {"dirty_limit_bytes", volume.dirty_limit_bytes},
          {"cached_block_bytes", volume.cached_block_bytes},
          {"cached_chain_bytes", volume.cached_chain_bytes},
          {"read_only", volume.read_only},
          {"failure", FailureJson(volume.failure)},
          {"default_pfs", volume.default_pfs},
          {"server_version", volume.server_version}};
}

namespace {

Json PhasesJson(const std::vector<client::FlushPhaseInfo>& phases) {
  Json json = Json::object();
  for (const client::FlushPhaseInfo& phase : phases) {
    json[phase.name] = absl::ToDoubleSeconds(phase.took);
  }
  return json;
}

}  // namespace

Json SyncJson(const client::SyncInfo& sync) {
  return {{"durable_seq", sync.durable_seq},
          {"mirror_tid", sync.mirror_tid},
          {"header_slot", sync.header_slot},
          {"phase_seconds", PhasesJson(sync.phases)}};
}

Json FlushCycleJson(const FlushCycleInfo& cycle) {
  return {{"number", cycle.number},
          {"start_time", TimeText(cycle.start_time)},
          {"seconds", absl::ToDoubleSeconds(cycle.took)},
          {"reason", std::string(Name(cycle.reason))},
          {"failure", FailureJson(cycle.failure)},
          {"cut_seq", cycle.cut_seq},
          {"mirror_tid", cycle.mirror_tid},
          {"header_slot", cycle.header_slot},
          {"disks", cycle.disks},
          {"data_blocks", cycle.data_blocks},
          {"data_bytes", cycle.data_bytes},
          {"phase_seconds", PhasesJson(cycle.phases)}};
}

Json TransactionJson(const TransactionInfo& transaction) {
  return {{"transaction", transaction.id},
          {"state", std::string(Name(transaction.state))},
          {"seq", transaction.seq}};
}

}  // namespace h2bd::cli
