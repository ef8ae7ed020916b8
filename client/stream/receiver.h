// Applies a stream to a volume: nothing of it is visible before all of it was received and its
// attest value compared.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/stream/byte_stream.h"
#include "client/stream/decoder.h"
#include "client/stream/target_volume.h"

namespace h2bd::stream {

// Reasons with kFailedPrecondition.
inline constexpr char kReasonWrongBase[] = "WRONG_BASE";          // the target has not got it
inline constexpr char kReasonTargetChanged[] = "TARGET_CHANGED";  // since the base, or not empty
inline constexpr char kReasonOutOfStep[] =
    "STREAM_OUT_OF_STEP";  // it starts behind the target's place

// Names of received disks until they take their places; the stream's uuid and number follow.
inline constexpr absl::string_view kReceivedPrefix = ".recv-";

struct ReceiveProgress {
  uint64_t disk = 0;
  uint64_t data_bytes = 0;  // of all parts of the stream
  uint64_t hole_bytes = 0;
};

class ReceiveObserver {
 public:
  virtual ~ReceiveObserver() = default;
  virtual absl::Status Received(const ReceiveProgress& progress) = 0;  // an error ends it
};

struct ReceiveOptions {
  // Of a PFS: the name of the snapshot that is taken at the end. Not empty.
  std::string snapshot_name;
  // Of one disk: its path on the target; empty: as in the stream.
  std::string disk_path;
  // What the target has changed since the base is lost: it becomes what the stream says.
  bool force = false;
  ReceiveObserver* observer = nullptr;
};

// One stream, one Run. Not thread-safe.
class Receiver {
 public:
  Receiver(TargetVolume& target, const ReceiveOptions& options);  // `target` must outlive it

  // OK: the target is as the stream says, durable, and of a PFS the snapshot is there. Otherwise
  // nothing of the stream is visible, unless the error came from Replace or TakeSnapshot; what was
  // received up to the last checkpoint is kept, and Run of another Receiver goes on there with the
  // stream that resume_token gives, or with the same stream again.
  // Errors: those of the decoder and of the target; kFailedPrecondition with the reasons above;
  // kAlreadyExists when the snapshot is there; kDataLoss when the attest value is another.
  absl::StatusOr<ReceiveProgress> Run(ByteSource& source);

  // What `send --resume` takes; nullopt: no stream was recognised.
  std::optional<std::string> resume_token() const;

 private:
  absl::Status Begin(const Prelude& prelude);
  absl::Status BeginAnew(const Prelude& prelude);
  absl::Status GoOn(const Prelude& prelude);
  // `position`: behind the record.
  absl::Status Take(const Record& record, const Position& position);
  absl::Status Skip(const Record& record, const Position& position);
  absl::Status Apply(const Record& record);
  absl::Status ApplyDisk(const DiskRecord& disk);
  absl::Status ApplyRemove(const RemoveRecord& remove);
  absl::Status ApplyCheckpoint(const Position& position);
  absl::Status Occupy(const std::string& path);
  absl::Status MakeReceivedDisk(const DiskRecord& disk, const std::string& name);

  absl::Status Finish(const EndRecord& end);
  absl::Status Install();
  absl::StatusOr<std::vector<Replacement>> PlanPfs();
  absl::Status PlanRollback(const std::vector<std::string>& changed,
                            const std::vector<std::string>& base_disks,
                            std::vector<Replacement>& plan);
  absl::StatusOr<Sha256Digest> AttestOf(const std::vector<Replacement>& plan);
  absl::Status RemoveLeftovers(const std::vector<Replacement>& keep);

  absl::StatusOr<std::vector<std::string>> ChangesOfTarget();
  absl::Status CheckTarget();
  absl::Status CheckTargetPfs();
  absl::Status CheckNoDisk(const std::string& path);
  absl::Status CheckBaseValue(const std::string& disk);
  absl::Status SaveState();

  const Identity& identity() const { return state_.at.identity; }
  std::string ReceivedName(absl::string_view which) const;
  std::string PathOnTarget(const std::string& path) const;

  TargetVolume& target_;
  const ReceiveOptions options_;
  ReceiveState state_;
  bool recognised_ = false;
  bool applying_ = false;                   // the stream has come to where the target stands
  absl::flat_hash_set<std::string> paths_;  // of state_.entries
};

// Removes what a receiving that will not go on has left. OK when there is nothing.
absl::Status Abandon(TargetVolume& target, const Uuid& stream);

}  // namespace h2bd::stream
