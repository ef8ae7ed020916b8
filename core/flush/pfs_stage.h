// What a cycle does with PFSs as a whole: their roots and the super-root (spec 04 section 6.1, P3
// and P4).
#pragma once

#include <array>

#include "core/flush/flusher_parts.h"

namespace h2bd {

// The flusher's alone. Its cost depends on the PFSs that have changed, not on how many there are.
class PfsStage {
 public:
  explicit PfsStage(const FlusherParts& parts) : parts_(parts) {}

  // P3: the roots of all PFSs that have changed.
  absl::Status FlushRoots(const FlushTids& tids);
  // P4; returns sroot_blockset of the next header.
  absl::StatusOr<std::array<Blockref, 4>> FlushSuperRoot(const FlushTids& tids);
  // The header that has all of it is confirmed.
  void Confirmed();

 private:
  const FlusherParts parts_;
};

}  // namespace h2bd
