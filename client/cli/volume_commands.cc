#include <ostream>
#include <string>

#include "absl/strings/str_cat.h"
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

  CLI::App* pfs = app.add_subcommand("pfs", "The PFSs of the volume");
  pfs->require_subcommand(1);
  session.OnCommand(pfs->add_subcommand("ls", "List them"),
                    [&session] { return ListPfs(session); });
}

}  // namespace h2bd::cli
