#include "client/media/raw_tree.h"

#include <algorithm>
#include <array>

#include "core/media/check_code.h"
#include "core/volhdr/volume_set.h"

namespace h2bd {
namespace {

constexpr int kDepthMax = 512;

class RawWalker {
 public:
  RawWalker(MediaSource& source, absl::FunctionRef<void(const RawEntry&)> visit)
      : source_(source), visit_(visit) {}

  void WalkTable(ConstByteSpan raw, int depth) {
    for (size_t at = 0; at + kBlockrefBytes <= raw.size(); at += kBlockrefBytes) {
      const auto bref = LoadAs<Blockref>(raw, at);
      if (!bref.empty()) Visit(bref, depth);
    }
  }

 private:
  void Visit(const Blockref& bref, int depth) {
    RawEntry entry{.depth = depth, .bref = bref};
    const bool table = bref.type == BrefType::kInode || bref.type == BrefType::kIndirect ||
                       bref.type == BrefType::kFreemapNode;
    const bool wanted =
        table || bref.type == BrefType::kFreemapLeaf || bref.type == BrefType::kDirent;
    MediaBlock block;
    if (wanted && bref.data_off.raw != 0) {
      entry.shown = !entered_.insert(bref.data_off.raw).second;
      if (!entry.shown) block = Fetch(bref, entry);
    }
    entry.raw = block.bytes;
    if (bref.type == BrefType::kInode && block.bytes.size() == kInodeBytes) {
      entry.inode = LoadAs<InodeData>(block.bytes);
    }
    visit_(entry);
    if (!table || block.bytes.empty() || depth >= kDepthMax) return;
    if (bref.type != BrefType::kInode) {
      WalkTable(block.bytes, depth + 1);
    } else if (entry.inode.has_value() && !entry.inode->meta.directdata()) {
      WalkTable(ConstByteSpan(entry.inode->u), depth + 1);
    }
  }

  // The block as far as it can be read; `entry.block` says what is wrong with it.
  MediaBlock Fetch(const Blockref& bref, RawEntry& entry) {
    const DataOff off = bref.data_off;
    if (off.radix() < kRadixMin || off.radix() > kRadixMax ||
        off.offset().v % kPbufBytes + off.bytes() > kPbufBytes) {
      entry.block = absl::DataLossError("no block that lies within one device buffer");
      return {};
    }
    absl::StatusOr<MediaBlock> block = source_.Read(off.offset(), off.bytes());
    entry.block = block.ok() ? VerifyCheck(bref, block->bytes) : block.status();
    return block.ok() ? *block : MediaBlock{};
  }

  MediaSource& source_;
  absl::FunctionRef<void(const RawEntry&)> visit_;
  absl::flat_hash_set<uint64_t> entered_;
};

// The header that looks best: valid and newest, else one with the right magic.
std::unique_ptr<VolumeData> LikelyHeader(BlockDevice& device) {
  auto probes = ProbeHeaders(device);
  if (const std::optional<int> best = BestSlot(probes); best.has_value()) {
    return std::move(probes[static_cast<size_t>(*best)].header);
  }
  for (HeaderProbe& probe : probes) {
    if (probe.header != nullptr && probe.header->magic == kVolumeMagic) {
      return std::move(probe.header);
    }
  }
  return nullptr;
}

}  // namespace

void WalkRawTree(MediaSource& source, const std::array<Blockref, 4>& blockset,
                 absl::FunctionRef<void(const RawEntry&)> visit) {
  RawWalker(source, visit).WalkTable(std::as_bytes(std::span(blockset)), 0);
}

MediaSource RawSource(const std::vector<BlockDevice*>& devices) {
  struct Place {
    unsigned id;
    BlockDevice* device;
  };
  std::vector<Place> places;
  for (BlockDevice* device : devices) {
    const std::unique_ptr<VolumeData> header = LikelyHeader(*device);
    const bool known = header != nullptr && header->volu_id < kMaxVolumes;
    places.push_back({known ? header->volu_id : static_cast<unsigned>(places.size()), device});
  }
  std::stable_sort(places.begin(), places.end(),
                   [](const Place& a, const Place& b) { return a.id < b.id; });
  std::vector<MediaSource::Part> parts;
  uint64_t start = 0;
  for (size_t i = 0; i < places.size(); ++i) {
    const bool last = i + 1 == places.size();
    const uint64_t size = places[i].device->size_bytes();
    // Every volume but the last is made of whole GiB (spec 01 section 2.4).
    const uint64_t bytes =
        last ? RoundDown(size, kBufferAlignment) : RoundDown(size, kFreemapLeafSpan);
    parts.push_back({places[i].device, start, bytes});
    start += bytes;
  }
  return MediaSource(std::move(parts));
}

}  // namespace h2bd
