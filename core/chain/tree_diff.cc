#include "core/chain/tree_diff.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/chain/table_search.h"
#include "core/media/constants.h"

namespace h2bd {
namespace {

// Equal place, equal bytes: neither tree changes a block where it lies, and while one names it
// nobody else gets it. A directory entry without a block is all in its blockref.
bool SameBlock(const Blockref& a, const Blockref& b) {
  return a.type == b.type && a.key == b.key && a.keybits == b.keybits && a.data_off == b.data_off &&
         a.check == b.check && (a.type != BrefType::kDirent || a.embed == b.embed) &&
         (a.type == BrefType::kDirent || a.data_off.radix() != 0);
}

bool IsTable(const Blockref& entry) { return entry.type == BrefType::kIndirect; }

// The entries of a tree in key order; tables are entries until they are opened.
class Cursor {
 public:
  Cursor(ChainTree& tree, uint64_t& tables, uint64_t& bytes)
      : tree_(tree), tables_(tables), bytes_(bytes) {}

  absl::Status Start() { return Push(nullptr); }

  // The first entry that ends at or behind `at`; null: none. Stays valid until the next call.
  const Blockref* Seek(Key at) {
    while (!frames_.empty()) {
      Frame& frame = frames_.back();
      while (frame.next < frame.entries.size() && frame.entries[frame.next].last_key() < at) {
        ++frame.next;
      }
      if (frame.next < frame.entries.size()) return &frame.entries[frame.next];
      frames_.pop_back();
    }
    return nullptr;
  }
  // Puts the entries of the table that Seek gave in its place; gives them.
  absl::StatusOr<const std::vector<Blockref>*> Open() {
    Frame& frame = frames_.back();
    const Blockref table = frame.entries[frame.next++];
    ++tables_;
    bytes_ += table.data_off.bytes();
    H2_RETURN_IF_ERROR(Push(&table));
    return &frames_.back().entries;
  }

 private:
  struct Frame {
    std::vector<Blockref> entries;
    size_t next = 0;
  };
  absl::Status Push(const Blockref* table) {
    if (frames_.size() > ChainTree::kLevelsMax) return ChainTree::TooDeep(*table);
    H2_ASSIGN_OR_RETURN(std::vector<Blockref> entries, tree_.Entries(table));
    frames_.push_back({std::move(entries), 0});
    return absl::OkStatus();
  }

  ChainTree& tree_;
  uint64_t& tables_;
  uint64_t& bytes_;
  std::vector<Frame> frames_;
};

class Differ {
 public:
  Differ(ChainTree& from, ChainTree& to, const TreeDiffOptions& options, TreeDiffStats& stats,
         absl::FunctionRef<bool(const TreeChange&)> visit)
      : options_(options),
        from_(from, stats.tables_read_from, stats.bytes_read),
        to_(to, stats.tables_read_to, stats.bytes_read),
        visit_(visit),
        at_(options.first) {}

  absl::Status Run();

 private:
  // Goes on from at_.
  absl::Status Step();
  absl::Status OpenOneOf(const Blockref& old_entry, const Blockref& new_entry);
  // The nearer of two entries that do not overlap, or are both leaves; one may be missing.
  absl::Status TakeNearer(const Blockref* old_entry, const Blockref* new_entry);
  // Whether the leaves of a new table say all that has changed since the old one.
  bool TellsAll(const Blockref& old_table, const std::vector<Blockref>& entries) const;
  // Visits the range from at_ or `first` on to `last`, and goes on behind it.
  void Report(Key first, Key last, const Blockref* old_leaf, const Blockref* new_leaf);
  void GoOnBehind(Key last);

  const TreeDiffOptions& options_;
  Cursor from_, to_;
  absl::FunctionRef<bool(const TreeChange&)> visit_;
  Key at_;
  bool done_ = false;
};

absl::Status Differ::Run() {
  H2_RETURN_IF_ERROR(from_.Start());
  H2_RETURN_IF_ERROR(to_.Start());
  while (!done_) H2_RETURN_IF_ERROR(Step());
  return absl::OkStatus();
}

void Differ::GoOnBehind(Key last) {
  if (last >= options_.last) {
    done_ = true;
  } else {
    at_ = Key(last.v + 1);
  }
}

void Differ::Report(Key first, Key last, const Blockref* old_leaf, const Blockref* new_leaf) {
  const TreeChange change{std::max(first, at_), std::min(last, options_.last), old_leaf, new_leaf};
  if (visit_(change)) {
    GoOnBehind(last);
  } else {
    done_ = true;
  }
}

absl::Status Differ::Step() {
  const auto within = [&](const Blockref* entry) {
    return entry != nullptr && entry->key <= options_.last ? entry : nullptr;
  };
  const Blockref* const old_entry = within(from_.Seek(at_));
  const Blockref* const new_entry = within(to_.Seek(at_));
  if (old_entry == nullptr && new_entry == nullptr) {
    done_ = true;
    return absl::OkStatus();
  }
  if (old_entry == nullptr || new_entry == nullptr || old_entry->last_key() < new_entry->key ||
      new_entry->last_key() < old_entry->key) {
    return TakeNearer(old_entry, new_entry);
  }
  if (SameBlock(*old_entry, *new_entry)) {
    GoOnBehind(new_entry->last_key());
    return absl::OkStatus();
  }
  if (IsTable(*old_entry) || IsTable(*new_entry)) return OpenOneOf(*old_entry, *new_entry);
  return TakeNearer(old_entry, new_entry);
}

absl::Status Differ::TakeNearer(const Blockref* old_entry, const Blockref* new_entry) {
  const auto begin = [&](const Blockref* entry) { return std::max(entry->key, at_); };
  const bool has_old =
      old_entry != nullptr && (new_entry == nullptr || begin(old_entry) <= begin(new_entry));
  const bool has_new =
      new_entry != nullptr && (old_entry == nullptr || begin(new_entry) <= begin(old_entry));
  if (has_old && has_new) {
    Report(begin(old_entry), std::min(old_entry->last_key(), new_entry->last_key()), old_entry,
           new_entry);
    return absl::OkStatus();
  }
  const Blockref* const entry = has_old ? old_entry : new_entry;
  if (IsTable(*entry)) return (has_old ? from_ : to_).Open().status();
  const Blockref* const other = has_old ? new_entry : old_entry;
  Key last = entry->last_key();
  if (other != nullptr && other->key <= last) last = Key(other->key.v - 1);
  Report(begin(entry), last, has_old ? old_entry : nullptr, has_new ? new_entry : nullptr);
  return absl::OkStatus();
}

absl::Status Differ::OpenOneOf(const Blockref& old_entry, const Blockref& new_entry) {
  // The wider one cannot be a leaf: the other is a table or as wide.
  if (old_entry.keybits > new_entry.keybits) return from_.Open().status();
  if (!IsTable(new_entry)) return from_.Open().status();
  const Blockref old_table = old_entry;
  const bool as_wide = old_entry.keybits == new_entry.keybits;
  H2_ASSIGN_OR_RETURN(const std::vector<Blockref>* const entries, to_.Open());
  if (!as_wide || !IsTable(old_table) || !TellsAll(old_table, *entries)) return absl::OkStatus();
  for (const Blockref& leaf : *entries) {
    if (done_ || leaf.last_key() < at_ || leaf.key > options_.last) continue;
    if (leaf.modify_tid > *options_.since) Report(leaf.key, leaf.last_key(), nullptr, &leaf);
  }
  if (!done_) GoOnBehind(old_table.last_key());
  return absl::OkStatus();
}

bool Differ::TellsAll(const Blockref& old_table, const std::vector<Blockref>& entries) const {
  if (!options_.since.has_value()) return false;
  uint64_t unchanged = 0;
  bool covers = !entries.empty() && entries.front().key == old_table.key &&
                entries.back().last_key() == old_table.last_key();
  for (size_t i = 0; i < entries.size(); ++i) {
    if (IsTable(entries[i])) return false;
    if (entries[i].modify_tid <= *options_.since) ++unchanged;
    covers = covers && (i == 0 || entries[i].key.v == entries[i - 1].last_key().v + 1);
  }
  const bool counted =
      old_table.mirror_tid > options_.trusted_since && old_table.leaf_count < kLeafCountMax;
  return covers || (counted && unchanged == old_table.leaf_count);
}

}  // namespace

absl::Status DiffTrees(ChainTree& from, ChainTree& to, const TreeDiffOptions& options,
                       TreeDiffStats& stats, absl::FunctionRef<bool(const TreeChange&)> visit) {
  return Differ(from, to, options, stats, visit).Run();
}

}  // namespace h2bd
