#include <algorithm>
#include <ostream>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/media/actions.h"
#include "client/media/images.h"
#include "client/media/raw_tree.h"
#include "client/media/report.h"
#include "core/fsck/tree_digest.h"
#include "core/media/freemap_data.h"

namespace h2bd {
namespace {

std::string HexText(uint64_t value) { return absl::StrFormat("0x%x", value); }

// --- headers --------------------------------------------------------------------------------

std::vector<std::pair<std::string, std::string>> HeaderFacts(const VolumeData& h) {
  return {{"volume", absl::StrFormat("id %d of %d, version %d", h.volu_id, h.nvolumes, h.version)},
          {"volu_size", ExactBytes(h.volu_size)},
          {"total_size", ExactBytes(h.total_size)},
          {"fsid", FormatUuid(h.fsid)},
          {"fstype", FormatUuid(h.fstype)},
          {"boot", absl::StrCat(HexText(h.boot_beg), "..", HexText(h.boot_end))},
          {"aux", absl::StrCat(HexText(h.aux_beg), "..", HexText(h.aux_end))},
          {"allocator", absl::StrFormat("begins at 0x%x, size 0x%x, free 0x%x", h.allocator_beg,
                                        h.allocator_size, h.allocator_free)},
          {"mirror_tid", absl::StrCat(h.mirror_tid.v)},
          {"freemap_tid", absl::StrCat(h.freemap_tid.v)}};
}

MediaJson HeaderJson(const HeaderProbe& probe, bool best) {
  MediaJson json = {{"slot", probe.slot}, {"valid", probe.status.ok()}, {"best", best}};
  if (!probe.status.ok()) json["error"] = std::string(probe.status.message());
  if (probe.header == nullptr || probe.header->magic != kVolumeMagic) return json;
  const VolumeData& h = *probe.header;
  json.update({{"version", h.version},
               {"volu_id", h.volu_id},
               {"nvolumes", h.nvolumes},
               {"volu_size", h.volu_size},
               {"total_size", h.total_size},
               {"fsid", FormatUuid(h.fsid)},
               {"boot", {h.boot_beg, h.boot_end}},
               {"aux", {h.aux_beg, h.aux_end}},
               {"allocator_beg", h.allocator_beg},
               {"allocator_size", h.allocator_size},
               {"allocator_free", h.allocator_free},
               {"mirror_tid", h.mirror_tid.v},
               {"freemap_tid", h.freemap_tid.v}});
  return json;
}

void ShowHeaders(const std::vector<BlockDevice*>& devices, const MediaIo& io, MediaJson& json) {
  for (BlockDevice* device : devices) {
    const auto probes = ProbeHeaders(*device);
    const std::optional<int> best = BestSlot(probes);
    MediaJson slots = MediaJson::array();
    if (!io.json()) {
      io.out << device->name() << ": " << ExactBytes(device->size_bytes()) << '\n';
    }
    for (const HeaderProbe& probe : probes) {
      if (!probe.present) continue;
      if (io.json()) {
        slots.push_back(HeaderJson(probe, best == probe.slot));
        continue;
      }
      io.out << absl::StrFormat("header slot %d: %s%s\n", probe.slot,
                                probe.status.ok() ? "valid" : probe.status.message(),
                                best == probe.slot ? ", the newest" : "");
      if (probe.header != nullptr && probe.header->magic == kVolumeMagic) {
        PrintFacts(io.out, HeaderFacts(*probe.header));
      }
    }
    if (io.json()) {
      json["devices"].push_back(
          {{"name", device->name()}, {"size", device->size_bytes()}, {"slots", std::move(slots)}});
    }
  }
}

// --- blockrefs ------------------------------------------------------------------------------

std::string DirentNameOf(const RawEntry& entry) {
  const size_t namlen = std::min<size_t>(entry.bref.dirent_namlen(), kNameMax);
  if (namlen <= kDirentInlineNameMax) {
    return ShowName(AsText(ConstByteSpan(entry.bref.check).first(namlen)));
  }
  return entry.raw.size() < namlen ? "?" : ShowName(AsText(entry.raw.first(namlen)));
}

std::string BlockText(const RawEntry& entry) {
  if (!entry.block.ok()) return absl::StrCat("DAMAGED: ", entry.block.message());
  return entry.shown ? "shown above" : "";
}

std::string DetailText(const RawEntry& entry) {
  if (entry.bref.type == BrefType::kDirent) {
    return absl::StrFormat("\"%s\" -> inode %d, type %d", DirentNameOf(entry),
                           entry.bref.dirent_inum().v, entry.bref.dirent_type());
  }
  if (!entry.inode.has_value()) return "";
  const InodeMeta& meta = entry.inode->meta;
  return absl::StrFormat("inode %d %s size %d nlinks %d \"%s\"%s%s", meta.inum.v, ModeText(meta),
                         meta.size, meta.nlinks, ShowName(entry.inode->name()),
                         meta.directdata() ? " embedded" : "", meta.pfsroot() ? " PFS root" : "");
}

void PrintEntry(const RawEntry& entry, std::ostream& out) {
  const Blockref& b = entry.bref;
  out << std::string(static_cast<size_t>(entry.depth) * 2, ' ')
      << absl::StrFormat("%s 0x%x/%d at 0x%x (%s) %s/%s tids %d/%d", Name(b.type), b.key.v,
                         b.keybits, b.data_off.offset().v, FormatBytes(b.data_off.bytes()),
                         Name(b.check_method()), Name(b.comp_method()), b.mirror_tid.v,
                         b.modify_tid.v);
  if (b.type == BrefType::kInode || b.type == BrefType::kIndirect) {
    out << absl::StrFormat(" counts %d/%d/%d", b.data_count(), b.inode_count(), b.leaf_count);
  }
  for (const std::string& text : {DetailText(entry), BlockText(entry)}) {
    if (!text.empty()) out << "  " << text;
  }
  out << '\n';
}

MediaJson EntryJson(const RawEntry& entry) {
  const Blockref& b = entry.bref;
  MediaJson json = {{"depth", entry.depth},
                    {"type", std::string(Name(b.type))},
                    {"key", HexText(b.key.v)},
                    {"keybits", b.keybits},
                    {"data_off", HexText(b.data_off.raw)},
                    {"check", std::string(Name(b.check_method()))},
                    {"comp", std::string(Name(b.comp_method()))},
                    {"mirror_tid", b.mirror_tid.v},
                    {"modify_tid", b.modify_tid.v}};
  if (!entry.block.ok()) json["error"] = std::string(entry.block.message());
  if (entry.shown) json["shown_above"] = true;
  if (b.type == BrefType::kInode || b.type == BrefType::kIndirect) {
    json.update({{"data_count", b.data_count()},
                 {"inode_count", b.inode_count()},
                 {"leaf_count", b.leaf_count}});
  }
  if (b.type == BrefType::kDirent) {
    json.update({{"name", DirentNameOf(entry)}, {"inum", b.dirent_inum().v}});
  }
  if (entry.inode.has_value()) {
    json.update({{"inum", entry.inode->meta.inum.v},
                 {"object_type", std::string(Name(entry.inode->meta.type))},
                 {"size", entry.inode->meta.size},
                 {"nlinks", entry.inode->meta.nlinks},
                 {"filename", ShowName(entry.inode->name())}});
  }
  return json;
}

void ShowEntry(const RawEntry& entry, const MediaIo& io, MediaJson& list) {
  if (io.json()) {
    list.push_back(EntryJson(entry));
  } else {
    PrintEntry(entry, io.out);
  }
}

// --- freemap --------------------------------------------------------------------------------

struct SegmentRun {
  uint64_t first = 0, count = 0;
  BmapData segment;
};

// Segments that are alike, reserved or free as a rule, make one line.
std::vector<SegmentRun> RunsOf(const FreemapLeafData& leaf, uint64_t base) {
  std::vector<SegmentRun> runs;
  for (size_t i = 0; i < leaf.size(); ++i) {
    if (!runs.empty() && runs.back().segment == leaf[i]) {
      ++runs.back().count;
    } else {
      runs.push_back({base + i * kSegBytes, 1, leaf[i]});
    }
  }
  return runs;
}

void ShowSegments(const RawEntry& entry, const MediaIo& io, MediaJson& list) {
  const auto leaf = std::make_unique<FreemapLeafData>(LoadAs<FreemapLeafData>(entry.raw));
  for (const SegmentRun& run : RunsOf(*leaf, entry.bref.key.v)) {
    std::array<int, 4> cells{};
    for (int c = 0; c < kChunksPerSegment; ++c) {
      ++cells[static_cast<size_t>(run.segment.chunk(c))];
    }
    const BmapData& s = run.segment;
    if (io.json()) {
      list.push_back({{"segment", HexText(run.first)},
                      {"count", run.count},
                      {"linear", s.linear},
                      {"class", HexText(s.class_)},
                      {"avail", s.avail},
                      {"free", cells[0]},
                      {"reserved", cells[1]},
                      {"staged", cells[2]},
                      {"allocated", cells[3]}});
    } else {
      io.out << std::string(static_cast<size_t>(entry.depth + 1) * 2, ' ')
             << absl::StrFormat(
                    "segment 0x%x x%d: linear 0x%x class %04x avail 0x%x, chunks: %d free, %d "
                    "staged, %d allocated%s\n",
                    run.first, run.count, static_cast<uint32_t>(s.linear), s.class_, s.avail,
                    cells[0], cells[2], cells[3],
                    cells[1] > 0 ? absl::StrFormat(", %d in state 01", cells[1]) : "");
    }
  }
}

// The header whose trees are shown: the one that was asked for, else the newest valid one, else any
// that has the magic at all.
std::unique_ptr<VolumeData> HeaderToShow(const std::vector<BlockDevice*>& devices,
                                         std::optional<int> slot) {
  std::unique_ptr<VolumeData> found;
  bool found_valid = false;
  for (BlockDevice* device : devices) {
    for (HeaderProbe& probe : ProbeHeaders(*device)) {
      if (probe.header == nullptr || probe.header->magic != kVolumeMagic) continue;
      if (probe.header->volu_id != 0 || (slot.has_value() && *slot != probe.slot)) continue;
      const bool valid = probe.status.ok();
      const bool better = found == nullptr || (valid && !found_valid) ||
                          (valid == found_valid && probe.header->mirror_tid > found->mirror_tid);
      if (!better) continue;
      found = std::move(probe.header);
      found_valid = valid;
    }
  }
  return found;
}

}  // namespace

absl::Status RunShow(const ShowCommand& command, const MediaIo& io) {
  H2_ASSIGN_OR_RETURN(const Devices opened, OpenImages(command.target.images, /*read_only=*/true));
  const std::vector<BlockDevice*> devices = PointersTo(opened);
  const bool all = !command.headers && !command.tree && !command.freemap;
  MediaJson json = MediaJson::object();
  if (all || command.headers) ShowHeaders(devices, io, json);
  H2_ASSIGN_OR_RETURN(const std::optional<int> slot, SlotOf(command.target, opened));
  const std::unique_ptr<VolumeData> header = HeaderToShow(devices, slot);
  const bool trees = all || command.tree || command.freemap;
  if (trees && header == nullptr) {
    io.err << "h2bd: no volume header with the magic of HAMMER2, so no trees\n";
  }
  if (trees && header != nullptr) {
    MediaSource source = RawSource(devices);
    if (all || command.tree) {
      if (!io.json()) io.out << "topology:\n";
      WalkRawTree(source, header->sroot_blockset,
                  [&](const RawEntry& entry) { ShowEntry(entry, io, json["tree"]); });
    }
    if (all || command.freemap) {
      if (!io.json()) io.out << "freemap:\n";
      WalkRawTree(source, header->freemap_blockset, [&](const RawEntry& entry) {
        ShowEntry(entry, io, json["freemap"]);
        const bool leaf = entry.bref.type == BrefType::kFreemapLeaf &&
                          entry.raw.size() == sizeof(FreemapLeafData);
        if (leaf) ShowSegments(entry, io, json["segments"]);
      });
    }
  }
  if (io.json()) PrintJson(io.out, json);
  return absl::OkStatus();
}

}  // namespace h2bd
