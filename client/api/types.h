// What the client library takes and gives: plain values, no protobuf, no gRPC. Copy and move them
// freely.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/api/retry.h"
#include "core/base/types.h"

namespace h2bd::client {

// Reasons (ReasonOf in core/base/status.h) that this library makes itself. All others come from the
// server.
//
// With kAborted: the server restarted after it had acknowledged writes of this client that no Sync
// had made durable. They may be lost. Sync gives it from then on; make a new Client and write
// again.
inline constexpr char kReasonServerRestarted[] = "SERVER_RESTARTED";
// With kUnknown: the answer to a commit was lost and the server does not know the transaction any
// more. It was applied as a whole or not at all.
inline constexpr char kReasonOutcomeUnknown[] = "TRANSACTION_OUTCOME_UNKNOWN";

// A disk's name as people write it: "DATA/vm1", or "vm1" in the server's default PFS. What stands
// before the first '/' is the PFS, "-" being the default one.
struct DiskName {
  std::string pfs;   // "" or "-": the default PFS
  std::string path;  // "vm1", or a path "dir/file"

  // kInvalidArgument for empty, over-long and reserved components.
  static absl::StatusOr<DiskName> Parse(absl::string_view text);
  // "pfs/DATA/disks/vm1", escaped as proto/h2bd/v1/disk_service.proto says; and back.
  std::string ToResource() const;
  static absl::StatusOr<DiskName> FromResource(absl::string_view resource);
  std::string ToString() const;  // "DATA/vm1", or "vm1" when `pfs` is empty
  bool operator==(const DiskName&) const = default;
};

enum class Compression { kUnknown, kNone, kAutozero, kLz4, kZlib };
enum class CheckCode { kUnknown, kNone, kDisabled, kIscsi32, kXxhash64, kSha192, kFreemap };
absl::string_view Name(Compression compression);  // "lz4"
absl::string_view Name(CheckCode check_code);     // "xxhash64"

struct DiskInfo {
  DiskName name;  // with the PFS spelled out
  uint64_t size_bytes = 0;
  uint64_t stored_bytes = 0;  // on the media, metadata included, as of the last cycle
  absl::Time create_time = absl::InfinitePast();  // InfinitePast: not known
  absl::Time modify_time = absl::InfinitePast();
  Compression compression = Compression::kUnknown;
  CheckCode check_code = CheckCode::kUnknown;
  uint64_t inode_number = 0;
  // The inode cannot be read, then only name and number are known; or the changes of the disk
  // cannot be stored, because something of it is damaged: a Sync of it says what.
  bool damaged = false;
};

enum class TransactionState { kUnknown, kOpen, kPreparing, kApplied, kDurable, kAborted, kExpired };
absl::string_view Name(TransactionState state);  // "open"

struct TransactionInfo {
  std::string id;  // the server's number for it
  TransactionState state = TransactionState::kUnknown;
  uint64_t seq = 0;  // of the change; from kApplied on
  uint64_t staged_bytes = 0;
  uint32_t writes = 0;
  absl::Duration expires_in = absl::ZeroDuration();  // while kOpen
};

struct SpaceInfo {
  uint64_t total_bytes = 0;
  uint64_t allocated_bytes = 0;
  uint64_t staged_bytes = 0;  // freed, but still reachable from an older volume header
  uint64_t free_bytes = 0;
  uint64_t reserved_bytes = 0;  // promised to changes that are not on the media yet
  uint64_t unreadable_bytes = 0;
};

struct VolumeInfo {
  std::string fsid;
  uint32_t format_version = 0;
  std::vector<std::string> devices;
  uint64_t total_bytes = 0;
  SpaceInfo space;
  uint32_t header_slot = 0, header_slots = 0;
  uint64_t mirror_tid = 0, freemap_tid = 0;
  uint64_t seq = 0, durable_seq = 0;
  uint64_t dirty_bytes = 0, dirty_limit_bytes = 0;
  uint64_t cached_block_bytes = 0, cached_chain_bytes = 0;
  bool read_only = false;
  absl::Status failure;  // not OK: the volume has failed, and why
  std::string default_pfs;
  std::string server_version;
};

struct PfsInfo {
  std::string label;
  uint32_t type = 0, subtype = 0;  // the media's pfs_type and pfs_subtype
  std::string clid, fsid;
};

enum class FlushReason { kUnknown, kSync, kAge, kPressure, kRetry, kRequest, kClose };
absl::string_view Name(FlushReason reason);  // "sync"

struct FlushPhaseInfo {
  std::string name;  // "cut", "inodes", …, "barrier2"
  absl::Duration took;
};

// One flush cycle of the server.
struct SyncInfo {
  uint64_t durable_seq = 0;            // every change up to this one survives power loss
  uint64_t mirror_tid = 0;             // of the volume header that holds it
  uint32_t header_slot = 0;            // where that lies
  std::vector<FlushPhaseInfo> phases;  // of the cycle that made it durable, in their order
};

struct FlushCycleInfo {
  uint64_t number = 0;  // from 1 since the server was started
  absl::Time start_time = absl::InfinitePast();
  absl::Duration took;
  FlushReason reason = FlushReason::kUnknown;
  absl::Status failure;  // not OK: why it failed
  uint64_t cut_seq = 0;  // every change up to this one was in it
  uint64_t mirror_tid = 0;
  uint32_t header_slot = 0;
  uint64_t disks = 0, data_blocks = 0, data_bytes = 0;
  std::vector<FlushPhaseInfo> phases;  // in their order
};

// Whether OK waits until the change survives power loss.
enum class Durability { kAccepted, kDurable };

struct TransactionOptions {
  std::optional<absl::Duration> timeout;  // how long it may stay open; none: the server's limit
  std::string label;                      // for people, up to 128 bytes
  // A write of others to what it has staged is kAborted; otherwise it is ordered before it.
  bool exclusive = false;
  Durability durability = Durability::kAccepted;  // of a Commit that does not say it
};

struct TlsOptions {
  std::string ca_file;    // PEM; "": the system's roots
  std::string cert_file;  // PEM, with key_file: who this client is. Both or none
  std::string key_file;
  std::string server_name;  // expected in the server's certificate; "": the host of the target
};

struct ConnectOptions {
  std::string target = "127.0.0.1:7420";  // HOST:PORT or unix:PATH, as gRPC knows them
  std::optional<TlsOptions> tls;          // none: plain text
  // For calls that set none, retries included. For streams: the longest time without an answer.
  absl::Duration default_timeout = absl::Seconds(30);
  RetryPolicy retry;
  RetryEnv env;
};

struct CallOptions {
  std::optional<absl::Duration> timeout;  // of this call; none: the client's default
};

}  // namespace h2bd::client
