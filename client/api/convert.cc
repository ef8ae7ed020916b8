#include "client/api/convert.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/api/resource_name.h"
#include "core/base/status.h"

namespace h2bd::client {
namespace {

absl::Status BadAnswer(absl::string_view what, const absl::Status& why) {
  return absl::InternalError(
      absl::StrCat("the server's answer has a bad ", what, ": ", why.message()));
}

absl::Time FromProto(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

absl::Duration FromProto(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

absl::Status FromProto(const v1::Failure& failure) {
  return absl::Status(static_cast<absl::StatusCode>(failure.code()), failure.message());
}

FlushReason FromProto(v1::FlushReason reason) {
  switch (reason) {
    case v1::FLUSH_REASON_SYNC:
      return FlushReason::kSync;
    case v1::FLUSH_REASON_AGE:
      return FlushReason::kAge;
    case v1::FLUSH_REASON_PRESSURE:
      return FlushReason::kPressure;
    case v1::FLUSH_REASON_RETRY:
      return FlushReason::kRetry;
    case v1::FLUSH_REASON_REQUEST:
      return FlushReason::kRequest;
    case v1::FLUSH_REASON_CLOSE:
      return FlushReason::kClose;
    default:
      return FlushReason::kUnknown;
  }
}

Compression FromProto(v1::Compression compression) {
  switch (compression) {
    case v1::COMPRESSION_NONE:
      return Compression::kNone;
    case v1::COMPRESSION_AUTOZERO:
      return Compression::kAutozero;
    case v1::COMPRESSION_LZ4:
      return Compression::kLz4;
    case v1::COMPRESSION_ZLIB:
      return Compression::kZlib;
    default:
      return Compression::kUnknown;
  }
}

CheckCode FromProto(v1::CheckCode check_code) {
  switch (check_code) {
    case v1::CHECK_CODE_NONE:
      return CheckCode::kNone;
    case v1::CHECK_CODE_DISABLED:
      return CheckCode::kDisabled;
    case v1::CHECK_CODE_ISCSI32:
      return CheckCode::kIscsi32;
    case v1::CHECK_CODE_XXHASH64:
      return CheckCode::kXxhash64;
    case v1::CHECK_CODE_SHA192:
      return CheckCode::kSha192;
    case v1::CHECK_CODE_FREEMAP:
      return CheckCode::kFreemap;
    default:
      return CheckCode::kUnknown;
  }
}

TransactionState FromProto(v1::TransactionState state) {
  switch (state) {
    case v1::TRANSACTION_STATE_OPEN:
      return TransactionState::kOpen;
    case v1::TRANSACTION_STATE_PREPARING:
      return TransactionState::kPreparing;
    case v1::TRANSACTION_STATE_APPLIED:
      return TransactionState::kApplied;
    case v1::TRANSACTION_STATE_DURABLE:
      return TransactionState::kDurable;
    case v1::TRANSACTION_STATE_ABORTED:
      return TransactionState::kAborted;
    case v1::TRANSACTION_STATE_EXPIRED:
      return TransactionState::kExpired;
    default:
      return TransactionState::kUnknown;
  }
}

SpaceInfo FromProto(const v1::Space& space) {
  return {.total_bytes = space.total_bytes(),
          .allocated_bytes = space.allocated_bytes(),
          .staged_bytes = space.staged_bytes(),
          .free_bytes = space.free_bytes(),
          .reserved_bytes = space.reserved_bytes(),
          .unreadable_bytes = space.unreadable_bytes()};
}

}  // namespace

absl::StatusOr<DiskInfo> FromProto(const v1::Disk& disk) {
  DiskInfo info;
  absl::StatusOr<DiskName> name = DiskName::FromResource(disk.name());
  if (!name.ok()) return BadAnswer("disk", name.status());
  info.name = *std::move(name);
  info.size_bytes = disk.size_bytes();
  info.stored_bytes = disk.stored_bytes();
  if (disk.has_create_time()) info.create_time = FromProto(disk.create_time());
  if (disk.has_modify_time()) info.modify_time = FromProto(disk.modify_time());
  info.compression = FromProto(disk.compression());
  info.check_code = FromProto(disk.check_code());
  info.inode_number = disk.inode_number();
  info.damaged = disk.damaged();
  return info;
}

absl::StatusOr<TransactionInfo> FromProto(const v1::Transaction& transaction) {
  absl::string_view id = transaction.name();
  if (!absl::ConsumePrefix(&id, "transactions/") || id.empty()) {
    return BadAnswer("transaction", absl::InvalidArgumentError(transaction.name()));
  }
  TransactionInfo info;
  info.id = std::string(id);
  info.state = FromProto(transaction.state());
  info.seq = transaction.seq();
  info.staged_bytes = transaction.staged_bytes();
  info.writes = transaction.writes();
  info.expires_in = FromProto(transaction.expires_in());
  return info;
}

absl::StatusOr<PfsInfo> FromProto(const v1::Pfs& pfs) {
  absl::StatusOr<std::string> label = PfsLabel(pfs.name());
  if (!label.ok()) return BadAnswer("PFS", label.status());
  return PfsInfo{.label = *std::move(label),
                 .type = pfs.type(),
                 .subtype = pfs.subtype(),
                 .clid = pfs.clid(),
                 .fsid = pfs.fsid()};
}

VolumeInfo FromProto(const v1::Volume& volume) {
  VolumeInfo info;
  info.fsid = volume.fsid();
  info.format_version = volume.format_version();
  info.devices.assign(volume.devices().begin(), volume.devices().end());
  info.total_bytes = volume.total_bytes();
  info.space = FromProto(volume.space());
  info.header_slot = volume.header_slot();
  info.header_slots = volume.header_slots();
  info.mirror_tid = volume.mirror_tid();
  info.freemap_tid = volume.freemap_tid();
  info.seq = volume.seq();
  info.durable_seq = volume.durable_seq();
  info.dirty_bytes = volume.dirty_bytes();
  info.dirty_limit_bytes = volume.dirty_limit_bytes();
  info.cached_block_bytes = volume.cached_block_bytes();
  info.cached_chain_bytes = volume.cached_chain_bytes();
  info.read_only = volume.read_only();
  if (volume.has_failure()) info.failure = FromProto(volume.failure());
  info.default_pfs = PfsLabel(volume.default_pfs()).value_or("");
  info.server_version = volume.server_version();
  return info;
}

namespace {

std::vector<FlushPhaseInfo> FromProto(
    const google::protobuf::RepeatedPtrField<v1::FlushPhase>& phases) {
  std::vector<FlushPhaseInfo> infos;
  for (const v1::FlushPhase& phase : phases) {
    infos.push_back({phase.name(), FromProto(phase.duration())});
  }
  return infos;
}

}  // namespace

FlushCycleInfo FromProto(const v1::FlushCycle& cycle) {
  FlushCycleInfo info;
  info.number = cycle.number();
  info.start_time = FromProto(cycle.start_time());
  info.took = FromProto(cycle.duration());
  info.reason = FromProto(cycle.reason());
  if (cycle.has_failure()) info.failure = FromProto(cycle.failure());
  info.cut_seq = cycle.cut_seq();
  info.mirror_tid = cycle.mirror_tid();
  info.header_slot = cycle.header_slot();
  info.disks = cycle.disks();
  info.data_blocks = cycle.data_blocks();
  info.data_bytes = cycle.data_bytes();
  info.phases = FromProto(cycle.phases());
  return info;
}

SyncInfo FromProto(const v1::SyncResponse& response) {
  return {.durable_seq = response.durable_seq(),
          .mirror_tid = response.mirror_tid(),
          .header_slot = response.header_slot(),
          .phases = FromProto(response.phases())};
}

v1::Durability ToProto(Durability durability) {
  return durability == Durability::kDurable ? v1::DURABILITY_DURABLE : v1::DURABILITY_ACCEPTED;
}

}  // namespace h2bd::client
