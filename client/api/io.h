// The unary calls of IoService, in a transaction or not. Not for users of the library.
#pragma once

#include <string>

#include "client/api/connection.h"
#include "client/api/types.h"
#include "core/base/bytes.h"

namespace h2bd::client {

// Where a call of IoService goes.
struct IoTarget {
  const DiskName& disk;
  uint64_t offset = 0;
  std::string transaction;  // the resource name; "": none. Staged writes are not repeated
  Durability durability = Durability::kAccepted;
};

absl::Status CallRead(const Connection& connection, const IoTarget& target, ByteSpan into,
                      const CallOptions& options);
// Give the number of the change.
absl::StatusOr<uint64_t> CallWrite(Connection& connection, const IoTarget& target,
                                   ConstByteSpan bytes, const CallOptions& options);
absl::StatusOr<uint64_t> CallWriteZeroes(Connection& connection, const IoTarget& target,
                                         uint64_t length, const CallOptions& options);
absl::StatusOr<uint64_t> CallDiscard(Connection& connection, const IoTarget& target,
                                     uint64_t length, const CallOptions& options);
// What a Sync covers: at most one is set, disk and PFS as resource names (SyncRequest).
struct SyncCall {
  std::string disk;
  std::string pfs;
  uint64_t seq = 0;
};
absl::StatusOr<SyncInfo> CallSync(Connection& connection, const SyncCall& call,
                                  const CallOptions& options);

}  // namespace h2bd::client
