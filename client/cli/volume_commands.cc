#include <memory>
#include <ostream>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/commands.h"
#include "client/cli/render.h"
#include "core/base/status.h"
#include "core/base/types.h"

namespace h2bd::cli {
namespace {

using client::VolumeInfo;

std::string StateOf(const VolumeInfo& volume) {
  if (!volume.failure.ok()) return absl::StrCat("FAILED: ", volume.failure.message());
  return volume.read_only ? "read-only" : "read-write";
}

absl::Status VolumeStatus(Session& session) {
  H2_ASSIGN_OR_RETURN(client::Client * client, session.client());
  H2_ASSIGN_OR_RETURN(const VolumeInfo volume, client->GetVolume());
  if (session.json()) {
    PrintJson(session.out(), VolumeJson(volume));
    return absl::OkStatus();
  }
  const client::SpaceInfo& space = volume.space;
  Facts facts;
  facts.Add("state", StateOf(volume));
  facts.Add("fsid", volume.fsid);
  facts.Add("format", absl::StrCat("version ", volume.format_version));
  facts.Add("devices", absl::StrJoin(volume.devices, ", "));
  facts.Add("default PFS", volume.default_pfs.empty() ? "none" : volume.default_pfs);
  facts.Add("size", ExactBytes(volume.total_bytes));
  facts.Add("allocatable", ExactBytes(space.total_bytes));
  facts.Add("allocated", ExactBytes(space.allocated_bytes));
  facts.Add("free", ExactBytes(space.free_bytes));
  facts.Add("free later", ExactBytes(space.staged_bytes));
  facts.Add("reserved", ExactBytes(space.reserved_bytes));
  if (space.unreadable_bytes != 0) facts.Add("unreadable", ExactBytes(space.unreadable_bytes));
  facts.Add("volume header",
            absl::StrCat("slot ", volume.header_slot, " of ", volume.header_slots, ", mirror_tid ",
                         volume.mirror_tid, ", freemap_tid ", volume.freemap_tid));
  facts.Add("changes", absl::StrCat(volume.seq, ", durable up to ", volume.durable_seq));
  facts.Add("dirty", absl::StrCat(FormatBytes(volume.dirty_bytes), " of at most ",
                                  FormatBytes(volume.dirty_limit_bytes)));
  facts.Add("cached", absl::StrCat(FormatBytes(volume.cached_block_bytes), " of blocks, ",
                                   FormatBytes(volume.cached_chain_bytes), " of tables"));
  facts.Add("server", volume.server_version);
  facts.Print(session.out());
  return absl::OkStatus();
}

std::string PhaseTitle(const client::FlushPhaseInfo& phase) {
  return absl::StrCat(">", absl::AsciiStrToUpper(phase.name));
}

std::string Millis(absl::Duration duration) {
  return absl::StrFormat("%.3f", absl::ToDoubleMilliseconds(duration));
}

// Times in milliseconds, a line for each cycle.
absl::Status ListFlushes(Session& session, uint32_t last) {
  H2_ASSIGN_OR_RETURN(client::Client * client, session.client());
  H2_ASSIGN_OR_RETURN(const std::vector<client::FlushCycleInfo> cycles,
                      client->ListFlushCycles(last));
  if (session.json()) {
    Json list = Json::array();
    for (const client::FlushCycleInfo& cycle : cycles) list.push_back(FlushCycleJson(cycle));
    PrintJson(session.out(), {{"cycles", list}});
    return absl::OkStatus();
  }
  std::vector<std::string> titles = {">CYCLE", "STARTED", "REASON", ">DISKS", ">DATA", ">MS"};
  if (!cycles.empty()) {
    for (const auto& phase : cycles.front().phases) titles.push_back(PhaseTitle(phase));
  }
  titles.push_back("RESULT");
  const size_t columns = titles.size();
  Table table(std::move(titles));
  for (const client::FlushCycleInfo& cycle : cycles) {
    std::vector<std::string> row = {absl::StrCat(cycle.number),      TimeText(cycle.start_time),
                                    std::string(Name(cycle.reason)), absl::StrCat(cycle.disks),
                                    FormatBytes(cycle.data_bytes),   Millis(cycle.took)};
    for (const auto& phase : cycle.phases) row.push_back(Millis(phase.took));
    row.resize(columns - 1);
    row.push_back(cycle.failure.ok()
                      ? absl::StrCat("slot ", cycle.header_slot, ", mirror_tid ", cycle.mirror_tid)
                      : cycle.failure.ToString());
    table.AddRow(std::move(row));
  }
  table.Print(session.out());
  return absl::OkStatus();
}

absl::Status ListPfs(Session& session) {
  H2_ASSIGN_OR_RETURN(client::Client * client, session.client());
  H2_ASSIGN_OR_RETURN(const std::vector<client::PfsInfo> all, client->ListPfs());
  if (session.json()) {
    Json list = Json::array();
    for (const client::PfsInfo& pfs : all) {
      list.push_back({{"label", pfs.label},
                      {"type", pfs.type},
                      {"subtype", pfs.subtype},
                      {"clid", pfs.clid},
                      {"fsid", pfs.fsid}});
    }
    PrintJson(session.out(), {{"pfs", list}});
    return absl::OkStatus();
  }
  Table table({"LABEL", ">TYPE", ">SUBTYPE", "FSID"});
  for (const client::PfsInfo& pfs : all) {
    table.AddRow({pfs.label, absl::StrCat(pfs.type), absl::StrCat(pfs.subtype), pfs.fsid});
  }
  table.Print(session.out());
  return absl::OkStatus();
}

}  // namespace

void AddVolumeCommands(CLI::App& app, Session& session) {
  CLI::App* volume = app.add_subcommand("volume", "The volume behind the server");
  volume->require_subcommand(1);
  session.OnCommand(volume->add_subcommand("status", "State, space and figures"),
                    [&session] { return VolumeStatus(session); });
  CLI::App* flushes = volume->add_subcommand("flushes", "The last flush cycles, with their phases");
  auto last = std::make_shared<uint32_t>(0);
  flushes->add_option("--last", *last, "Only so many of the newest; 0: all that are remembered")
      ->capture_default_str();
  session.OnCommand(flushes, [&session, last] { return ListFlushes(session, *last); });

  CLI::App* pfs = app.add_subcommand("pfs", "The PFSs of the volume");
  pfs->require_subcommand(1);
  session.OnCommand(pfs->add_subcommand("ls", "List them"),
                    [&session] { return ListPfs(session); });
}

}  // namespace h2bd::cli
