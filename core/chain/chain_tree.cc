#include "core/chain/chain_tree.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/chain/table_search.h"

namespace h2bd {
namespace {

// Leaves that Scan takes under one hold of the lock.
constexpr size_t kLeavesPerHold = 64;

void Touch(const Chain& chain) {
  // The test keeps the cache line shared between readers.
  if (!chain.referenced.load(std::memory_order_relaxed)) {
    chain.referenced.store(true, std::memory_order_relaxed);
  }
}

// Modified chains from `chain` down: what is above one is modified, too.
int64_t CountModified(const Chain& chain) {
  if (!chain.modified) return 0;
  int64_t modified = 1;
  for (const auto& [key, child] : chain.children) modified += CountModified(*child);
  return modified;
}

}  // namespace

bool Chain::Covers(Key first, Key last) const {
  const uint64_t end = keybits >= 64 ? UINT64_MAX : key.v + ((uint64_t{1} << keybits) - 1);
  return key <= first && last.v <= end;
}

ChainTree::ChainTree(TableKind kind, std::vector<Blockref> blockset, uint8_t methods,
                     BlockStore& store, ChainCache& cache,
                     std::shared_ptr<const ShareHorizon> horizon)
    : kind_(kind), store_(store), cache_(cache), horizon_(std::move(horizon)), methods_(methods) {
  H2_ASSERT(blockset.size() <= kBlocksetCount);
  root_.entries = std::move(blockset);
}

ChainTree::~ChainTree() {
  if (registered_.load()) cache_.Unregister(this);
  absl::MutexLock lock(&mu_);
  cache_.Release(loaded_bytes_);
  CountDirty(-CountModified(root_));
}

void ChainTree::Abandon() {
  absl::MutexLock lock(&mu_);
  CountDirty(-CountModified(root_));
  abandoned_ = true;
}

void ChainTree::CountDirty(int64_t chains) {
  if (!abandoned_) store_.metrics().dirty_chains.Add(chains);
}

absl::StatusOr<std::optional<Blockref>> ChainTree::Find(Key key) {
  absl::StatusOr<Place> place = Lookup(key);
  if (!place.ok()) return place.status();
  return place->leaf;
}

absl::StatusOr<int> ChainTree::Depth(Key key) {
  absl::StatusOr<Place> place = Lookup(key);
  if (!place.ok()) return place.status();
  return place->levels;
}

absl::Status ChainTree::TooDeep(const Blockref& bref) {
  return absl::DataLossError(
      absl::StrCat(Describe(bref), ": more than ", kLevelsMax, " levels of tables"));
}

ChainTree::Place ChainTree::PlaceIn(std::span<const Blockref> entries, Key key) {
  const Blockref* entry = EntryAt(entries, key);
  if (entry == nullptr) return {};
  if (entry->type == BrefType::kIndirect) return {.unread = *entry};
  return {.leaf = *entry};
}

ChainTree::Place ChainTree::WalkLoaded(Key key) const {
  const Chain* chain = &root_;
  for (int levels = 0;; ++levels) {
    Touch(*chain);
    const Blockref* entry = EntryAt(chain->entries, key);
    if (entry == nullptr) return {.levels = levels};
    if (entry->type != BrefType::kIndirect) return {.leaf = *entry, .levels = levels};
    const auto child = chain->children.find(entry->key.v);
    if (child == chain->children.end()) return {.unread = *entry, .levels = levels};
    chain = child->second.get();
  }
}

// What was copied under the lock stays true on media: blocks are immutable. So the rest of the way
// is read from private copies, whatever writers and the cache do meanwhile, and the answer is that
// of the instant of WalkLoaded.
absl::StatusOr<ChainTree::Place> ChainTree::Lookup(Key key) {
  const ReaderEpochs::Scope scope(store_.readers());
  for (;;) {
    Place place;
    uint64_t seen = 0;
    {
      absl::ReaderMutexLock lock(&mu_);
      seen = retired_;
      place = WalkLoaded(key);
    }
    absl::Status status;
    while (place.unread.has_value() && status.ok()) {
      const int levels = place.levels + 1;
      if (levels > kLevelsMax) return TooDeep(*place.unread);
      absl::StatusOr<std::vector<Blockref>> entries = ReadForReader(*place.unread);
      status = entries.status();
      if (status.ok()) {
        place = PlaceIn(*entries, key);
        place.levels = levels;
      }
    }
    if (status.ok()) return place;
    // The block may have been given away since: then look again.
    if (retired() == seen) return status;
  }
}

uint64_t ChainTree::retired() const {
  absl::ReaderMutexLock lock(&mu_);
  return retired_;
}

absl::Status ChainTree::Scan(Key first, Key last, absl::FunctionRef<bool(const Blockref&)> visit) {
  for (;;) {
    H2_ASSIGN_OR_RETURN(const Run run, NextRun(first, last));
    if (run.leaves.empty()) return absl::OkStatus();
    for (const Blockref& leaf : run.leaves) {
      if (!visit(leaf)) return absl::OkStatus();
    }
    const Key done = run.leaves.back().last_key();
    if (done >= last) return absl::OkStatus();
    first = Key(done.v + 1);
  }
}

// The next leaves that meet [first, last], at least one unless there is none; `first` moves over
// ranges that turned out to be empty.
absl::StatusOr<ChainTree::Run> ChainTree::NextRun(Key& first, Key last) {
  const ReaderEpochs::Scope scope(store_.readers());
  for (;;) {
    Run run;
    uint64_t seen = 0;
    {
      absl::ReaderMutexLock lock(&mu_);
      seen = retired_;
      CollectLoaded(root_, first, last, run);
    }
    if (!run.leaves.empty() || !run.unread.has_value()) return run;
    const absl::StatusOr<bool> more = ReadRun(first, last, run);
    if (more.ok()) {
      if (!run.leaves.empty() || !*more) return run;
    } else if (retired() == seen) {
      return more.status();
    }
  }
}

// Goes down from run.unread, in private copies as Lookup does, until there are leaves. False when
// there is nothing more up to `last`; otherwise `first` moves behind a table without leaves.
absl::StatusOr<bool> ChainTree::ReadRun(Key& first, Key last, Run& run) {
  for (int levels = 0; run.leaves.empty(); ++levels) {
    const Blockref table = *std::exchange(run.unread, std::nullopt);
    if (levels > kLevelsMax) return TooDeep(table);
    H2_ASSIGN_OR_RETURN(const std::vector<Blockref> entries, ReadForReader(table));
    AppendRun(entries, first, last, run);
    if (!run.leaves.empty() || run.unread.has_value()) continue;
    if (table.last_key() >= last) return false;
    first = Key(table.last_key().v + 1);
    return true;
  }
  return true;
}

void ChainTree::AppendRun(std::span<const Blockref> entries, Key first, Key last, Run& run) {
  for (size_t i = FirstReaching(entries, first); i < entries.size(); ++i) {
    if (entries[i].key > last || run.leaves.size() >= kLeavesPerHold) return;
    if (entries[i].type == BrefType::kIndirect) {
      run.unread = entries[i];
      return;
    }
    run.leaves.push_back(entries[i]);
  }
}

// False when the run is full, ends at `last` or at a table that is not in memory.
bool ChainTree::CollectLoaded(const Chain& chain, Key first, Key last, Run& run) const {
  Touch(chain);
  const std::vector<Blockref>& entries = chain.entries;
  for (size_t i = FirstReaching(entries, first); i < entries.size(); ++i) {
    if (entries[i].key > last || run.leaves.size() >= kLeavesPerHold) return false;
    if (entries[i].type != BrefType::kIndirect) {
      run.leaves.push_back(entries[i]);
      continue;
    }
    const auto child = chain.children.find(entries[i].key.v);
    if (child == chain.children.end()) {
      run.unread = entries[i];
      return false;
    }
    if (!CollectLoaded(*child->second, first, last, run)) return false;
  }
  return true;
}

const Chain* ChainTree::FindLoaded(const Blockref& table) const {
  const Chain* chain = &root_;
  while (chain->keybits > table.keybits) {
    const Blockref* entry = EntryAt(chain->entries, table.key);
    if (entry == nullptr || entry->type != BrefType::kIndirect) return nullptr;
    const auto child = chain->children.find(entry->key.v);
    if (child == chain->children.end()) return nullptr;
    chain = child->second.get();
  }
  return chain->key == table.key && chain->keybits == table.keybits ? chain : nullptr;
}

absl::StatusOr<std::vector<Blockref>> ChainTree::Entries(const Blockref* table) {
  const ReaderEpochs::Scope scope(store_.readers());
  {
    absl::ReaderMutexLock lock(&mu_);
    const Chain* const chain = table == nullptr ? &root_ : FindLoaded(*table);
    if (chain != nullptr) {
      Touch(*chain);
      std::vector<Blockref> entries = chain->entries;
      for (const auto& [key, child] : chain->children) {
        if (!child->modified) continue;
        Blockref& entry = entries[FirstReaching(entries, Key(key))];
        entry.data_off = DataOff{};
        entry.modify_tid = Tid(kTidLimit);
      }
      return entries;
    }
  }
  if (table->data_off.radix() == 0) {
    return absl::AbortedError("a table has changed while trees were compared");
  }
  return ReadForReader(*table);
}

absl::StatusOr<std::vector<Blockref>> ChainTree::ReadTable(const Blockref& bref) {
  H2_ASSIGN_OR_RETURN(const AlignedBuffer block, store_.Load(bref));
  absl::StatusOr<std::vector<Blockref>> entries =
      DecodeTable(block.span(), kind_, bref.key, bref.keybits, store_.total_size());
  if (!entries.ok()) return Annotate(entries.status(), Describe(bref));
  return entries;
}

absl::StatusOr<std::vector<Blockref>> ChainTree::ReadForReader(const Blockref& bref) {
  H2_ASSIGN_OR_RETURN(std::vector<Blockref> entries, ReadTable(bref));
  {
    absl::MutexLock lock(&mu_);
    AttachIfCurrent(bref, entries);
  }
  TrimCache();
  return entries;
}

void ChainTree::AttachIfCurrent(const Blockref& bref, const std::vector<Blockref>& entries) {
  Chain* chain = &root_;
  for (int levels = 0; levels < kLevelsMax; ++levels) {
    const Blockref* entry = EntryAt(chain->entries, bref.key);
    if (entry == nullptr) return;
    if (*entry == bref) {
      Attach(*chain, bref, entries);
      return;
    }
    const auto child = chain->children.find(entry->key.v);
    if (child == chain->children.end()) return;
    chain = child->second.get();
  }
}

// The chain for `bref` in `parent`; where another thread was faster its chain stays.
Chain* ChainTree::Attach(Chain& parent, const Blockref& bref, std::vector<Blockref> entries) {
  std::unique_ptr<Chain>& chain = parent.children[bref.key.v];
  if (chain == nullptr) {
    chain = std::make_unique<Chain>();
    chain->key = bref.key;
    chain->keybits = bref.keybits;
    chain->slots = bref.data_off.bytes() / kBlockrefBytes;
    chain->entries = std::move(entries);
    chain->parent = &parent;
    chain->referenced = true;
    Charge(static_cast<int64_t>(chain->memory_bytes()));
  }
  return chain.get();
}

void ChainTree::Charge(int64_t bytes) {
  loaded_bytes_ += static_cast<uint64_t>(bytes);
  if (bytes >= 0) {
    cache_.Charge(static_cast<uint64_t>(bytes));
  } else {
    cache_.Release(static_cast<uint64_t>(-bytes));
  }
}

void ChainTree::TrimCache() {
  if (!registered_.exchange(true)) cache_.Register(this);
  cache_.Trim();
}

bool ChainTree::modified() const {
  absl::ReaderMutexLock lock(&mu_);
  return root_.modified;
}

std::array<Blockref, 4> ChainTree::TakeBlockset() {
  absl::MutexLock lock(&mu_);
  for (const auto& [key, child] : root_.children) H2_ASSERT(!child->modified);
  std::array<Blockref, 4> blockset{};
  std::copy(root_.entries.begin(), root_.entries.end(), blockset.begin());
  SetClean(root_);
  return blockset;
}

ChainStats ChainTree::stats() const {
  absl::ReaderMutexLock lock(&mu_);
  return StatsOf(root_.entries);
}

Tid ChainTree::highest_modify_tid() const {
  absl::ReaderMutexLock lock(&mu_);
  return HighestModifyTid(root_.entries);
}

void ChainTree::set_methods(uint8_t methods) {
  absl::MutexLock lock(&mu_);
  methods_ = methods;
}

}  // namespace h2bd
