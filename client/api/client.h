// The typed C++ client of an h2bd server.
//
// Thread-safety: all calls of a Client may run at the same time on any threads; a Transaction, a
// DiskWriter and a DiskReader belong to one thread at a time. Those keep what they need of the
// client alive, so the Client may go first.
//
// Errors are the server's (proto/h2bd/v1/disk_service.proto), with its reason in ReasonOf(status);
// messages name the call. Besides: kUnavailable when the server cannot be reached,
// kDeadlineExceeded.
//
// What is tried again when it gives kUnavailable (RetryPolicy, within the deadline): reads and
// look-ups; mutations of disks and BeginTransaction, which carry a request id, so that they take
// effect once (unless the server restarts between two tries: a creation may then give
// kAlreadyExists although it was ours); Write, WriteZeroes and Discard, as the same bytes go to the
// same place; Sync. Not tried again: what is staged in a transaction. A write that failed with
// kUnavailable or kDeadlineExceeded may still take effect.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/api/stream.h"
#include "client/api/types.h"
#include "core/base/bytes.h"

namespace h2bd::client {

struct Connection;

// Staged changes of any disks that become visible and durable as one, or not at all. Aborts when it
// is destroyed before Commit. After kUnavailable or kDeadlineExceeded of a staged change nobody
// knows what is staged: Commit then refuses with kAborted.
class Transaction {
 public:
  Transaction(Transaction&&) = default;
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();

  const std::string& id() const { return id_; }

  // kAborted when another open transaction has staged a write to an overlapping range; this one
  // stays open.
  absl::Status Write(const DiskName& disk, uint64_t offset, ConstByteSpan bytes,
                     const CallOptions& options = {});
  absl::Status WriteZeroes(const DiskName& disk, uint64_t offset, uint64_t length,
                           const CallOptions& options = {});
  absl::Status Discard(const DiskName& disk, uint64_t offset, uint64_t length,
                       const CallOptions& options = {});
  // The ranges of later calls are checked against the new size. kAborted when another open
  // transaction has staged something behind the smaller one of the old and the new size.
  absl::Status Resize(const DiskName& disk, uint64_t size_bytes, const CallOptions& options = {});
  // The committed state with this transaction's changes over it.
  absl::Status Read(const DiskName& disk, uint64_t offset, ByteSpan into,
                    const CallOptions& options = {});

  // OK: all of it is visible, and with kDurable survives power loss. An answer that was lost is
  // asked for again; when the server does not know the transaction any more, kUnknown with
  // kReasonOutcomeUnknown. With kDurable the errors of Sync mean: visible, not durable. kAborted:
  // nothing of it took effect. Without a durability: that of its TransactionOptions.
  absl::StatusOr<TransactionInfo> Commit(std::optional<Durability> durability = std::nullopt,
                                         const CallOptions& options = {});
  absl::Status Abort(const CallOptions& options = {});
  absl::StatusOr<TransactionInfo> Get(const CallOptions& options = {});

 private:
  friend class Client;
  Transaction(std::shared_ptr<Connection> connection, std::string id, Durability durability)
      : connection_(std::move(connection)), id_(std::move(id)), durability_(durability) {}
  std::string resource() const;
  absl::Status Staged(absl::Status status);
  absl::StatusOr<TransactionInfo> LostCommit(Durability durability, const absl::Status& lost,
                                             const CallOptions& options);

  std::shared_ptr<Connection> connection_;  // null once moved from
  std::string id_;
  Durability durability_;
  bool ended_ = false;     // committed or aborted: nothing to do for the destructor
  bool doubtful_ = false;  // a staged write was lost on its way
};

class Client {
 public:
  // Does not wait for the server: the first call finds out whether it is there. kInvalidArgument
  // for options that make no sense, kNotFound and kPermissionDenied for certificate files.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(const ConnectOptions& options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // --- disks
  // -----------------------------------------------------------------------------------------

  absl::StatusOr<DiskInfo> CreateDisk(const DiskName& name, uint64_t size_bytes,
                                      const CallOptions& options = {});
  absl::StatusOr<DiskInfo> GetDisk(const DiskName& name, const CallOptions& options = {});
  // All disks in the root directory of `pfs` ("": the default one), ordered by name.
  absl::StatusOr<std::vector<DiskInfo>> ListDisks(const std::string& pfs,
                                                  const CallOptions& options = {});
  absl::StatusOr<DiskInfo> ResizeDisk(const DiskName& name, uint64_t size_bytes,
                                      const CallOptions& options = {});
  // `new_path` stays in the disk's PFS.
  absl::StatusOr<DiskInfo> RenameDisk(const DiskName& name, const std::string& new_path,
                                      const CallOptions& options = {});
  absl::Status DeleteDisk(const DiskName& name, const CallOptions& options = {});

  // --- I/O: one call each, up to 32 MiB; for more see stream.h
  // -------------------------------------------

  absl::Status Read(const DiskName& disk, uint64_t offset, ByteSpan into,
                    const CallOptions& options = {});
  // Gives the number of the change (SyncTo takes it). All there or not there at all after any
  // crash.
  absl::StatusOr<uint64_t> Write(const DiskName& disk, uint64_t offset, ConstByteSpan bytes,
                                 Durability durability = Durability::kAccepted,
                                 const CallOptions& options = {});
  absl::StatusOr<uint64_t> WriteZeroes(const DiskName& disk, uint64_t offset, uint64_t length,
                                       Durability durability = Durability::kAccepted,
                                       const CallOptions& options = {});
  absl::StatusOr<uint64_t> Discard(const DiskName& disk, uint64_t offset, uint64_t length,
                                   Durability durability = Durability::kAccepted,
                                   const CallOptions& options = {});

  // OK: everything that was acknowledged on the disk before the call survives power loss. kAborted
  // with kReasonServerRestarted: writes of this client may have been lost before they were synced.
  absl::StatusOr<SyncInfo> Sync(const DiskName& disk, const CallOptions& options = {});
  // The same for all disks of a PFS ("": the default one), and for the whole volume.
  absl::StatusOr<SyncInfo> SyncPfs(const std::string& label, const CallOptions& options = {});
  absl::StatusOr<SyncInfo> SyncAll(const CallOptions& options = {});

  std::unique_ptr<DiskWriter> OpenWriter(const DiskName& disk, const WriterOptions& options = {});
  std::unique_ptr<DiskReader> OpenReader(const DiskName& disk, const ReaderOptions& options = {});

  // --- transactions
  // ------------------------------------------------------------------------------------

  absl::StatusOr<Transaction> Begin(const TransactionOptions& transaction = {},
                                    const CallOptions& options = {});

  // --- volume
  // --------------------------------------------------------------------------------------------

  absl::StatusOr<VolumeInfo> GetVolume(const CallOptions& options = {});
  absl::StatusOr<std::vector<PfsInfo>> ListPfs(const CallOptions& options = {});
  // The newest `limit` flush cycles that the server remembers (0: all of them), oldest first.
  absl::StatusOr<std::vector<FlushCycleInfo>> ListFlushCycles(uint32_t limit = 0,
                                                              const CallOptions& options = {});

 private:
  explicit Client(std::shared_ptr<Connection> connection);

  const std::shared_ptr<Connection> connection_;
};

}  // namespace h2bd::client
