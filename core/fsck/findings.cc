#include "core/fsck/findings.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "core/fsck/finding_log.h"

namespace h2bd {
namespace {

constexpr Severity kN = Severity::kNote, kW = Severity::kWarning, kE = Severity::kError;

struct CodeRow {
  FindingCode code;
  absl::string_view name;
  Severity any;     // on a volume that anybody may have written
  Severity strict;  // on one that only h2bd has written (CheckOptions::all_slots_strict)
};

using C = FindingCode;
constexpr CodeRow kCodes[] = {
    {C::kDevice, "device", kE, kE},
    {C::kVolumeSet, "volume-set", kE, kE},
    {C::kHeaderInvalid, "header-invalid", kW, kE},
    {C::kHeaderBlank, "header-blank", kW, kW},
    {C::kHeaderShadow, "header-shadow", kW, kW},
    {C::kHeaderStale, "header-stale", kW, kE},
    {C::kHeaderField, "header-field", kE, kE},
    {C::kHeaderTid, "header-tid", kN, kE},
    {C::kAllocatorSize, "allocator-size", kN, kE},
    {C::kAllocatorFree, "allocator-free", kN, kE},
    {C::kReserved, "reserved", kW, kE},
    {C::kRefused, "refused", kE, kE},
    {C::kBrefType, "bref-type", kE, kE},
    {C::kBrefSize, "bref-size", kE, kE},
    {C::kBrefPlace, "bref-place", kE, kE},
    {C::kBrefKeybits, "bref-keybits", kE, kE},
    {C::kBrefKey, "bref-key", kE, kE},
    {C::kBrefRange, "bref-range", kE, kE},
    {C::kBrefFlags, "bref-flags", kW, kE},
    {C::kTableOrder, "table-order", kE, kE},
    {C::kTableOverlap, "table-overlap", kE, kE},
    {C::kIndirectSize, "indirect-size", kE, kE},
    {C::kCompMethod, "comp-method", kE, kE},
    {C::kCheckMethod, "check-method", kE, kE},
    {C::kDepth, "depth", kE, kE},
    {C::kRead, "read", kE, kE},
    {C::kCheckCode, "check-code", kE, kE},
    {C::kPayload, "payload", kE, kE},
    {C::kBlockOverlap, "block-overlap", kE, kE},
    {C::kBlockTypes, "block-types", kE, kE},
    {C::kSharedUnchecked, "shared-unchecked", kW, kE},
    {C::kMirrorTid, "mirror-tid", kW, kE},
    {C::kModifyTid, "modify-tid", kN, kE},
    {C::kStatistics, "statistics", kW, kE},
    {C::kInodeFields, "inode-fields", kE, kE},
    {C::kInodeNumber, "inode-number", kE, kE},
    {C::kDirectdata, "directdata", kE, kE},
    {C::kFileSize, "file-size", kW, kE},
    {C::kInodeOrphan, "inode-orphan", kW, kW},
    {C::kNlinks, "nlinks", kW, kW},
    {C::kIparent, "iparent", kW, kW},
    {C::kDirentName, "dirent-name", kE, kE},
    {C::kDirentHash, "dirent-hash", kE, kE},
    {C::kDirentDuplicate, "dirent-duplicate", kE, kE},
    {C::kDirentDangling, "dirent-dangling", kE, kE},
    {C::kDirentType, "dirent-type", kE, kE},
    {C::kDirectoryLinks, "directory-links", kE, kE},
    {C::kSuperRoot, "super-root", kE, kE},
    {C::kPfsRoot, "pfs-root", kE, kE},
    {C::kPfsClid, "pfs-clid", kE, kE},
    {C::kPfsName, "pfs-name", kE, kE},
    {C::kPfsInum, "pfs-inum", kE, kE},
    {C::kPfsIncomplete, "pfs-incomplete", kW, kE},
    {C::kFreemapTree, "freemap-tree", kE, kE},
    {C::kFreemapPlace, "freemap-place", kE, kE},
    {C::kFreemapCell, "freemap-cell", kE, kE},
    {C::kFreemapAvail, "freemap-avail", kE, kE},
    {C::kFreemapLinear, "freemap-linear", kE, kE},
    {C::kFreemapReserved, "freemap-reserved", kE, kE},
    {C::kFreemapUnmarked, "freemap-unmarked", kE, kE},
    {C::kFreemapLag, "freemap-lag", kN, kE},
    {C::kFreemapStaged, "freemap-staged", kN, kN},
    {C::kFreemapLeak, "freemap-leak", kN, kN},
    {C::kFreedUnderOldSlot, "freed-under-old-slot", kN, kN},
};

constexpr bool RowsFollowTheEnum() {
  size_t i = 0;
  for (const CodeRow& row : kCodes) {
    if (static_cast<size_t>(row.code) != i++) return false;
  }
  return i == kFindingCodes;
}
static_assert(RowsFollowTheEnum());

// Beyond that a finding may be repeated for an older header.
constexpr size_t kRememberedMax = 1 << 20;

const CodeRow& RowOf(FindingCode code) { return kCodes[static_cast<size_t>(code)]; }

}  // namespace

absl::string_view Name(Severity severity) {
  switch (severity) {
    case Severity::kNote:
      return "note";
    case Severity::kWarning:
      return "warning";
    case Severity::kError:
      return "error";
  }
  return "unknown";
}

absl::string_view Name(FindingCode code) {
  H2_ASSERT(code < FindingCode::kCodeCount);
  return RowOf(code).name;
}

std::string CheckReport::ToString(Severity least) const {
  std::string text = absl::StrFormat("%d errors, %d warnings, %d notes\n", errors, warnings, notes);
  for (const Finding& f : findings) {
    if (f.severity < least) continue;
    absl::StrAppendFormat(&text, "%s %s", Name(f.severity), Name(f.code));
    if (f.slot >= 0) absl::StrAppendFormat(&text, " slot %d%s", f.slot, f.old_slot ? " (old)" : "");
    absl::StrAppendFormat(&text, ": %s%s%s\n", f.place, f.place.empty() ? "" : ": ", f.text);
  }
  return text;
}

void FindingLog::BeginSlot(int slot, bool newest) {
  slot_ = slot;
  newest_ = newest;
}

void FindingLog::EndSlots() { BeginSlot(-1, true); }

void FindingLog::Add(FindingCode code, std::string place, std::string text) {
  if (muted_ == 0) AddEvenIfMuted(code, std::move(place), std::move(text));
}

void FindingLog::AddEvenIfMuted(FindingCode code, std::string place, std::string text) {
  // What an older header shares with a newer one has been said already.
  const size_t hash = absl::HashOf(static_cast<int>(code), place, text);
  if (seen_.contains(hash)) return;
  if (seen_.size() < kRememberedMax) seen_.insert(hash);
  Finding finding{strict_ ? RowOf(code).strict : RowOf(code).any,
                  code,
                  slot_,
                  /*old_slot=*/false,
                  std::move(place),
                  std::move(text)};
  if (!newest_ && !strict_) {
    finding.severity = std::min(finding.severity, Severity::kWarning);
    finding.old_slot = true;
  }
  ++report_.by_code[static_cast<size_t>(code)];
  ++(finding.severity == Severity::kError     ? report_.errors
     : finding.severity == Severity::kWarning ? report_.warnings
                                              : report_.notes);
  if (report_.findings.size() < findings_max_) report_.findings.push_back(std::move(finding));
}

}  // namespace h2bd
