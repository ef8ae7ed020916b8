#include "client/stream/receiver.h"

#include <algorithm>
#include <map>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/status.h"
#include "core/digest/attest_hash.h"

namespace h2bd::stream {
namespace {

constexpr uint8_t kDiskType = 2;  // the media's object type of a disk, as attest values have it
constexpr size_t kNamesShown = 3;

std::string Hex(ConstByteSpan bytes) { return absl::BytesToHexString(AsText(bytes)); }

bool IsGiven(const Sha256Digest& attest) { return attest != Sha256Digest{}; }

absl::Status Precondition(absl::string_view reason, absl::string_view message) {
  return WithReason(absl::FailedPreconditionError(message), reason);
}

std::string ShowSome(const std::vector<std::string>& names) {
  const auto end = names.begin() + static_cast<ptrdiff_t>(std::min(names.size(), kNamesShown));
  return absl::StrCat(
      absl::StrJoin(names.begin(), end, ", "),
      names.size() > kNamesShown ? absl::StrCat(" and ", names.size() - kNamesShown, " more") : "");
}

std::string ReceivedPrefix(const Uuid& stream) {
  return absl::StrCat(kReceivedPrefix, Hex(stream), "-");
}

}  // namespace

Receiver::Receiver(TargetVolume& target, const ReceiveOptions& options)
    : target_(target), options_(options) {}

absl::StatusOr<ReceiveProgress> Receiver::Run(ByteSource& source) {
  Decoder decoder(source);
  H2_ASSIGN_OR_RETURN(const Prelude prelude, decoder.Begin());
  H2_RETURN_IF_ERROR(Begin(prelude));
  while (true) {
    H2_ASSIGN_OR_RETURN(const Record record, decoder.Next());
    const Position& at = decoder.position();
    H2_RETURN_IF_ERROR(Take(record, at));
    const ReceiveProgress progress{
        .disk = at.disk, .data_bytes = at.data_bytes, .hole_bytes = at.hole_bytes};
    if (std::holds_alternative<EndRecord>(record)) return progress;
    if (options_.observer != nullptr) H2_RETURN_IF_ERROR(options_.observer->Received(progress));
  }
}

std::optional<std::string> Receiver::resume_token() const {
  if (!recognised_) return std::nullopt;
  return TokenOf(state_.at);
}

// --- the start

absl::Status Receiver::Begin(const Prelude& prelude) {
  if (!prelude.identity.one_disk && options_.snapshot_name.empty()) {
    return absl::InvalidArgumentError("the stream is of a PFS: it needs the name of a snapshot");
  }
  H2_ASSIGN_OR_RETURN(const std::optional<std::string> kept,
                      target_.LoadState(prelude.identity.stream));
  if (!kept.has_value()) return BeginAnew(prelude);
  H2_ASSIGN_OR_RETURN(state_, DecodeState(*kept));
  return GoOn(prelude);
}

absl::Status Receiver::BeginAnew(const Prelude& prelude) {
  if (prelude.position.sequence != 1) {
    return Precondition(kReasonOutOfStep,
                        absl::StrCat("the stream goes on at record ", prelude.position.sequence,
                                     ", and nothing of it was received here"));
  }
  state_ = ReceiveState{.at = prelude};
  applying_ = true;
  H2_RETURN_IF_ERROR(CheckTarget());
  H2_RETURN_IF_ERROR(SaveState());
  recognised_ = true;
  return absl::OkStatus();
}

absl::Status Receiver::GoOn(const Prelude& prelude) {
  const Position& mine = state_.at.position;
  const uint64_t entries = state_.finishing ? 0 : mine.disk;
  if (prelude.identity != identity() || state_.entries.size() != entries) {
    return absl::DataLossError("what the target keeps of this stream is of another one");
  }
  recognised_ = true;
  for (const ReceiveState::Entry& entry : state_.entries) paths_.insert(entry.path);
  if (state_.finishing) return absl::OkStatus();
  applying_ = prelude.position == mine;
  if (applying_ || prelude.position.sequence < mine.sequence) return absl::OkStatus();
  return Precondition(kReasonOutOfStep,
                      absl::StrCat("the stream goes on at record ", prelude.position.sequence,
                                   ", what was received here ends before ", mine.sequence));
}

// --- records

absl::Status Receiver::Take(const Record& record, const Position& position) {
  if (const auto* end = std::get_if<EndRecord>(&record); end != nullptr && state_.finishing) {
    return Install();
  }
  return applying_ ? Apply(record) : Skip(record, position);
}

// What was applied before was verified by the decoder once more; it must lead to the same place.
absl::Status Receiver::Skip(const Record& record, const Position& position) {
  const Position& mine = state_.at.position;
  if (state_.finishing || position.sequence < mine.sequence) return absl::OkStatus();
  const bool there = std::holds_alternative<CheckpointRecord>(record) && position == mine;
  if (!there) {
    return Precondition(kReasonOutOfStep,
                        absl::StrCat("the stream has other records than what was received here, "
                                     "which ends before record ",
                                     mine.sequence));
  }
  applying_ = true;
  return absl::OkStatus();
}

absl::Status Receiver::Apply(const Record& record) {
  const auto received = [&](uint64_t number) { return ReceivedName(absl::StrCat(number)); };
  if (const auto* disk = std::get_if<DiskRecord>(&record)) return ApplyDisk(*disk);
  if (const auto* data = std::get_if<DataRecord>(&record)) {
    return target_.Write(received(data->disk), data->offset, data->bytes);
  }
  if (const auto* hole = std::get_if<HoleRecord>(&record)) {
    return target_.Punch(received(hole->disk), hole->offset, hole->bytes);
  }
  if (const auto* remove = std::get_if<RemoveRecord>(&record)) return ApplyRemove(*remove);
  if (const auto* checkpoint = std::get_if<CheckpointRecord>(&record)) {
    return ApplyCheckpoint(checkpoint->position);
  }
  return Finish(std::get<EndRecord>(record));
}

absl::Status Receiver::ApplyDisk(const DiskRecord& disk) {
  const std::string path = PathOnTarget(disk.path);
  H2_RETURN_IF_ERROR(Occupy(path));
  if (identity().one_disk && !identity().incremental()) H2_RETURN_IF_ERROR(CheckNoDisk(path));
  const std::string name = ReceivedName(absl::StrCat(disk.number));
  // One of this name comes from behind the last checkpoint of a run that was cut.
  H2_RETURN_IF_ERROR(target_.Remove(name));
  H2_RETURN_IF_ERROR(MakeReceivedDisk(disk, name));
  state_.entries.push_back({.path = path});
  return absl::OkStatus();
}

absl::Status Receiver::MakeReceivedDisk(const DiskRecord& disk, const std::string& name) {
  if (!disk.base_path.has_value()) return target_.Create(name, disk.size_bytes, disk.settings);
  if (identity().one_disk) {
    H2_RETURN_IF_ERROR(target_.Clone(std::nullopt, PathOnTarget(disk.path), name, disk.settings));
    H2_RETURN_IF_ERROR(CheckBaseValue(name));
  } else {
    H2_RETURN_IF_ERROR(target_.Clone(identity().base, *disk.base_path, name, disk.settings));
  }
  return target_.Resize(name, disk.size_bytes);
}

absl::Status Receiver::ApplyRemove(const RemoveRecord& remove) {
  H2_RETURN_IF_ERROR(Occupy(remove.base_path));
  state_.entries.push_back({.path = remove.base_path, .removed = true});
  return absl::OkStatus();
}

absl::Status Receiver::Occupy(const std::string& path) {
  if (absl::StartsWith(path, kReceivedPrefix)) {
    return absl::DataLossError(absl::StrCat("the stream has a disk ", path,
                                            ": names that begin with ", kReceivedPrefix,
                                            " are those of disks being received"));
  }
  if (paths_.insert(path).second) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("the stream has two records for the disk ", path));
}

absl::Status Receiver::ApplyCheckpoint(const Position& position) {
  H2_RETURN_IF_ERROR(target_.Sync());
  const Position before = state_.at.position;
  state_.at.position = position;
  const absl::Status saved = SaveState();
  if (!saved.ok()) state_.at.position = before;  // the token is of what is kept for sure
  return saved;
}

// --- the end

absl::Status Receiver::Finish(const EndRecord& end) {
  std::vector<Replacement> plan;
  if (identity().one_disk) {
    const std::string& path = state_.entries.front().path;
    H2_RETURN_IF_ERROR(identity().incremental() ? CheckBaseValue(path) : CheckNoDisk(path));
    plan = {{.from = ReceivedName("1"), .path = path}};
  } else {
    H2_ASSIGN_OR_RETURN(plan, PlanPfs());
  }
  H2_RETURN_IF_ERROR(target_.Sync());
  if (IsGiven(end.attest)) {
    H2_ASSIGN_OR_RETURN(const Sha256Digest mine, AttestOf(plan));
    if (mine != end.attest) {
      return absl::DataLossError(absl::StrCat("what was received has the attest value ", Hex(mine),
                                              ", what was sent has ", Hex(end.attest),
                                              "; nothing was replaced"));
    }
  }
  state_.finishing = true;
  state_.entries.clear();  // the replacements say it all
  state_.replacements = std::move(plan);
  H2_RETURN_IF_ERROR(SaveState());
  return Install();
}

absl::Status Receiver::Install() {
  H2_RETURN_IF_ERROR(RemoveLeftovers(state_.replacements));
  H2_RETURN_IF_ERROR(target_.Replace(state_.replacements));
  if (identity().one_disk) {
    H2_RETURN_IF_ERROR(target_.Sync());
  } else {
    H2_RETURN_IF_ERROR(target_.TakeSnapshot(options_.snapshot_name, identity().source));
  }
  return target_.DropState(identity().stream);
}

absl::StatusOr<std::vector<Replacement>> Receiver::PlanPfs() {
  H2_RETURN_IF_ERROR(CheckTargetPfs());
  std::vector<Replacement> plan;
  for (size_t i = 0; i < state_.entries.size(); ++i) {
    const ReceiveState::Entry& entry = state_.entries[i];
    plan.push_back(
        {.from = entry.removed ? "" : ReceivedName(absl::StrCat(i + 1)), .path = entry.path});
  }
  if (!options_.force) return plan;
  std::vector<std::string> base_disks;
  if (identity().incremental()) {
    H2_ASSIGN_OR_RETURN(base_disks, target_.DisksOf(identity().base));
  }
  H2_ASSIGN_OR_RETURN(const std::vector<std::string> changed, ChangesOfTarget());
  H2_RETURN_IF_ERROR(PlanRollback(changed, base_disks, plan));
  return plan;
}

absl::Status Receiver::PlanRollback(const std::vector<std::string>& changed,
                                    const std::vector<std::string>& base_disks,
                                    std::vector<Replacement>& plan) {
  size_t copies = 0;
  for (const std::string& path : changed) {
    if (paths_.contains(path)) continue;
    if (std::find(base_disks.begin(), base_disks.end(), path) == base_disks.end()) {
      plan.push_back({.from = "", .path = path});
      continue;
    }
    const std::string copy = ReceivedName(absl::StrCat("base-", ++copies));
    H2_RETURN_IF_ERROR(target_.Remove(copy));
    H2_RETURN_IF_ERROR(target_.Clone(identity().base, path, copy, DiskSettings()));
    plan.push_back({.from = copy, .path = path});
  }
  return absl::OkStatus();
}

absl::StatusOr<Sha256Digest> Receiver::AttestOf(const std::vector<Replacement>& plan) {
  if (identity().one_disk) return target_.Attest(plan.front().from);
  std::map<std::string, std::string> now;  // path to be -> present name
  if (identity().incremental()) {
    H2_ASSIGN_OR_RETURN(const std::vector<std::string> base, target_.DisksOf(identity().base));
    for (const std::string& path : base) now[path] = path;
  }
  for (const Replacement& replacement : plan) {
    now.erase(replacement.path);
    if (!replacement.from.empty()) now[replacement.path] = replacement.from;
  }
  AttestPfs pfs;
  for (const auto& [path, name] : now) {
    H2_ASSIGN_OR_RETURN(const Sha256Digest value, target_.Attest(name));
    pfs.Add(path, kDiskType, value);
  }
  return pfs.Finish();
}

// What a run left that was cut must not get into the snapshot.
absl::Status Receiver::RemoveLeftovers(const std::vector<Replacement>& keep) {
  absl::flat_hash_set<std::string> kept;
  for (const Replacement& replacement : keep) kept.insert(replacement.from);
  H2_ASSIGN_OR_RETURN(const std::vector<std::string> disks, target_.Disks());
  for (const std::string& disk : disks) {
    if (!absl::StartsWith(disk, ReceivedPrefix(identity().stream)) || kept.contains(disk)) continue;
    H2_RETURN_IF_ERROR(target_.Remove(disk));
  }
  return absl::OkStatus();
}

// --- what the target must be

absl::Status Receiver::CheckTarget() {
  if (identity().one_disk) return absl::OkStatus();  // its path comes with its record
  H2_ASSIGN_OR_RETURN(const bool there, target_.HasSnapshot(identity().source));
  if (there) {
    return absl::AlreadyExistsError(
        absl::StrCat("the volume has the snapshot ", Hex(identity().source), " already"));
  }
  if (identity().incremental()) {
    H2_ASSIGN_OR_RETURN(const bool has_base, target_.HasSnapshot(identity().base));
    if (!has_base) {
      return Precondition(kReasonWrongBase,
                          absl::StrCat("the stream builds on the snapshot ", Hex(identity().base),
                                       ", which the target has not got"));
    }
  }
  return CheckTargetPfs();
}

absl::StatusOr<std::vector<std::string>> Receiver::ChangesOfTarget() {
  H2_ASSIGN_OR_RETURN(std::vector<std::string> changed, identity().incremental()
                                                            ? target_.ChangedSince(identity().base)
                                                            : target_.Disks());
  const std::string mine = ReceivedPrefix(identity().stream);
  std::erase_if(changed, [&](const std::string& path) { return absl::StartsWith(path, mine); });
  return changed;
}

absl::Status Receiver::CheckTargetPfs() {
  if (options_.force) return absl::OkStatus();
  H2_ASSIGN_OR_RETURN(const std::vector<std::string> changed, ChangesOfTarget());
  if (changed.empty()) return absl::OkStatus();
  return Precondition(kReasonTargetChanged,
                      identity().incremental()
                          ? absl::StrCat("disks have changed since the base snapshot (",
                                         ShowSome(changed), "); force to lose these changes")
                          : absl::StrCat("the PFS has disks (", ShowSome(changed),
                                         ") and the stream is a full one; force to lose them"));
}

absl::Status Receiver::CheckNoDisk(const std::string& path) {
  if (options_.force) return absl::OkStatus();
  H2_ASSIGN_OR_RETURN(const std::vector<std::string> disks, target_.Disks());
  if (std::find(disks.begin(), disks.end(), path) == disks.end()) return absl::OkStatus();
  return Precondition(kReasonTargetChanged,
                      absl::StrCat("there is a disk ", path, "; force to replace it"));
}

absl::Status Receiver::CheckBaseValue(const std::string& disk) {
  if (options_.force) return absl::OkStatus();
  if (!IsGiven(identity().base_attest)) {
    return Precondition(
        kReasonWrongBase,
        "the stream does not say what its base has; force to apply it all the same");
  }
  H2_ASSIGN_OR_RETURN(const Sha256Digest mine, target_.Attest(disk));
  if (mine == identity().base_attest) return absl::OkStatus();
  return Precondition(
      kReasonTargetChanged,
      absl::StrCat("the disk has the attest value ", Hex(mine), ", the stream builds on ",
                   Hex(identity().base_attest), "; force to apply it all the same"));
}

absl::Status Receiver::SaveState() {
  H2_ASSIGN_OR_RETURN(const std::string bytes, EncodeState(state_));
  return target_.SaveState(identity().stream, bytes);
}

std::string Receiver::ReceivedName(absl::string_view which) const {
  return absl::StrCat(ReceivedPrefix(identity().stream), which);
}

std::string Receiver::PathOnTarget(const std::string& path) const {
  return identity().one_disk && !options_.disk_path.empty() ? options_.disk_path : path;
}

absl::Status Abandon(TargetVolume& target, const Uuid& stream) {
  H2_ASSIGN_OR_RETURN(const std::vector<std::string> disks, target.Disks());
  for (const std::string& disk : disks) {
    if (!absl::StartsWith(disk, ReceivedPrefix(stream))) continue;
    H2_RETURN_IF_ERROR(target.Remove(disk));
  }
  return target.DropState(stream);
}

}  // namespace h2bd::stream
