// What a disk may hold after power is lost: a device that records its writes and barriers, and the
// images that any cut through the record allows (spec 04 section 11).
//
// The media model: a completed Sync makes durable every write of its device that had returned when
// the Sync began. Of all other writes each 512-byte sector is there or not, in any order. Nothing
// more may be assumed. A write that failed, and every write that a failed Sync should have covered,
// stays undecided whatever Sync succeeds later (F-224), until a later write in its place is
// durable.
//
//   IoLog log;
//   RecordingDevice disk(memory, log, /*device=*/0);
//   … run the workload on `disk` …
//   const std::vector<IoEvent> events = log.events();
//   CrashStates states({base}, events);
//   for (size_t cut = 0; cut <= events.size(); ++cut) {
//     states.AdvanceTo(cut);
//     MemoryDevice after(states.Draw(rng).front());
//     … mount, check, compare with what was acknowledged before `cut` …
//   }
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/base/random.h"
#include "tests/support/memory_device.h"

namespace h2bd {

struct IoEvent {
  enum Kind { kWrite, kSync };
  Kind kind = kWrite;
  int device = 0;
  uint64_t off = 0;   // of a write
  SharedBytes bytes;  // of a write
  // A write stands in the log where it began, a Sync where it had succeeded. The other ends are
  // ticks of the log's clock: a Sync makes durable what ended before it began.
  uint64_t began = 0;           // of a Sync
  uint64_t ended = UINT64_MAX;  // of a write; UINT64_MAX: not yet, or the inner device failed it
  // Of a write: a Sync that should have covered it has failed; the server that knew it is gone.
  uint64_t doubted = UINT64_MAX, trusted = UINT64_MAX;
};

// One order over all devices of a volume. Thread-safe.
class IoLog {
 public:
  size_t size() const;
  // A copy: the record goes on while it is looked at. Bytes are shared.
  std::vector<IoEvent> events() const;
  // Another server takes the devices as they are: the next Sync covers whatever reads show.
  void ServerRestarted();

 private:
  friend class RecordingDevice;
  size_t Append(IoEvent event);
  void Ended(size_t write);
  void SyncFailed(int device, uint64_t began);
  uint64_t Tick();
  mutable absl::Mutex mu_;
  uint64_t now_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<IoEvent> events_ ABSL_GUARDED_BY(mu_);
};

// Passes everything on to `inner`, and logs writes and successful Syncs. Put a FaultDevice above
// it, not below. Both arguments outlive it.
class RecordingDevice final : public ForwardingDevice {
 public:
  RecordingDevice(BlockDevice& inner, IoLog& log, int device)
      : ForwardingDevice(inner), log_(log), device_(device) {}
  absl::Status Write(ByteOff off, ConstByteSpan from) override;
  absl::Status Sync() override;

 private:
  IoLog& log_;
  const int device_;
};

// How the writes that no barrier covers come out.
enum class CrashStyle {
  kNone,     // all lost
  kAll,      // all kept: the server was killed, the machine lives on (row 23)
  kWhole,    // each write kept or lost as a whole, applied in any order
  kSectors,  // each sector of each write kept or lost, applied in any order
  kPrefix,   // in order up to a point; the last one torn
  kAny,      // one of these, drawn
};

// Walks a record once from its start. Moving on costs only the events that are passed, and an image
// shares its pages with the others, so that thousands of states are cheap. Not thread-safe.
class CrashStates {
 public:
  // `bases[d]` is what device d held when recording began, durably. `log` outlives this.
  CrashStates(std::vector<SparseImage> bases, std::span<const IoEvent> log);

  // Power is lost when the first `cut` events have happened. `cut` never goes back.
  void AdvanceTo(size_t cut);

  // One possible content of every device.
  std::vector<SparseImage> Draw(SeededRandom& rng, CrashStyle style = CrashStyle::kAny) const;

  // What must be there, and how many writes are undecided.
  const std::vector<SparseImage>& durable() const { return durable_; }
  size_t pending() const { return pending_.size(); }

 private:
  void Settle(const IoEvent& sync);
  std::vector<SparseImage> durable_;
  std::span<const IoEvent> log_;
  size_t cut_ = 0;
  std::vector<const IoEvent*> pending_;  // in the order of the log
};

// One image of a single device, for tests that look at a few cuts only.
SparseImage CrashImage(const SparseImage& base, std::span<const IoEvent> log, size_t cut,
                       SeededRandom& rng);

}  // namespace h2bd
