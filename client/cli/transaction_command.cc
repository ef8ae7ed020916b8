#include <algorithm>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/batch.h"
#include "client/cli/commands.h"
#include "client/cli/local_file.h"
#include "client/cli/render.h"
#include "core/base/status.h"
#include "core/base/types.h"

namespace h2bd::cli {
namespace {

constexpr uint64_t kPieceBytes = 4 * kMiB;  // of one staged write; all pieces are committed as one

struct TransactionArguments {
  std::vector<std::string> changes;
  std::string batch;
  bool durable = false;
};

// Everything that shall change, in its order: the arguments first, then the batch.
absl::StatusOr<std::vector<BatchChange>> CollectChanges(const TransactionArguments& args) {
  std::vector<BatchChange> changes;
  for (const std::string& text : args.changes) {
    H2_ASSIGN_OR_RETURN(changes.emplace_back(), ParseChange(text));
  }
  if (!args.batch.empty()) {
    H2_ASSIGN_OR_RETURN(LocalSource source, LocalSource::Open(args.batch));
    std::string text;
    while (true) {
      H2_ASSIGN_OR_RETURN(const LocalSource::Piece piece, source.Next(kPieceBytes));
      if (piece.bytes.empty() && piece.hole_bytes == 0) break;
      absl::StrAppend(&text, AsText(piece.bytes.span()));
    }
    H2_ASSIGN_OR_RETURN(const std::vector<BatchChange> more, ParseBatch(text));
    changes.insert(changes.end(), more.begin(), more.end());
  }
  const auto inputs = std::count_if(changes.begin(), changes.end(),
                                    [](const BatchChange& c) { return c.file == "-"; });
  if (inputs + (args.batch == "-" ? 1 : 0) > 1) {
    return absl::InvalidArgumentError("standard input can be read only once");
  }
  if (changes.empty()) return absl::InvalidArgumentError("there is nothing to change");
  return changes;
}

// Gives how many bytes it covers.
absl::StatusOr<uint64_t> Stage(client::Transaction& transaction, const BatchChange& change,
                               LocalSource* source) {
  if (change.new_size.has_value()) {
    H2_RETURN_IF_ERROR(transaction.Resize(change.disk, *change.new_size));
    return 0;
  }
  if (source == nullptr) {
    H2_RETURN_IF_ERROR(transaction.WriteZeroes(change.disk, change.offset, change.zero_bytes));
    return change.zero_bytes;
  }
  uint64_t at = change.offset;
  while (true) {
    H2_ASSIGN_OR_RETURN(const LocalSource::Piece piece, source->Next(kPieceBytes));
    if (piece.hole_bytes != 0) {
      H2_RETURN_IF_ERROR(transaction.WriteZeroes(change.disk, at, piece.hole_bytes));
    } else if (!piece.bytes.empty()) {
      H2_RETURN_IF_ERROR(transaction.Write(change.disk, at, piece.bytes.span()));
    } else {
      return at - change.offset;
    }
    at += piece.hole_bytes + piece.bytes.size();
  }
}

absl::Status RunTransaction(Session& session, const TransactionArguments& args) {
  H2_ASSIGN_OR_RETURN(const std::vector<BatchChange> changes, CollectChanges(args));
  // A file that is not there is found before the server hears of anything.
  std::vector<std::unique_ptr<LocalSource>> sources;
  for (const BatchChange& change : changes) {
    if (change.file.empty()) {
      sources.push_back(nullptr);
      continue;
    }
    H2_ASSIGN_OR_RETURN(LocalSource source, LocalSource::Open(change.file));
    sources.push_back(std::make_unique<LocalSource>(std::move(source)));
  }
  H2_ASSIGN_OR_RETURN(client::Client * client, session.client());
  H2_ASSIGN_OR_RETURN(client::Transaction transaction, client->Begin({.label = "h2bd txn"}));
  uint64_t bytes = 0;
  for (size_t i = 0; i < changes.size(); ++i) {
    H2_ASSIGN_OR_RETURN(const uint64_t staged, Stage(transaction, changes[i], sources[i].get()));
    bytes += staged;
  }
  const auto durability =
      args.durable ? client::Durability::kDurable : client::Durability::kAccepted;
  H2_ASSIGN_OR_RETURN(const client::TransactionInfo info, transaction.Commit(durability));
  if (session.json()) {
    Json json = TransactionJson(info);
    json["changes"] = changes.size();
    json["bytes"] = bytes;
    PrintJson(session.out(), json);
  } else {
    session.out() << "transaction " << info.id << " " << Name(info.state) << ": " << changes.size()
                  << " changes, " << ExactBytes(bytes) << "\n";
  }
  return absl::OkStatus();
}

}  // namespace

void AddTransactionCommand(CLI::App& app, Session& session) {
  const auto args = std::make_shared<TransactionArguments>();
  CLI::App* txn = app.add_subcommand(
      "txn",
      "Write files to any disks, and resize disks, as one: all of it becomes visible and durable, "
      "or nothing");
  txn->add_option("changes", args->changes,
                  "DISK:OFFSET:FILE, the bytes of FILE at OFFSET (- is standard input), or "
                  "DISK:resize:SIZE; they take effect in their order")
      ->type_name("CHANGE");
  txn->add_option("--batch", args->batch,
                  "File with a change on each line: `write DISK OFFSET FILE`, `zero DISK OFFSET "
                  "LENGTH` or `resize DISK SIZE`")
      ->type_name("FILE");
  txn->add_flag("--durable", args->durable, "Wait until it survives power loss");
  session.OnCommand(txn, [&session, args] { return RunTransaction(session, *args); });
}

}  // namespace h2bd::cli
