#include "tests/crash/crash_world.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/fsck/check.h"
#include "core/media/placement.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

constexpr uint64_t kDiskBytes = 400 * 1000;  // not a multiple of a block

// Sits above the recorder and breaks one rule of the commit protocol.
class MutantDevice final : public ForwardingDevice {
 public:
  MutantDevice(BlockDevice& inner, Mutant mutant) : ForwardingDevice(inner), mutant_(mutant) {}
  absl::Status Write(ByteOff off, ConstByteSpan from) override {
    if (IsHeader(off, from)) {
      header_is_last_ = true;
      if (mutant_ == Mutant::kHeaderOverConfirmed) return inner_.Write(HeaderSlotOffset(0), from);
    }
    return inner_.Write(off, from);
  }
  absl::Status Sync() override {
    const bool after_header = std::exchange(header_is_last_, false);
    if (mutant_ == Mutant::kNoBarrierAfterHeader && after_header) return absl::OkStatus();
    if (mutant_ == Mutant::kNoBarrierBeforeHeader && !after_header) return absl::OkStatus();
    return inner_.Sync();
  }

 private:
  static bool IsHeader(ByteOff off, ConstByteSpan from) {
    return from.size() == kVolumeHeaderBytes && off.v % kVolumeHeaderSpacing == 0 &&
           off.v / kVolumeHeaderSpacing < kVolumeHeaderSlots;
  }
  const Mutant mutant_;
  bool header_is_last_ = false;
};

// Does the same to the volume and to a model that is right by reading.
class Client {
 public:
  Client(Volume& volume, uint64_t seed) : volume_(volume), rng_(seed) {}

  const Contents& contents() const { return contents_; }

  absl::Status Step() {
    switch (rng_.Next64() % 10) {
      case 0:
        return CreateOrDelete();
      case 1:
        return Resize();
      case 2:
        return Zero();
      case 3:
      case 4:
      case 5:
        return Transaction();
      default:
        return WriteOne();
    }
  }

 private:
  struct Range {
    uint64_t offset = 0;
    std::string text;
  };

  std::string AnyDisk() {
    auto it = contents_.begin();
    std::advance(it, rng_.Next64() % contents_.size());
    return it->first;
  }

  Range AnyRange(const std::string& content) {
    Range range;
    range.offset = rng_.Next64() % content.size();
    uint64_t length = 1 + rng_.Next64() % (rng_.Next64() % 3 == 0 ? 150000 : 5000);
    length = std::min<uint64_t>(length, content.size() - range.offset);
    // A third is incompressible; the rest is a text with its number in it.
    range.text.resize(length);
    if (rng_.Next64() % 3 == 0) {
      rng_.Fill(ByteSpan(reinterpret_cast<std::byte*>(range.text.data()), length));
    } else {
      const std::string word = absl::StrCat("<", rng_.Next64() % 1000, ">");
      for (uint64_t i = 0; i < length; ++i) range.text[i] = word[i % word.size()];
    }
    return range;
  }

  absl::Status CreateOrDelete() {
    if (contents_.size() >= 5) {
      const std::string name = AnyDisk();
      if (rng_.Next64() % 2 == 0) {
        const std::string to = absl::StrCat("renamed-", ++serial_);
        H2_RETURN_IF_ERROR(volume_.RenameDisk({"", name}, {"", to}).status());
        contents_[to] = std::move(contents_[name]);
      } else {
        H2_RETURN_IF_ERROR(volume_.DeleteDisk({"", name}));
      }
      contents_.erase(name);
      return absl::OkStatus();
    }
    // Every other name is too long to stand in its blockref.
    ++serial_;
    const std::string name =
        absl::StrCat("disk-", serial_, serial_ % 2 == 0 ? std::string(80, 'n') : "");
    H2_RETURN_IF_ERROR(volume_.CreateDisk({"", name}, {kDiskBytes}).status());
    contents_[name] = std::string(kDiskBytes, '\0');
    return absl::OkStatus();
  }

  absl::Status WriteOne() {
    if (contents_.empty()) return CreateOrDelete();
    const std::string name = AnyDisk();
    const Range range = AnyRange(contents_[name]);
    H2_ASSIGN_OR_RETURN(const DiskRef disk, volume_.OpenDisk({"", name}));
    H2_RETURN_IF_ERROR(WriteText(volume_, disk, range.offset, range.text));
    contents_[name].replace(range.offset, range.text.size(), range.text);
    return absl::OkStatus();
  }

  absl::Status Transaction() {
    if (contents_.size() < 2) return CreateOrDelete();
    H2_ASSIGN_OR_RETURN(const TxnInfo txn, volume_.Begin({}));
    Contents after = contents_;
    for (auto& [name, content] : after) {
      H2_ASSIGN_OR_RETURN(const DiskRef disk, volume_.OpenDisk({"", name}));
      if (rng_.Next64() % 3 == 0) {
        content.resize(1 + rng_.Next64() % (2 * kDiskBytes), '\0');
        H2_RETURN_IF_ERROR(volume_.TxnResize(txn.id, disk, content.size(), {}));
      }
      const Range range = AnyRange(content);
      const ConstByteSpan bytes = AsBytes(range.text);
      H2_RETURN_IF_ERROR(volume_.TxnWrite(txn.id, disk, range.offset,
                                          std::span<const ConstByteSpan>(&bytes, 1), {}));
      content.replace(range.offset, range.text.size(), range.text);
    }
    if (rng_.Next64() % 5 == 0) return volume_.Abort(txn.id).status();
    H2_RETURN_IF_ERROR(volume_.Commit(txn.id, {}).status());
    contents_ = std::move(after);
    return absl::OkStatus();
  }

  absl::Status Zero() {
    if (contents_.empty()) return CreateOrDelete();
    const std::string name = AnyDisk();
    std::string& content = contents_[name];
    const uint64_t offset = rng_.Next64() % content.size();
    const uint64_t length = rng_.Next64() % (content.size() - offset + 1);
    H2_ASSIGN_OR_RETURN(const DiskRef disk, volume_.OpenDisk({"", name}));
    H2_RETURN_IF_ERROR(volume_.WriteZeroes(disk, offset, length, {}).status());
    std::fill_n(content.begin() + static_cast<std::ptrdiff_t>(offset), length, '\0');
    return absl::OkStatus();
  }

  absl::Status Resize() {
    if (contents_.empty()) return CreateOrDelete();
    const std::string name = AnyDisk();
    const uint64_t size = 1 + rng_.Next64() % (2 * kDiskBytes);
    H2_RETURN_IF_ERROR(volume_.ResizeDisk({"", name}, size).status());
    contents_[name].resize(size, '\0');
    return absl::OkStatus();
  }

  Volume& volume_;
  SeededRandom rng_;
  Contents contents_;
  int serial_ = 0;
};

absl::StatusOr<Contents> ReadContents(Volume& volume) {
  Contents contents;
  H2_ASSIGN_OR_RETURN(const DiskList list, volume.ListDisks("", 1000, ""));
  for (const DiskInfo& info : list.disks) {
    H2_ASSIGN_OR_RETURN(const DiskRef disk, volume.OpenDisk(info.name));
    H2_ASSIGN_OR_RETURN(contents[info.name.path], ReadAll(volume, disk));
  }
  return contents;
}

std::string Difference(const Contents& found, const Contents& expected) {
  for (const auto& [name, content] : expected) {
    const auto it = found.find(name);
    if (it == found.end()) return absl::StrCat("disk ", name, " is missing");
    if (it->second.size() != content.size()) {
      return absl::StrCat("disk ", name, " has ", it->second.size(), " bytes, not ",
                          content.size());
    }
    const auto at = std::mismatch(content.begin(), content.end(), it->second.begin()).first;
    if (at != content.end()) {
      return absl::StrCat("disk ", name, " differs at ", at - content.begin());
    }
  }
  return found.size() == expected.size() ? "" : "there is a disk too many";
}

VolumeOptions OptionsOf(const Workload& workload) {
  VolumeOptions options = ManualOptions();
  if (!workload.threads) return options;
  options.manual_cycles = false;
  options.flush_age = absl::ZeroDuration();
  options.flusher_threads = 3;
  return options;
}

}  // namespace

uint64_t CrashRecord::PromisedAt(size_t cut) const {
  uint64_t promised = kFormatTid.v;
  for (const Promise& promise : promises) {
    if (promise.events <= cut) promised = promise.mirror_tid;
  }
  return promised;
}

absl::StatusOr<CrashRecord> RunWorkload(const Workload& workload) {
  CrashRecord record;
  H2_ASSIGN_OR_RETURN(record.base, FormattedImage(workload.volume_bytes, {}, workload.seed));
  record.published[kFormatTid.v] = {};
  MemoryDevice memory(record.base);
  IoLog log;
  RecordingDevice recorder(memory, log, 0);
  MutantDevice device(recorder, workload.mutant);
  SeededRandom random(workload.seed + 1);
  VolumeEnv env;
  env.random = &random;
  H2_ASSIGN_OR_RETURN(const std::unique_ptr<Volume> volume,
                      OpenOn(device, OptionsOf(workload), env));
  Client client(*volume, workload.seed + 2);
  for (int cycle = 0; cycle < workload.cycles; ++cycle) {
    const uint64_t steps = 1 + random.Next64() % 8;
    for (uint64_t step = 0; step < steps; ++step) H2_RETURN_IF_ERROR(client.Step());
    if (random.Next64() % 4 == 0 && !workload.threads) {
      H2_RETURN_IF_ERROR(volume->RunCycle());  // published, but promised to nobody
      record.published[volume->GetStatus().mirror_tid.v] = client.contents();
      continue;
    }
    H2_ASSIGN_OR_RETURN(const SyncResult synced, volume->Sync(nullptr, {}));
    record.published[synced.mirror_tid.v] = client.contents();
    record.promises.push_back({log.size(), synced.mirror_tid.v});
  }
  record.log = log.events();
  return record;
}

absl::Status Judge(const CrashRecord& record, size_t cut, SparseImage image) {
  MemoryDevice device(std::move(image));
  {
    absl::StatusOr<std::unique_ptr<Volume>> volume = OpenOn(device, ManualOptions());
    if (!volume.ok()) return Annotate(volume.status(), "the volume does not open");
    const uint64_t tid = (*volume)->GetStatus().mirror_tid.v;
    if (tid < record.PromisedAt(cut)) {
      return absl::DataLossError(absl::StrFormat(
          "a Sync had promised mirror_tid %d, the volume has %d", record.PromisedAt(cut), tid));
    }
    const auto state = record.published.find(tid);
    if (state == record.published.end()) {
      return absl::DataLossError(absl::StrCat("mirror_tid ", tid, " was never published"));
    }
    H2_ASSIGN_OR_RETURN(const Contents found, ReadContents(**volume));
    const std::string difference = Difference(found, state->second);
    if (!difference.empty()) {
      return absl::DataLossError(absl::StrCat("at mirror_tid ", tid, ": ", difference));
    }
    H2_RETURN_IF_ERROR((*volume)->Close());
  }
  CheckOptions options;
  options.all_slots_strict = true;
  BlockDevice* devices[] = {&device};
  const CheckReport report = CheckDevices(devices, options);
  if (report.errors != 0) {
    return absl::DataLossError(
        absl::StrCat("the checker found: ", report.ToString(Severity::kError)));
  }
  return absl::OkStatus();
}

CrashTally JudgeAllCuts(const CrashRecord& record, uint64_t seed, int draws) {
  CrashTally tally;
  SeededRandom rng(seed);
  CrashStates states({record.base}, record.log);
  for (size_t cut = 0; cut <= record.log.size(); ++cut) {
    states.AdvanceTo(cut);
    for (int draw = 0; draw < draws; ++draw) {
      ++tally.states;
      const absl::Status verdict = Judge(record, cut, std::move(states.Draw(rng).front()));
      if (verdict.ok()) continue;
      tally.first_failure =
          Annotate(verdict, absl::StrFormat("cut at event %d of %d, draw %d, state %d", cut,
                                            record.log.size(), draw, tally.states));
      return tally;
    }
  }
  return tally;
}

}  // namespace h2bd
