#include "core/trans/trans_gate.h"

namespace h2bd {

TransGate::Apply::Apply(TransGate& gate)
    : gate_(gate), generation_((gate.mu_.ReaderLock(), gate.generation_)) {}

TransGate::Apply::~Apply() { gate_.mu_.ReaderUnlock(); }

OpSeq TransGate::Apply::Number() {
  return OpSeq(gate_.opseq_.fetch_add(1, std::memory_order_acq_rel) + 1);
}

TransGate::Cut TransGate::TakeCut() {
  const absl::Duration began = clock_.MonotonicNow();
  Cut cut;
  {
    absl::MutexLock lock(&mu_);
    cut.frozen = Generation(generation_++);
    cut.opseq = opseq();
  }
  cut_hold_.Observe(clock_.MonotonicNow() - began);
  return cut;
}

}  // namespace h2bd
