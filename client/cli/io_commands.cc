#include <algorithm>
#include <memory>
#include <optional>
#include <ostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/local_file.h"
#include "client/cli/render.h"
#include "core/base/status.h"
#include "core/base/types.h"

namespace h2bd::cli {
namespace {

using client::DiskName;

// Up to so many bytes go as one write, which is all there or not there after a crash.
constexpr uint64_t kPieceBytes = 1 * kMiB;

struct IoArguments {
  DiskName disk;
  uint64_t offset = 0;
  std::optional<uint64_t> length;
  std::string file = "-";
  bool durable = false;
};

// Before anything moves: a request that cannot be done as a whole is not begun.
absl::Status CheckRange(client::Client& client, const IoArguments& args, uint64_t length) {
  H2_ASSIGN_OR_RETURN(const client::DiskInfo disk, client.GetDisk(args.disk));
  if (args.offset > disk.size_bytes || length > disk.size_bytes - args.offset) {
    return absl::OutOfRangeError(
        absl::StrCat(args.disk.ToString(), ": ", length, " bytes at offset ", args.offset,
                     " do not lie within the disk of ", disk.size_bytes, " bytes"));
  }
  return absl::OkStatus();
}

absl::Status Write(Session& session, const IoArguments& args) {
  H2_ASSIGN_OR_RETURN(LocalSource source, LocalSource::Open(args.file));
  H2_ASSIGN_OR_RETURN(client::Client * client, session.client());
  H2_RETURN_IF_ERROR(CheckRange(*client, args, source.size_bytes().value_or(0)));
  // Zeros are data here: who wants them cheap uses import.
  const std::unique_ptr<client::DiskWriter> writer =
      client->OpenWriter(args.disk, {.piece_bytes = kPieceBytes, .zero_granule = 0});
  uint64_t at = args.offset;
  while (true) {
    H2_ASSIGN_OR_RETURN(LocalSource::Piece piece, source.Next(kPieceBytes));
    if (piece.bytes.empty() && piece.hole_bytes == 0) break;
    if (piece.hole_bytes != 0) {
      H2_RETURN_IF_ERROR(writer->WriteZeroes(at, piece.hole_bytes));
      at += piece.hole_bytes;
    } else {
      const auto bytes = std::make_shared<const AlignedBuffer>(std::move(piece.bytes));
      H2_RETURN_IF_ERROR(writer->Write(at, bytes));
      at += bytes->size();
    }
  }
  H2_RETURN_IF_ERROR(writer->Flush());
  if (args.durable) H2_RETURN_IF_ERROR(client->Sync(args.disk).status());
  if (session.json()) {
    PrintJson(session.out(), {{"disk", args.disk.ToString()},
                              {"offset", args.offset},
                              {"bytes", at - args.offset},
                              {"durable", args.durable}});
  } else {
    session.out() << "wrote " << at - args.offset << " bytes to " << args.disk.ToString()
                  << " at offset " << args.offset
                  << (args.durable ? ", durable\n" : ", durable after a sync\n");
  }
  return absl::OkStatus();
}

absl::Status Read(Session& session, const IoArguments& args) {
  H2_ASSIGN_OR_RETURN(client::Client * client, session.client());
  H2_RETURN_IF_ERROR(CheckRange(*client, args, args.length.value_or(0)));
  H2_ASSIGN_OR_RETURN(LocalTarget target, LocalTarget::Open(args.file));
  const client::ReaderOptions options{.offset = args.offset, .length = args.length};
  const std::unique_ptr<client::DiskReader> reader = client->OpenReader(args.disk, options);
  while (true) {
    H2_ASSIGN_OR_RETURN(const client::DiskReader::Piece piece, reader->Next());
    if (piece.bytes.empty()) break;
    H2_RETURN_IF_ERROR(target.Write(piece.bytes.span()));
  }
  return target.Finish();
}

struct SyncArguments {
  std::optional<DiskName> disk;
  std::optional<std::string> pfs;
};

absl::Status Sync(Session& session, const SyncArguments& args) {
  H2_ASSIGN_OR_RETURN(client::Client * client, session.client());
  H2_ASSIGN_OR_RETURN(const client::SyncInfo info, args.disk.has_value() ? client->Sync(*args.disk)
                                                   : args.pfs.has_value()
                                                       ? client->SyncPfs(*args.pfs)
                                                       : client->SyncAll());
  if (session.json()) {
    PrintJson(session.out(), SyncJson(info));
  } else {
    session.out() << "durable up to change " << info.durable_seq << ", mirror_tid "
                  << info.mirror_tid << " in header slot " << info.header_slot << "\n";
  }
  return absl::OkStatus();
}

}  // namespace

void AddIoCommands(CLI::App& app, Session& session) {
  const auto args = std::make_shared<IoArguments>();
  CLI::App* write = app.add_subcommand("write",
                                       "Write bytes to a disk; up to 1 MiB (of a pipe too) at a "
                                       "time is all there or not after a crash");
  AddDiskOption(write, "disk", &args->disk, "Disk")->required();
  AddSizeOption(write, "--offset", &args->offset, "Where on the disk")->required();
  write->add_option("file", args->file, "Where the bytes come from; - is standard input [-]")
      ->type_name("FILE");
  write->add_flag("--durable", args->durable, "Wait until it survives power loss");
  session.OnCommand(write, [&session, args] { return Write(session, *args); });

  CLI::App* read = app.add_subcommand("read", "Read bytes from a disk");
  AddDiskOption(read, "disk", &args->disk, "Disk")->required();
  AddSizeOption(read, "--offset", &args->offset, "Where on the disk [0]");
  AddSizeOption(read, "--length", &args->length, "How many bytes; none: up to the disk's end");
  read->add_option("file", args->file, "Where the bytes go; - is standard output [-]")
      ->type_name("FILE");
  session.OnCommand(read, [&session, args] { return Read(session, *args); });

  const auto scope = std::make_shared<SyncArguments>();
  CLI::App* sync =
      app.add_subcommand("sync", "Wait until everything written so far survives power loss");
  CLI::Option* disk =
      AddDiskOption(sync, "disk", &scope->disk, "Only this disk; none: the whole volume");
  sync->add_option("--pfs", scope->pfs, "Only the disks of this PFS")
      ->type_name("PFS")
      ->excludes(disk);
  session.OnCommand(sync, [&session, scope] { return Sync(session, *scope); });
}

}  // namespace h2bd::cli
