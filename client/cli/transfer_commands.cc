#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/local_file.h"
#include "client/cli/progress.h"
#include "client/cli/size.h"
#include "core/base/status.h"
#include "core/base/types.h"

namespace h2bd::cli {
namespace {

using client::DiskInfo;
using client::DiskName;

constexpr uint64_t kReadBytes = 512 * kKiB;  // from a local file at a time

struct TransferArguments {
  DiskName disk;
  std::string file;
  std::optional<uint64_t> size_bytes;
  bool no_create = false;
  bool no_sync = false;
  bool quiet = false;
};

// What is said when a transfer is done.
struct Summary {
  absl::string_view verb;  // "imported", "exported"
  std::string disk;
  uint64_t size_bytes = 0;
  uint64_t data_bytes = 0;  // the rest was zeros
  bool durable = false;
  absl::Duration elapsed;
};

void PrintSummary(std::ostream& out, bool json, const Summary& summary) {
  if (json) {
    const double seconds = absl::ToDoubleSeconds(summary.elapsed);
    PrintJson(out, {{"disk", summary.disk},
                    {"bytes", summary.size_bytes},
                    {"data_bytes", summary.data_bytes},
                    {"durable", summary.durable},
                    {"seconds", seconds}});
    return;
  }
  out << summary.verb << " " << summary.disk << ": " << ExactBytes(summary.size_bytes) << ", "
      << FormatBytes(summary.data_bytes) << " of it data, in " << FormatElapsed(summary.elapsed)
      << ", " << FormatRate(summary.size_bytes, summary.elapsed) << "\n";
}

struct ImportTarget {
  DiskInfo disk;
  bool created = false;
};

absl::StatusOr<ImportTarget> CreateTarget(client::Client& client, const TransferArguments& args,
                                          std::optional<uint64_t> source_bytes) {
  const std::optional<uint64_t> size = args.size_bytes.has_value() ? args.size_bytes : source_bytes;
  if (!size.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        args.disk.ToString(), " does not exist, and a pipe does not tell its size: give --size"));
  }
  H2_ASSIGN_OR_RETURN(DiskInfo disk, client.CreateDisk(args.disk, *size));
  return ImportTarget{.disk = std::move(disk), .created = true};
}

// The disk to import into, made when it is not there, and large enough for what is known to come.
absl::StatusOr<ImportTarget> FindTarget(client::Client& client, const TransferArguments& args,
                                        const LocalSource& source) {
  const std::optional<uint64_t> source_bytes = source.size_bytes();
  if (source_bytes.value_or(0) > args.size_bytes.value_or(UINT64_MAX)) {
    return absl::OutOfRangeError(absl::StrCat(source.name(), " has ", *source_bytes,
                                              " bytes, --size allows ", *args.size_bytes));
  }
  absl::StatusOr<DiskInfo> disk = client.GetDisk(args.disk);
  if (absl::IsNotFound(disk.status()) && !args.no_create) {
    return CreateTarget(client, args, source_bytes);
  }
  if (!disk.ok()) return disk.status();
  if (args.size_bytes.value_or(disk->size_bytes) != disk->size_bytes) {
    return absl::FailedPreconditionError(absl::StrCat(
        args.disk.ToString(), " exists with ", disk->size_bytes, " bytes, not ", *args.size_bytes));
  }
  if (source_bytes.value_or(0) > disk->size_bytes) {
    return absl::OutOfRangeError(absl::StrCat(source.name(), " has ", *source_bytes, " bytes, ",
                                              args.disk.ToString(), " has ", disk->size_bytes));
  }
  return ImportTarget{.disk = *std::move(disk)};
}

// Gives how many bytes were read from `source`.
absl::StatusOr<uint64_t> Copy(LocalSource& source, client::DiskWriter& writer,
                              ProgressMeter& progress) {
  uint64_t at = 0;
  while (true) {
    H2_ASSIGN_OR_RETURN(LocalSource::Piece piece, source.Next(kReadBytes));
    if (piece.bytes.empty() && piece.hole_bytes == 0) break;
    if (piece.hole_bytes != 0) {
      H2_RETURN_IF_ERROR(writer.WriteZeroes(at, piece.hole_bytes));
      at += piece.hole_bytes;
    } else {
      const auto bytes = std::make_shared<const AlignedBuffer>(std::move(piece.bytes));
      H2_RETURN_IF_ERROR(writer.Write(at, bytes));
      at += bytes->size();
    }
    progress.Advance(writer.totals().acknowledged_bytes);
  }
  H2_RETURN_IF_ERROR(writer.Flush());
  return at;
}

absl::Status ImportInto(Session& session, client::Client& client, const TransferArguments& args,
                        LocalSource& source, const ImportTarget& target) {
  const std::string name = target.disk.name.ToString();
  Summary summary{.verb = "imported", .disk = name, .durable = !args.no_sync};
  {
    ProgressMeter progress =
        ProgressMeter::ForStderr(absl::StrCat("import ", name), source.size_bytes(), !args.quiet);
    const std::unique_ptr<client::DiskWriter> writer =
        client.OpenWriter(target.disk.name, {.skip_zeroes = target.created});
    H2_ASSIGN_OR_RETURN(summary.size_bytes, Copy(source, *writer, progress));
    if (summary.durable) H2_RETURN_IF_ERROR(client.Sync(target.disk.name).status());
    summary.data_bytes = writer->totals().data_bytes;
    summary.elapsed = progress.elapsed();
  }
  PrintSummary(session.out(), session.json(), summary);
  return absl::OkStatus();
}

absl::Status Import(Session& session, const TransferArguments& args) {
  H2_ASSIGN_OR_RETURN(LocalSource source, LocalSource::Open(args.file));
  H2_ASSIGN_OR_RETURN(client::Client * client, session.client());
  H2_ASSIGN_OR_RETURN(const ImportTarget target, FindTarget(*client, args, source));
  const absl::Status status = ImportInto(session, *client, args, source, target);
  return status.ok() ? status
                     : Annotate(status, absl::StrCat("import stopped, ", args.disk.ToString(),
                                                     " is incomplete"));
}

absl::Status Export(Session& session, const TransferArguments& args, std::ostream& notes) {
  H2_ASSIGN_OR_RETURN(client::Client * client, session.client());
  H2_ASSIGN_OR_RETURN(const DiskInfo disk, client->GetDisk(args.disk));
  H2_ASSIGN_OR_RETURN(LocalTarget target, LocalTarget::Open(args.file));
  const std::string name = disk.name.ToString();
  Summary summary{.verb = "exported", .disk = name, .size_bytes = disk.size_bytes};
  {
    ProgressMeter progress =
        ProgressMeter::ForStderr(absl::StrCat("export ", name), disk.size_bytes, !args.quiet);
    const std::unique_ptr<client::DiskReader> reader =
        client->OpenReader(disk.name, {.length = disk.size_bytes});
    while (true) {
      H2_ASSIGN_OR_RETURN(const client::DiskReader::Piece piece, reader->Next());
      if (piece.bytes.empty()) break;
      H2_RETURN_IF_ERROR(target.Write(piece.bytes.span()));
      progress.Advance(piece.offset + piece.bytes.size());
    }
    H2_RETURN_IF_ERROR(target.Finish());
    summary.elapsed = progress.elapsed();
  }
  summary.data_bytes = target.stored_bytes();
  // Standard output holds the disk then.
  PrintSummary(target.is_stdout() ? notes : session.out(), session.json(), summary);
  return absl::OkStatus();
}

}  // namespace

void AddTransferCommands(CLI::App& app, Session& session, std::ostream& notes) {
  const auto args = std::make_shared<TransferArguments>();
  CLI::App* import = app.add_subcommand(
      "import",
      "Copy a file, block device or pipe to a disk, make it when it is not there, and sync it");
  import->add_option("file", args->file, "What to copy; - is standard input")
      ->type_name("FILE")
      ->required();
  AddDiskOption(import, "disk", &args->disk, "Disk")->required();
  AddSizeOption(import, "--size", &args->size_bytes, "Size of a new disk [that of the file]");
  import->add_flag("--no-create", args->no_create, "Fail when the disk does not exist");
  import->add_flag("--no-sync", args->no_sync, "Do not wait until it survives power loss");
  import->add_flag("-q,--quiet", args->quiet, "No progress on the terminal");
  session.OnCommand(import, [&session, args] { return Import(session, *args); });

  CLI::App* export_command = app.add_subcommand(
      "export", "Copy a disk to a file (with holes for its zeros), device or pipe");
  AddDiskOption(export_command, "disk", &args->disk, "Disk")->required();
  export_command->add_option("file", args->file, "Where to; - is standard output")
      ->type_name("FILE")
      ->required();
  export_command->add_flag("-q,--quiet", args->quiet, "No progress on the terminal");
  session.OnCommand(export_command,
                    [&session, args, &notes] { return Export(session, *args, notes); });
}

}  // namespace h2bd::cli
