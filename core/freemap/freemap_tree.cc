#include "core/freemap/freemap_tree.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "core/media/check_code.h"
#include "core/media/decode.h"
#include "core/media/placement.h"

namespace h2bd {
namespace {

constexpr unsigned kLevelBits = 8;          // a node covers 256 times what its children cover
constexpr uint32_t kAnyRadix = 0xffffffff;  // bigmask that never hides space (spec 02 section 2.6)

auto LowerBound(std::vector<FreemapEntry>& entries, Key key) {
  return std::lower_bound(entries.begin(), entries.end(), key,
                          [](const FreemapEntry& e, Key k) { return e.bref.last_key() < k; });
}

Blockref NewBref(BrefType type, Key key, unsigned keybits) {
  Blockref bref;
  bref.type = type;
  bref.set_methods(CheckMethod::kFreemap, CompMethod::kNone);
  bref.keybits = static_cast<uint8_t>(keybits);
  bref.key = key;
  return bref;
}

void InsertSorted(FreemapNode& table, FreemapEntry entry) {
  table.entries.insert(LowerBound(table.entries, entry.bref.key), std::move(entry));
  table.changed = true;
}

// Puts the lowest of the entries with the smallest range, and all that lie in its range of the next
// level, below a new node. May gain no room: then the next call takes the next.
void AddNode(FreemapNode& table) {
  const auto smallest = std::min_element(
      table.entries.begin(), table.entries.end(),
      [](const FreemapEntry& a, const FreemapEntry& b) { return a.bref.keybits < b.bref.keybits; });
  const unsigned keybits = smallest->bref.keybits + kLevelBits;
  H2_ASSERT(FreemapLevel(keybits) > 0);
  const Key key(RoundDown(smallest->bref.key.v, uint64_t{1} << keybits));
  FreemapEntry node{NewBref(BrefType::kFreemapNode, key, keybits), std::make_unique<FreemapNode>()};
  const auto first = LowerBound(table.entries, key);
  const auto last = std::find_if(first, table.entries.end(), [&](const FreemapEntry& e) {
    return !node.bref.Contains(e.bref.key);
  });
  std::move(first, last, std::back_inserter(node.node->entries));
  node.node->changed = true;
  table.entries.erase(first, last);
  InsertSorted(table, std::move(node));
}

void AddLeafTo(FreemapNode& table, size_t capacity, FreemapEntry leaf) {
  for (;;) {
    const auto at = LowerBound(table.entries, leaf.bref.key);
    if (at != table.entries.end() && at->bref.Contains(leaf.bref.key)) {
      H2_ASSERT(at->node != nullptr);
      table.changed = true;
      return AddLeafTo(*at->node, kFreemapEntries, std::move(leaf));
    }
    if (table.entries.size() < capacity) return InsertSorted(table, std::move(leaf));
    AddNode(table);
  }
}

class Planner {
 public:
  Planner(const FreemapTree::LeafImage& image, const FlushTids& tids, const CopyLedger& ledger,
          std::span<const Tid> ring, FreemapTree::Plan& plan)
      : image_(image), tids_(tids), ledger_(ledger), ring_(ring), plan_(plan) {}

  // Plans what lies below `table`. `dirty`: the keys in its range. Whether the table itself must be
  // written.
  absl::StatusOr<bool> PlanTable(FreemapNode& table, std::span<const Key> dirty) {
    bool write = table.changed;
    for (FreemapEntry& entry : table.entries) {
      while (!dirty.empty() && dirty.front() < entry.bref.key) dirty = dirty.subspan(1);
      size_t inside = 0;
      while (inside < dirty.size() && entry.bref.Contains(dirty[inside])) ++inside;
      if (entry.node == nullptr) {
        if (inside == 0) continue;
        H2_RETURN_IF_ERROR(Place(entry, image_(entry.bref.key)));
      } else {
        if (inside == 0 && !entry.node->changed) continue;
        H2_ASSIGN_OR_RETURN(const bool changed, PlanTable(*entry.node, dirty.first(inside)));
        if (!changed) continue;
        H2_RETURN_IF_ERROR(Place(entry, TableImage(*entry.node)));
      }
      write = true;
    }
    if (write) plan_.tables.push_back(&table);
    table.changed = false;
    return write;
  }

 private:
  static AlignedBuffer TableImage(const FreemapNode& node) {
    AlignedBuffer image = AlignedBuffer::Zeroed(kFreemapBlockBytes);
    H2_ASSERT(node.entries.size() <= kFreemapEntries);
    for (size_t i = 0; i < node.entries.size(); ++i) {
      StoreAs(image.span(), node.entries[i].bref, i * kBlockrefBytes);
    }
    return image;
  }

  absl::Status Place(FreemapEntry& entry, AlignedBuffer image) {
    Blockref bref = entry.bref;
    const int current =
        bref.data_off.raw == 0 ? -1 : FreemapCopyOf(bref.data_off, bref.key, bref.keybits);
    const std::optional<int> copy = ledger_.Choose({bref.key, bref.keybits}, current, ring_);
    if (!copy.has_value()) {
      return absl::FailedPreconditionError(
          absl::StrFormat("%s: each of its %d copies is named by a volume header",
                          Describe(entry.bref), kFreemapCopies));
    }
    bref.data_off = FreemapBlockPlace(bref.key, bref.keybits, *copy);
    bref.mirror_tid = tids_.mirror_tid;
    bref.modify_tid = tids_.modify_tid;
    if (entry.node != nullptr) {
      bref.set_data_count(entry.node->entries.size() * kFreemapBlockBytes);
    } else {
      // Whoever wrote it before may have hidden space; avail stays what it was when the leaf was
      // made.
      bref.set_freemap_hints(kAnyRadix, bref.freemap_avail());
    }
    SetCheck(bref, image.span());
    plan_.before.emplace_back(&entry, entry.bref);
    entry.bref = bref;
    plan_.blocks.push_back({bref, std::make_shared<const AlignedBuffer>(std::move(image))});
    return absl::OkStatus();
  }

  const FreemapTree::LeafImage& image_;
  const FlushTids& tids_;
  const CopyLedger& ledger_;
  const std::span<const Tid> ring_;
  FreemapTree::Plan& plan_;
};

}  // namespace

void VisitFreemap(const FreemapNode& node, const std::function<void(const FreemapEntry&)>& visit) {
  for (const FreemapEntry& entry : node.entries) {
    visit(entry);
    if (entry.node != nullptr) VisitFreemap(*entry.node, visit);
  }
}

bool FreemapTree::HasLeaf(Key zone_base) const {
  const FreemapNode* table = &root_;
  for (;;) {
    const auto at =
        std::lower_bound(table->entries.begin(), table->entries.end(), zone_base,
                         [](const FreemapEntry& e, Key k) { return e.bref.last_key() < k; });
    if (at == table->entries.end() || !at->bref.Contains(zone_base)) return false;
    if (at->node == nullptr) return true;
    table = at->node.get();
  }
}

void FreemapTree::AddLeaf(Key zone_base, uint64_t avail) {
  FreemapEntry leaf{NewBref(BrefType::kFreemapLeaf, zone_base, kFreemapLeafRadix), nullptr};
  leaf.bref.set_freemap_hints(kAnyRadix, avail);
  AddLeafTo(root_, kBlocksetCount, std::move(leaf));
}

absl::StatusOr<FreemapTree::Plan> FreemapTree::PlanFlush(std::span<const Key> dirty,
                                                         const LeafImage& image,
                                                         const FlushTids& tids,
                                                         const CopyLedger& ledger,
                                                         std::span<const Tid> ring) {
  Plan plan;
  const absl::StatusOr<bool> planned =
      Planner(image, tids, ledger, ring, plan).PlanTable(root_, dirty);
  if (!planned.ok()) {
    Rollback(plan);
    return planned.status();
  }
  return plan;
}

void FreemapTree::Rollback(const Plan& plan) {
  for (const auto& [entry, bref] : plan.before) entry->bref = bref;
  for (FreemapNode* table : plan.tables) table->changed = true;
}

std::array<Blockref, 4> FreemapTree::Blockset() const {
  std::array<Blockref, 4> blockset{};
  H2_ASSERT(root_.entries.size() <= blockset.size());
  for (size_t i = 0; i < root_.entries.size(); ++i) blockset[i] = root_.entries[i].bref;
  return blockset;
}

}  // namespace h2bd
