// Collects findings: severity by mode, no repetition over header slots, bounded memory.
#pragma once

#include <cstdint>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "core/fsck/findings.h"

namespace h2bd {

class FindingLog {
 public:
  FindingLog(CheckReport& report, bool strict, size_t findings_max)
      : report_(report), strict_(strict), findings_max_(findings_max) {}

  // What follows is seen through this header. On older ones errors are warnings, unless strict.
  void BeginSlot(int slot, bool newest);
  void EndSlots();

  // `place` and `text` must not name the slot: a finding that differs in nothing else is not
  // repeated.
  void Add(FindingCode code, std::string place, std::string text);
  void AddEvenIfMuted(FindingCode code, std::string place, std::string text);

  // Findings added while one of these lives are dropped.
  class Mute {
   public:
    Mute(FindingLog& log, bool on) : log_(log), on_(on) { log_.muted_ += on_ ? 1 : 0; }
    ~Mute() { log_.muted_ -= on_ ? 1 : 0; }
    Mute(const Mute&) = delete;
    Mute& operator=(const Mute&) = delete;

   private:
    FindingLog& log_;
    const bool on_;
  };
  bool muted() const { return muted_ > 0; }

  // Findings so far, the repeated and muted ones not counted.
  uint64_t total() const { return report_.errors + report_.warnings + report_.notes; }

 private:
  CheckReport& report_;
  const bool strict_;
  const size_t findings_max_;
  int slot_ = -1;
  bool newest_ = true;
  int muted_ = 0;
  absl::flat_hash_set<size_t> seen_;  // hashes of (code, place, text)
};

}  // namespace h2bd
