// Protobuf messages to the plain values of types.h. Not for users of the library.
#pragma once

#include "absl/status/statusor.h"
#include "client/api/types.h"
#include "h2bd/v1/disk_service.pb.h"
#include "h2bd/v1/io_service.pb.h"
#include "h2bd/v1/transaction_service.pb.h"
#include "h2bd/v1/volume_service.pb.h"

namespace h2bd::client {

// kInternal when the server's answer has no readable name.
absl::StatusOr<DiskInfo> FromProto(const v1::Disk& disk);
absl::StatusOr<TransactionInfo> FromProto(const v1::Transaction& transaction);
absl::StatusOr<PfsInfo> FromProto(const v1::Pfs& pfs);
VolumeInfo FromProto(const v1::Volume& volume);
FlushCycleInfo FromProto(const v1::FlushCycle& cycle);
SyncInfo FromProto(const v1::SyncResponse& response);
v1::Durability ToProto(Durability durability);

}  // namespace h2bd::client
