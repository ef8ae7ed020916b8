// A workload on a recorded device, and the judgement over any state in which a power loss can leave
// it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/base/random.h"
#include "core/volume/volume.h"
#include "tests/support/crash_image.h"
#include "tests/support/memory_device.h"

namespace h2bd {

// The rule of the commit protocol that is taken out, to see that the crash test notices.
enum class Mutant {
  kNone,
  kNoBarrierBeforeHeader,  // barrier 1 is swallowed
  kNoBarrierAfterHeader,   // barrier 2 is swallowed
  kHeaderOverConfirmed,    // each header goes to the slot of the confirmed one
};

// What a client knows: every disk by name.
using Contents = std::map<std::string, std::string>;

struct Workload {
  uint64_t volume_bytes = 0;
  int cycles = 12;
  uint64_t seed = 0;
  Mutant mutant = Mutant::kNone;
  bool threads =
      false;  // of the engine: writes reach the device in any order, cycles run for Syncs
};

// One run and its record.
struct CrashRecord {
  SparseImage base{0};  // the formatted volume, durable
  std::vector<IoEvent> log;
  // State at each published header, by mirror_tid.
  std::map<uint64_t, Contents> published;
  // A Sync that had been answered when the log had `events` entries promised this mirror_tid.
  struct Promise {
    size_t events = 0;
    uint64_t mirror_tid = 0;
  };
  std::vector<Promise> promises;  // ascending

  uint64_t PromisedAt(size_t cut) const;
};

// Runs the workload: disks are created, written in part and in whole, zeroed, discarded, resized,
// renamed and deleted, transactions write to and resize several of them, and cycles run with and
// without a Sync.
absl::StatusOr<CrashRecord> RunWorkload(const Workload& workload);

// Whether a volume with this content keeps every promise that was made before `cut`: it opens,
// holds exactly the state of one published header not older than the promised one, and the
// independent checker finds it clean.
absl::Status Judge(const CrashRecord& record, size_t cut, SparseImage image);

struct CrashTally {
  int states = 0;
  absl::Status first_failure;  // names cut and seed
};
// Judges every cut, `draws` times each, until a failure.
CrashTally JudgeAllCuts(const CrashRecord& record, uint64_t seed, int draws);

}  // namespace h2bd
