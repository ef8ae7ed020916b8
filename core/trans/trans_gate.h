// Admission of modifying operations, their numbers, and the cut (spec 04 sections 2.8 and 8.6).
#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/base/clock.h"
#include "core/base/metrics.h"
#include "core/base/types.h"

namespace h2bd {

// Numbers the intervals between cuts. Changes go into the open generation; a cut freezes it and
// opens the next. What is in one generation reaches the media in one header or not at all.
using Generation = Strong64<struct GenerationTag>;

// The gate between front ends and the flusher. A front end holds it shared while it applies one
// operation in memory, whatever number of disks it touches; a cut holds it exclusively for a few
// instructions. So an operation is on one side of a cut, never on both (I-09), and opseq(o) <= S_k
// says on which (I-10).
//
// Inside the gate: memory only. No I/O, no waiting for space, memory or a cycle (F-009, F-132).
class ABSL_LOCKABLE TransGate {
 public:
  // `clock` outlives the gate.
  explicit TransGate(Clock& clock) : clock_(clock) {}
  TransGate(const TransGate&) = delete;
  TransGate& operator=(const TransGate&) = delete;

  // One modifying operation while it is applied.
  class ABSL_SCOPED_LOCKABLE Apply {
   public:
    explicit Apply(TransGate& gate) ABSL_SHARED_LOCK_FUNCTION(gate.mu_);
    ~Apply() ABSL_UNLOCK_FUNCTION();
    Apply(const Apply&) = delete;
    Apply& operator=(const Apply&) = delete;
    // Where the operation's changes go.
    Generation generation() const { return generation_; }
    // The operation's number. Call it once, after the last change in memory (F-138).
    OpSeq Number();

   private:
    TransGate& gate_;
    const Generation generation_;
  };

  struct Cut {
    Generation frozen;  // everything up to and including this generation belongs to the cycle
    OpSeq opseq;        // S_k: every operation with a number up to this is in it
  };
  // Constant time, whatever is dirty.
  Cut TakeCut() ABSL_LOCKS_EXCLUDED(mu_);

  // Number of the last operation that was applied.
  OpSeq opseq() const { return OpSeq(opseq_.load(std::memory_order_acquire)); }

  // How long cuts held the gate, the wait for it included.
  const LatencyHistogram& cut_hold() const { return cut_hold_; }

 private:
  Clock& clock_;
  absl::Mutex mu_;
  uint64_t generation_ ABSL_GUARDED_BY(mu_) = 1;
  std::atomic<uint64_t> opseq_{0};
  LatencyHistogram cut_hold_;
};

}  // namespace h2bd
