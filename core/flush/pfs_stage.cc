#include "core/flush/pfs_stage.h"

#include "absl/strings/str_cat.h"

namespace h2bd {

absl::Status PfsStage::FlushRoots(const FlushTids& tids) {
  for (Pfs* pfs : parts_.pfses.dirty()) {
    if (!pfs->root().modified()) continue;
    const absl::Status flushed = pfs->Flush(tids, parts_.executor).status();
    if (!flushed.ok()) return Annotate(flushed, absl::StrCat("PFS ", pfs->label()));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::array<Blockref, 4>> PfsStage::FlushSuperRoot(const FlushTids& tids) {
  // A root that an aborted cycle has flushed already is not modified any more, but the super-root
  // may not know its blockref: hand in all that are dirty, unchanged ones cost nothing.
  std::vector<Blockref> roots;
  for (Pfs* pfs : parts_.pfses.dirty()) roots.push_back(pfs->root().bref());
  return parts_.pfses.FlushSuperRoot(tids, roots, parts_.executor);
}

void PfsStage::Confirmed() {
  parts_.pfses.ForgetClean();
  parts_.pfses.TrimInodes();
}

}  // namespace h2bd
