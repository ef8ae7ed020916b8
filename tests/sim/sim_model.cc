#include "tests/sim/sim_model.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/status.h"
#include "core/media/check_code.h"
#include "core/media/constants.h"

namespace h2bd {
namespace {

uint64_t Mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15;
  return hash ^ hash >> 29;
}

uint64_t Mix(uint64_t hash, const std::string& text) {
  for (const char c : text) hash = Mix(hash, static_cast<unsigned char>(c));
  return Mix(hash, text.size());
}

}  // namespace

uint64_t BlockFingerprint(ConstByteSpan block) { return IsAllZero(block) ? 0 : Xxhash64(block); }

uint64_t DiskFingerprint(uint64_t size, std::span<const uint64_t> blocks) {
  uint64_t hash = Mix(1, size);
  for (const uint64_t block : blocks) hash = Mix(hash, block);
  return hash;
}

uint64_t StateFingerprint(const DiskFingerprints& disks) {
  uint64_t hash = 2;
  for (const auto& [name, disk] : disks) {
    hash = Mix(Mix(Mix(hash, name.first), name.second), disk);
  }
  return hash;
}

DiskFingerprints FingerprintsOf(const ModelState& state) {
  DiskFingerprints disks;
  for (const auto& [name, disk] : state) disks.emplace(name, disk.fingerprint());
  return disks;
}

uint64_t ModelDisk::fingerprint() const {
  std::vector<uint64_t> blocks;
  blocks.reserve(blocks_.size());
  for (const Block& block : blocks_) blocks.push_back(block.fingerprint);
  return DiskFingerprint(size_, blocks);
}

template <class Part>
void ModelDisk::ForEachPart(uint64_t offset, uint64_t length, Part part) {
  for (uint64_t done = 0; done < length;) {
    const uint64_t begin = (offset + done) % kLogicalBytes;
    const uint64_t n = std::min(length - done, kLogicalBytes - begin);
    part((offset + done) / kLogicalBytes, begin, begin + n, done);
    done += n;
  }
}

void ModelDisk::Change(Block& block, uint64_t begin, uint64_t end, const std::byte* from) {
  AlignedBuffer bytes = block.bytes == nullptr ? AlignedBuffer::Zeroed(kLogicalBytes)
                                               : AlignedBuffer::CopyOf(block.bytes->span());
  if (from == nullptr) {
    std::memset(bytes.data() + begin, 0, end - begin);
  } else {
    std::memcpy(bytes.data() + begin, from, end - begin);
  }
  block.fingerprint = BlockFingerprint(bytes.span());
  block.bytes =
      block.fingerprint == 0 ? nullptr : std::make_shared<AlignedBuffer>(std::move(bytes));
}

void ModelDisk::Write(uint64_t offset, ConstByteSpan bytes) {
  H2_ASSERT(offset + bytes.size() <= size_);
  ForEachPart(offset, bytes.size(),
              [&](uint64_t block, uint64_t begin, uint64_t end, uint64_t done) {
                Change(blocks_[block], begin, end, bytes.data() + done);
              });
}

void ModelDisk::Zero(uint64_t offset, uint64_t length) {
  H2_ASSERT(offset + length <= size_);
  ForEachPart(offset, length, [&](uint64_t block, uint64_t begin, uint64_t end, uint64_t) {
    if (blocks_[block].bytes != nullptr) Change(blocks_[block], begin, end, nullptr);
  });
}

void ModelDisk::Resize(uint64_t size) {
  if (size < size_) Zero(size, size_ - size);
  size_ = size;
  blocks_.resize((size + kLogicalBytes - 1) / kLogicalBytes);
}

bool ModelDisk::Holds(uint64_t offset, ConstByteSpan bytes) const {
  bool same = true;
  ForEachPart(
      offset, bytes.size(), [&](uint64_t block, uint64_t begin, uint64_t end, uint64_t done) {
        const ConstByteSpan found = bytes.subspan(done, end - begin);
        const SharedBytes& own = blocks_[block].bytes;
        same = same &&
               (own == nullptr ? IsAllZero(found)
                               : std::memcmp(own->data() + begin, found.data(), found.size()) == 0);
      });
  return same;
}

History::History(ModelState first) {
  Moment moment{.state = std::move(first)};
  moment.disks = FingerprintsOf(moment.state);
  moment.fingerprint = StateFingerprint(moment.disks);
  moments_.push_back(std::move(moment));
  live_ = {0};
}

void History::Acknowledged(ModelState state, OpSeq opseq, size_t began) {
  Moment moment{
      .operation = now().operation + 1, .state = std::move(state), .opseq = opseq, .began = began};
  moment.disks = FingerprintsOf(moment.state);
  moment.fingerprint = StateFingerprint(moment.disks);
  live_.push_back(moments_.size());
  moments_.push_back(std::move(moment));
}

void History::Promised(size_t events, uint64_t operation) {
  if (promises_.empty() || promises_.back().operation < operation) {
    promises_.push_back({events, operation});
  }
}

uint64_t History::PromisedAt(size_t cut) const {
  uint64_t operation = 0;
  for (const Promise& promise : promises_) {
    if (promise.events <= cut) operation = promise.operation;
  }
  return operation;
}

uint64_t History::OperationOf(OpSeq opseq) const {
  const auto after =
      std::upper_bound(live_.begin() + 1, live_.end(), opseq,
                       [&](OpSeq value, size_t index) { return value < moments_[index].opseq; });
  return moments_[*std::prev(after)].operation;
}

void History::ServerEnded(size_t events, const Moment& survivor) {
  const uint64_t last = survivor.operation;
  while (now().operation > last) {
    moments_[live_.back()].forgotten = events;
    live_.pop_back();
  }
  // The next server counts its operations from 1 again.
  for (const size_t index : live_) moments_[index].opseq = OpSeq(0);
}

const Moment* History::Find(size_t cut, uint64_t fingerprint) const {
  const uint64_t promised = PromisedAt(cut);
  const Moment* best = nullptr;
  for (const Moment& moment : moments_) {
    if (moment.fingerprint != fingerprint || moment.operation < promised) continue;
    if (!Possible(moment, cut)) continue;
    if (best == nullptr || moment.operation >= best->operation) best = &moment;
  }
  return best;
}

std::string History::Explain(size_t cut, const DiskFingerprints& found) const {
  const uint64_t fingerprint = StateFingerprint(found);
  std::vector<std::string> lines = {
      absl::StrCat("a Sync had promised operation ", PromisedAt(cut))};
  for (const Moment& moment : moments_) {
    if (moment.fingerprint == fingerprint && Possible(moment, cut)) {
      lines.push_back(
          absl::StrCat("the volume holds the state after operation ", moment.operation));
      return absl::StrJoin(lines, "; ");
    }
  }
  lines.push_back("the volume holds the state after no operation");
  for (const auto& [name, disk] : found) {
    std::vector<uint64_t> at;
    for (const Moment& moment : moments_) {
      const auto it = moment.disks.find(name);
      if (it != moment.disks.end() && it->second == disk && Possible(moment, cut)) {
        at.push_back(moment.operation);
      }
    }
    lines.push_back(absl::StrCat(
        "disk ", name.first, "/", name.second,
        at.empty() ? " is as it never was"
                   : absl::StrCat(" is as of operations ", at.front(), " to ", at.back())));
  }
  return absl::StrJoin(lines, "; ");
}

}  // namespace h2bd
