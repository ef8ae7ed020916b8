#include <memory>
#include <ostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/render.h"
#include "core/base/status.h"
#include "core/base/types.h"

namespace h2bd::cli {
namespace {

using client::DiskInfo;
using client::DiskName;

struct DiskArguments {
  DiskName name;
  uint64_t size_bytes = 0;
  std::string new_name;
  std::string pfs;
};

// The answer to a command that changed a disk.
absl::Status PrintChanged(Session& session, absl::string_view what,
                          const absl::StatusOr<DiskInfo>& disk) {
  if (!disk.ok()) return disk.status();
  if (session.json()) {
    PrintJson(session.out(), DiskJson(*disk));
  } else {
    session.out() << what << " " << disk->name.ToString() << ", " << ExactBytes(disk->size_bytes)
                  << "\n";
  }
  return absl::OkStatus();
}

absl::Status Create(Session& session, const DiskArguments& args) {
  H2_ASSIGN_OR_RETURN(client::Client * client, session.client());
  return PrintChanged(session, "created", client->CreateDisk(args.name, args.size_bytes));
}

absl::Status Resize(Session& session, const DiskArguments& args) {
  H2_ASSIGN_OR_RETURN(client::Client * client, session.client());
  return PrintChanged(session, "resized", client->ResizeDisk(args.name, args.size_bytes));
}

absl::Status Rename(Session& session, const DiskArguments& args) {
  // "DATA/new" for a disk of DATA is as good as "new".
  H2_ASSIGN_OR_RETURN(DiskName to, DiskName::Parse(args.new_name));
  if (!to.pfs.empty() && to.pfs != args.name.pfs) {
    return absl::InvalidArgumentError(absl::StrCat("rename ", args.name.ToString(), " to ",
                                                   args.new_name, ": a disk stays in its PFS"));
  }
  H2_ASSIGN_OR_RETURN(client::Client * client, session.client());
  return PrintChanged(session, "renamed to", client->RenameDisk(args.name, to.path));
}

absl::Status Remove(Session& session, const DiskArguments& args) {
  H2_ASSIGN_OR_RETURN(client::Client * client, session.client());
  H2_RETURN_IF_ERROR(client->DeleteDisk(args.name));
  if (session.json()) {
    PrintJson(session.out(), {{"deleted", args.name.ToString()}});
  } else {
    session.out() << "deleted " << args.name.ToString() << "\n";
  }
  return absl::OkStatus();
}

absl::Status Info(Session& session, const DiskArguments& args) {
  H2_ASSIGN_OR_RETURN(client::Client * client, session.client());
  H2_ASSIGN_OR_RETURN(const DiskInfo disk, client->GetDisk(args.name));
  if (session.json()) {
    PrintJson(session.out(), DiskJson(disk));
    return absl::OkStatus();
  }
  Facts facts;
  facts.Add("name", disk.name.ToString());
  facts.Add("size", ExactBytes(disk.size_bytes));
  facts.Add("stored", ExactBytes(disk.stored_bytes));
  facts.Add("compression", std::string(Name(disk.compression)));
  facts.Add("check code", std::string(Name(disk.check_code)));
  facts.Add("inode", absl::StrCat(disk.inode_number));
  facts.Add("created", TimeText(disk.create_time));
  facts.Add("modified", TimeText(disk.modify_time));
  facts.Print(session.out());
  return absl::OkStatus();
}

absl::Status List(Session& session, const DiskArguments& args) {
  H2_ASSIGN_OR_RETURN(client::Client * client, session.client());
  H2_ASSIGN_OR_RETURN(const std::vector<DiskInfo> disks, client->ListDisks(args.pfs));
  if (session.json()) {
    Json list = Json::array();
    for (const DiskInfo& disk : disks) list.push_back(DiskJson(disk));
    PrintJson(session.out(), {{"disks", list}});
    return absl::OkStatus();
  }
  Table table({"NAME", ">SIZE", ">STORED", "MODIFIED"});
  for (const DiskInfo& disk : disks) {
    if (disk.damaged) {
      table.AddRow({disk.name.ToString(), "damaged", "-", "-"});
      continue;
    }
    table.AddRow({disk.name.ToString(), FormatBytes(disk.size_bytes),
                  FormatBytes(disk.stored_bytes), TimeText(disk.modify_time)});
  }
  table.Print(session.out());
  return absl::OkStatus();
}

}  // namespace

void AddDiskCommands(CLI::App& app, Session& session) {
  CLI::App* disk =
      app.add_subcommand("disk", "Virtual disks: create, list, resize, rename, remove");
  disk->require_subcommand(1);
  const auto args = std::make_shared<DiskArguments>();
  const auto add = [&](const char* name, const char* description,
                       absl::Status (*run)(Session&, const DiskArguments&)) {
    CLI::App* command = disk->add_subcommand(name, description);
    session.OnCommand(command, [&session, args, run] { return run(session, *args); });
    return command;
  };
  const char* const disk_help = "NAME in the default PFS, or PFS/NAME";

  CLI::App* create = add("create", "Create a disk that reads as zeros", Create);
  AddDiskOption(create, "disk", &args->name, disk_help)->required();
  AddSizeOption(create, "--size", &args->size_bytes, "Its size, e.g. 10G")->required();

  CLI::App* ls = add("ls", "List the disks of a PFS", List);
  ls->add_option("pfs", args->pfs, "PFS; none: the default one")->type_name("PFS");

  CLI::App* info = add("info", "Show one disk", Info);
  AddDiskOption(info, "disk", &args->name, disk_help)->required();

  CLI::App* resize =
      add("resize", "Grow or shrink a disk; what lies behind the new end is lost", Resize);
  AddDiskOption(resize, "disk", &args->name, disk_help)->required();
  AddSizeOption(resize, "--size", &args->size_bytes, "Its new size")->required();

  CLI::App* rename = add("rename", "Rename a disk within its PFS", Rename);
  AddDiskOption(rename, "disk", &args->name, disk_help)->required();
  rename->add_option("new_name", args->new_name, "Its new name")->type_name("NAME")->required();

  CLI::App* rm = add("rm", "Delete a disk and all that is on it", Remove);
  AddDiskOption(rm, "disk", &args->name, disk_help)->required();
}

}  // namespace h2bd::cli
