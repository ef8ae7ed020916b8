// Edits of the tree: descents of the writer, insertion with splits, removal.
#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/chain/chain_tree.h"
#include "core/chain/table_search.h"
#include "core/chain/writer_scope.h"

namespace h2bd {
namespace {

// Edits under one hold of the lock, so that readers never wait long.
constexpr size_t kEditsPerHold = 64;

bool Always(const Blockref&) { return true; }

// A vector grows to its table's capacity and not beyond: what is charged bounds what is used.
void InsertEntry(Chain& chain, size_t at, const Blockref& entry) {
  std::vector<Blockref>& entries = chain.entries;
  H2_ASSERT(entries.size() < chain.slots);
  if (entries.size() == entries.capacity()) {
    entries.reserve(std::min(chain.slots, std::max<size_t>(4, 2 * entries.capacity())));
  }
  entries.insert(entries.begin() + static_cast<ptrdiff_t>(at), entry);
}

}  // namespace

// --- ways down
// ------------------------------------------------------------------------------------

// The deepest table on the way to `key` through those INDIRECTs that `enter` accepts. While the
// lock is released only readers attach and the cache evicts: the pin on the last chain holds it and
// all above it.
absl::StatusOr<Chain*> ChainTree::Descend(Chain& from, Key key,
                                          absl::FunctionRef<bool(const Blockref&)> enter) {
  Chain* chain = &from;
  for (int levels = 0;; ++levels) {
    chain->referenced.store(true, std::memory_order_relaxed);
    const Blockref* entry = EntryAt(chain->entries, key);
    if (entry == nullptr || entry->type != BrefType::kIndirect || !enter(*entry)) return chain;
    if (levels == kLevelsMax) return TooDeep(*entry);
    H2_ASSIGN_OR_RETURN(chain, Child(*chain, *entry));
  }
}

absl::StatusOr<Chain*> ChainTree::Child(Chain& parent, Blockref bref) {
  const auto loaded = parent.children.find(bref.key.v);
  if (loaded != parent.children.end()) return loaded->second.get();
  ++parent.pins;
  mu_.Unlock();
  absl::StatusOr<std::vector<Blockref>> entries = ReadTable(bref);
  mu_.Lock();
  --parent.pins;
  if (!entries.ok()) return entries.status();
  return Attach(parent, bref, *std::move(entries));
}

// --- insertion
// ------------------------------------------------------------------------------------

absl::Status ChainTree::Put(const Blockref& leaf) { return PutAll(std::span(&leaf, 1)); }

absl::Status ChainTree::PutAll(std::span<const Blockref> leaves, size_t* put) {
  const WriterScope scope(writing_);
  const size_t all = leaves.size();
  while (!leaves.empty()) {
    Aftermath after{.horizon = horizon()};
    const absl::Status status = PutRun(leaves, after);
    if (!status.ok()) store_.metrics().parent_update_errors.Add();
    Settle(std::move(after));
    if (put != nullptr) *put = all - leaves.size();
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

// Puts a run of leaves under one hold of the lock and takes them off the front of `leaves`.
absl::Status ChainTree::PutRun(std::span<const Blockref>& leaves, Aftermath& after) {
  absl::MutexLock lock(&mu_);
  Chain* table = &root_;
  for (size_t edits = 0; edits < kEditsPerHold && !leaves.empty(); ++edits) {
    const Blockref& leaf = leaves.front();
    H2_ASSERT(!leaf.empty() && leaf.type != BrefType::kIndirect);
    // Neighbours mostly stand in one table.
    if (!table->Covers(leaf.key, leaf.key)) table = &root_;
    H2_ASSIGN_OR_RETURN(table, PutFrom(*table, leaf, after));
    leaves = leaves.subspan(1);
  }
  return absl::OkStatus();
}

// Puts `leaf` at or below `from` and returns the table that has it.
absl::StatusOr<Chain*> ChainTree::PutFrom(Chain& from, const Blockref& leaf, Aftermath& after) {
  H2_ASSIGN_OR_RETURN(Chain * table, Descend(from, leaf.key, Always));
  H2_RETURN_IF_ERROR(CheckPlace(*table, leaf.key, leaf.keybits));
  size_t at = FirstReaching(table->entries, leaf.key);
  if (at < table->entries.size() && table->entries[at].key <= leaf.last_key()) {
    Blockref& old = table->entries[at];
    if (old == leaf) return table;
    if (old.data_off != leaf.data_off) after.dropped.Block(old, after.horizon);
    old = leaf;
    MarkModified(*table);
    store_.metrics().parent_updates.Add();
    return table;
  }
  MarkModified(*table);  // first: a table of a foreign size gets more slots by it
  while (table->entries.size() == table->slots) table = Split(*table, leaf.key);
  at = FirstReaching(table->entries, leaf.key);
  InsertEntry(*table, at, leaf);
  store_.metrics().parent_updates.Add();
  return table;
}

absl::Status ChainTree::CheckPlace(const Chain& table, Key key, unsigned keybits) {
  const Key last(key.v + ((uint64_t{1} << keybits) - 1));
  if (!table.Covers(key, last)) {
    return absl::DataLossError(absl::StrCat("new leaf at ", key.v, "/", keybits,
                                            " leaves its table ", table.key.v, "/", table.keybits));
  }
  const size_t at = FirstReaching(table.entries, key);
  if (at == table.entries.size() || table.entries[at].key > last) return absl::OkStatus();
  const Blockref& old = table.entries[at];
  if (old.key == key && old.keybits == keybits && old.type != BrefType::kIndirect) {
    return absl::OkStatus();
  }
  return absl::DataLossError(
      absl::StrCat("new leaf at ", key.v, "/", keybits, " overlaps ", Describe(old)));
}

absl::Status ChainTree::CheckPut(Key key, unsigned keybits) {
  H2_RETURN_IF_ERROR(Find(key).status());
  absl::ReaderMutexLock lock(&mu_);
  const Chain* table = &root_;
  for (;;) {
    const Blockref* entry = EntryAt(table->entries, key);
    if (entry == nullptr || entry->type != BrefType::kIndirect) break;
    const auto child = table->children.find(entry->key.v);
    if (child == table->children.end()) return absl::OkStatus();  // evicted just now
    table = child->second.get();
  }
  return CheckPlace(*table, key, keybits);
}

// Makes room in the full table `parent`: a new INDIRECT takes over every entry of its range (spec
// 03 section 3.2). Returns the table into which `inserted` goes now. Costs memory only.
Chain* ChainTree::Split(Chain& parent, Key inserted) {
  const size_t slots = NewTableSlots(kind_, parent.parent == nullptr, parent.slots);
  const KeyRange range = SplitRange(kind_, parent.entries, inserted, slots);
  if (range.keybits >= parent.keybits) {
    // A new table would be as wide as this one, which is only smaller: enlarge it (R3).
    H2_ASSERT(slots > parent.slots);
    Resize(parent, slots);
    return &parent;
  }
  auto chain = std::make_unique<Chain>();
  chain->key = range.key;
  chain->keybits = range.keybits;
  chain->slots = slots;
  chain->parent = &parent;
  SetModified(*chain);
  chain->referenced = true;

  Blockref bref;
  bref.type = BrefType::kIndirect;
  bref.key = range.key;
  bref.keybits = static_cast<uint8_t>(range.keybits);
  std::vector<Blockref>& entries = parent.entries;
  const auto begin = entries.begin() + static_cast<ptrdiff_t>(FirstReaching(entries, bref.key));
  const auto end = std::partition_point(
      begin, entries.end(), [&](const Blockref& e) { return e.key <= bref.last_key(); });
  H2_ASSERT(begin != end && begin->key >= bref.key &&
            std::prev(end)->last_key() <= bref.last_key());
  chain->entries.assign(begin, end);
  *begin = bref;
  entries.erase(std::next(begin), end);

  const auto first = parent.children.lower_bound(bref.key.v);
  const auto behind = parent.children.upper_bound(bref.last_key().v);
  for (auto it = first; it != behind;) {
    it->second->parent = chain.get();
    chain->children.insert(parent.children.extract(it++));
  }
  Charge(static_cast<int64_t>(chain->memory_bytes()));
  Chain* const result = bref.Contains(inserted) ? chain.get() : &parent;
  parent.children[bref.key.v] = std::move(chain);
  return result;
}

void ChainTree::MarkModified(Chain& chain) {
  for (Chain* c = &chain; c != nullptr && !c->modified; c = c->parent) {
    SetModified(*c);
    if (c->parent != nullptr) Resize(*c, LegalSlots(c->slots));
  }
}

void ChainTree::SetModified(Chain& chain) {
  H2_ASSERT(!chain.modified);
  chain.modified = true;
  CountDirty(1);
}

void ChainTree::SetClean(Chain& chain) {
  if (!chain.modified) return;
  chain.modified = false;
  CountDirty(-1);
}

void ChainTree::Resize(Chain& chain, size_t slots) {
  H2_ASSERT(slots >= chain.slots);
  Charge(static_cast<int64_t>((slots - chain.slots) * sizeof(Blockref)));
  chain.slots = slots;
}

// --- removal
// --------------------------------------------------------------------------------------

absl::StatusOr<bool> ChainTree::Erase(Key key) {
  const WriterScope scope(writing_);
  Aftermath after{.horizon = horizon()};
  const absl::StatusOr<bool> found = EraseLeaf(key, after);
  Settle(std::move(after));
  return found;
}

absl::StatusOr<bool> ChainTree::EraseLeaf(Key key, Aftermath& after) {
  absl::MutexLock lock(&mu_);
  H2_ASSIGN_OR_RETURN(Chain* const table, Descend(root_, key, Always));
  const Blockref* entry = EntryAt(table->entries, key);
  if (entry == nullptr || entry->key != key) return false;
  MarkModified(*table);
  if (entry->type == BrefType::kInode) {
    after.dropped.Block(*entry, after.horizon);  // its tree is the matter of who removes it
  } else {
    DropEntry(*table, *entry, after);
  }
  table->entries.erase(table->entries.begin() + (entry - table->entries.data()));
  return true;
}

absl::StatusOr<bool> ChainTree::EraseRange(Key first, Key last) {
  if (first > last) return false;
  const WriterScope scope(writing_);
  Aftermath after{.horizon = horizon()};
  const absl::StatusOr<bool> changed = EraseLeaves(first, last, after);
  Settle(std::move(after));
  return changed;
}

absl::StatusOr<bool> ChainTree::EraseLeaves(Key first, Key last, Aftermath& after) {
  absl::MutexLock lock(&mu_);
  H2_RETURN_IF_ERROR(DescendToEdges(first, last));
  return EraseWithin(root_, first, last, after);
}

absl::Status ChainTree::ReadEdges(Key first, Key last) {
  const WriterScope scope(writing_);
  absl::MutexLock lock(&mu_);
  return DescendToEdges(first, last);
}

// Only INDIRECTs that cross an end of the range must be read; they lie on the ways to its ends.
absl::Status ChainTree::DescendToEdges(Key first, Key last) {
  const auto crosses = [&](const Blockref& e) { return e.key < first || e.last_key() > last; };
  H2_ASSIGN_OR_RETURN(Chain* const left, Descend(root_, first, crosses));
  ++left->pins;  // stays while the other way is read
  const absl::Status right = Descend(root_, last, crosses).status();
  --left->pins;
  return right;
}

bool ChainTree::EraseWithin(Chain& chain, Key first, Key last, Aftermath& after) {
  bool below = false;
  std::vector<Blockref>& entries = chain.entries;
  size_t at = FirstReaching(entries, first);
  size_t kept = at;
  for (; at < entries.size() && entries[at].key <= last; ++at) {
    const Blockref& entry = entries[at];
    const bool inside =
        entry.key >= first && (entry.type != BrefType::kIndirect || entry.last_key() <= last);
    if (inside) {
      DropEntry(chain, entry, after);
      continue;
    }
    if (entry.type == BrefType::kIndirect) {
      below |= EraseWithin(*chain.children.at(entry.key.v), first, last, after);
    }
    entries[kept++] = entry;
  }
  if (kept == at) return below;
  entries.erase(entries.begin() + static_cast<ptrdiff_t>(kept),
                entries.begin() + static_cast<ptrdiff_t>(at));
  MarkModified(chain);
  return true;
}

// Drops an entry that is about to leave `chain` and what is below it; takes its own chain away.
void ChainTree::DropEntry(Chain& chain, const Blockref& entry, Aftermath& after) {
  if (entry.type == BrefType::kInode) return after.dropped.Tree(entry, kind_, after.horizon);
  if (entry.type != BrefType::kIndirect) return after.dropped.Block(entry, after.horizon);
  ++retired_;
  const auto child = chain.children.find(entry.key.v);
  if (child == chain.children.end()) {
    return after.dropped.Tree(entry, kind_, after.horizon);
  }
  after.dropped.Block(entry, after.horizon);
  after.detached.push_back(std::move(child->second));
  chain.children.erase(child);
}

// What needs no lock: looking at what was detached, freeing memory, keeping the cache small.
void ChainTree::Settle(Aftermath after) {
  uint64_t bytes = 0;
  int64_t modified = 0;
  for (const auto& chain : after.detached) {
    bytes += DropBelow(*chain, after.dropped, after.horizon, modified);
  }
  if (bytes > 0 || after.dropped.size() > 0) {
    absl::MutexLock lock(&mu_);
    Charge(-static_cast<int64_t>(bytes));
    CountDirty(-modified);
    Keep(std::move(after.dropped));
  }
  after.detached.clear();
  TrimCache();
}

}  // namespace h2bd
