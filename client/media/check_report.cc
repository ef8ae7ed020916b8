#include "client/media/check_report.h"

#include <unistd.h>

#include <ostream>

#include "absl/strings/str_format.h"

namespace h2bd {
namespace {

MediaJson ToJson(const Finding& f) {
  return {{"severity", std::string(Name(f.severity))},
          {"code", std::string(Name(f.code))},
          {"slot", f.slot >= 0 ? MediaJson(f.slot) : MediaJson(nullptr)},
          {"old_slot", f.old_slot},
          {"place", f.place},
          {"text", f.text}};
}

MediaJson ToJson(const SlotReport& s) {
  return {{"slot", s.slot},
          {"mirror_tid", s.mirror_tid},
          {"newest", s.newest},
          {"inodes", s.blocks.inodes},
          {"indirects", s.blocks.indirects},
          {"data", s.blocks.data},
          {"dirents", s.blocks.dirents},
          {"freemap_nodes", s.blocks.freemap_nodes},
          {"freemap_leaves", s.blocks.freemap_leaves},
          {"bytes", s.blocks.bytes}};
}

}  // namespace

MediaJson ToJson(const CheckReport& report) {
  MediaJson slots = MediaJson::array(), findings = MediaJson::array();
  for (const SlotReport& slot : report.slots) slots.push_back(ToJson(slot));
  for (const Finding& finding : report.findings) findings.push_back(ToJson(finding));
  return {{"clean", report.clean()},
          {"errors", report.errors},
          {"warnings", report.warnings},
          {"notes", report.notes},
          {"leaked_bytes", report.leaked_bytes},
          {"staged_bytes", report.staged_bytes},
          {"slots", std::move(slots)},
          {"findings", std::move(findings)}};
}

void Print(const CheckReport& report, std::ostream& out) {
  for (const Finding& f : report.findings) {
    out << absl::StrFormat("%-7s %s", Name(f.severity), Name(f.code));
    if (f.slot >= 0) out << absl::StrFormat(" [slot %d%s]", f.slot, f.old_slot ? ", older" : "");
    if (!f.place.empty()) out << " " << f.place;
    out << ": " << f.text << '\n';
  }
  const uint64_t all = report.errors + report.warnings + report.notes;
  if (all > report.findings.size()) {
    out << absl::StrFormat("… and %d more\n", all - report.findings.size());
  }
  for (const SlotReport& s : report.slots) {
    out << absl::StrFormat(
        "slot %d%s: mirror_tid %d, %d inodes, %d indirect blocks, %d data blocks, %d entries, %s\n",
        s.slot, s.newest ? " (newest)" : "", s.mirror_tid, s.blocks.inodes, s.blocks.indirects,
        s.blocks.data, s.blocks.dirents, FormatBytes(s.blocks.bytes));
  }
  out << absl::StrFormat("%s: %d errors, %d warnings, %d notes\n",
                         report.clean() ? "clean" : "not clean", report.errors, report.warnings,
                         report.notes);
}

void ProgressLine::Draw(const CheckProgress& p) {
  if (!wanted_ || p.bytes_done - last_bytes_ < 16 * kMiB) return;
  last_bytes_ = p.bytes_done;
  drawn_ = true;
  Write(absl::StrFormat("\r\x1b[Kcheck  slot %d  %d blocks  %s", p.slot, p.blocks_done,
                        FormatBytes(p.bytes_done)));
}

ProgressLine::ProgressLine() : wanted_(isatty(STDERR_FILENO) == 1) {}

ProgressLine::~ProgressLine() {
  if (drawn_) Write("\r\x1b[K");
}

void ProgressLine::Write(const std::string& text) {
  // Nothing depends on it.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace h2bd
