#include "tests/sim/sim_model.h"

#include <algorithm>
#include <cstring>
#include <set>

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

void History::Acknowledged(ModelState state, std::vector<uint64_t> changed, OpSeq opseq,
                           size_t began) {
  Moment moment{
      .operation = now().operation + 1, .state = std::move(state), .opseq = opseq, .began = began};
  moment.disks = FingerprintsOf(moment.state);
  moment.fingerprint = StateFingerprint(moment.disks);
  live_.push_back(moments_.size());
  moments_.push_back(std::move(moment));
  moments_.back().changed = std::move(changed);
}

void History::Promised(size_t events, uint64_t operation, std::vector<uint64_t> disks) {
  promises_.push_back({events, operation, std::move(disks)});
}

uint64_t History::PromisedAt(size_t cut) const {
  uint64_t operation = 0;
  for (const Promise& promise : promises_) {
    if (promise.events <= cut) operation = std::max(operation, promise.operation);
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
  while (live_.size() > 1 && now().operation > survivor.operation) {
    moments_[live_.back()].forgotten = events;
    live_.pop_back();
  }
  if (now().fingerprint != survivor.fingerprint) {
    moments_[live_.back()].forgotten = events;
    live_.back() = static_cast<size_t>(
        std::find_if(moments_.begin(), moments_.end(),
                     [&](const Moment& moment) { return &moment == &survivor; }) -
        moments_.begin());
    moments_[live_.back()].began = events;  // no longer the find of one crash, but the state
  }
  // The next server counts its operations from 1 again.
  for (const size_t index : live_) moments_[index].opseq = OpSeq(0);
}

const Moment* History::Find(size_t cut, const DiskFingerprints& found) {
  const Moment* const exact = FindExact(cut, StateFingerprint(found));
  if (exact != nullptr || !disks_may_lag_) return exact;
  for (size_t i = moments_.size(); i-- > 0;) {
    if (!Possible(moments_[i], cut)) continue;
    std::optional<Moment> lagging = LaggingBehind(moments_[i], cut, found);
    if (!lagging.has_value()) continue;
    moments_.push_back(*std::move(lagging));
    return &moments_.back();
  }
  return nullptr;
}

const Moment* History::FindExact(size_t cut, uint64_t fingerprint) const {
  // When disks may lag a promise of one of them says nothing of the others.
  uint64_t promised = 0;
  for (const Promise& promise : promises_) {
    if (promise.events > cut || (disks_may_lag_ && !promise.disks.empty())) continue;
    promised = std::max(promised, promise.operation);
  }
  const Moment* best = nullptr;
  for (const Moment& moment : moments_) {
    if (moment.fingerprint != fingerprint || moment.operation < promised) continue;
    if (!Possible(moment, cut)) continue;
    if (best == nullptr || moment.operation >= best->operation) best = &moment;
  }
  return best;
}

History::Range History::RangeOf(uint64_t disk, uint64_t fingerprint, const Moment& newest,
                                size_t cut) const {
  Range range;
  for (const Moment& moment : moments_) {
    if (moment.operation > newest.operation || !Possible(moment, cut)) continue;
    for (const auto& [name, content] : moment.state) {
      if (content.id() != disk || moment.disks.at(name) != fingerprint) continue;
      if (range.first == nullptr || moment.operation < range.first->operation) {
        range.first = &moment;
      }
      if (range.last == nullptr || moment.operation >= range.last->operation) range.last = &moment;
    }
  }
  return range;
}

std::optional<Moment> History::LaggingBehind(const Moment& newest, size_t cut,
                                             const DiskFingerprints& found) const {
  if (found.size() != newest.disks.size()) return std::nullopt;
  Moment made{.operation = newest.operation, .disks = found, .began = SIZE_MAX};
  Reached reached;
  for (const auto& [name, fingerprint] : found) {
    const auto it = newest.state.find(name);
    if (it == newest.state.end()) return std::nullopt;
    const uint64_t disk = it->second.id();
    const Range range = RangeOf(disk, fingerprint, newest, cut);
    if (range.last == nullptr) return std::nullopt;
    reached[disk] = range;
    for (const auto& [old_name, content] : range.last->state) {
      if (content.id() == disk) made.state.emplace(name, content);
    }
  }
  if (!KeepsPromises(reached, newest, cut) || !KeepsTransactionsWhole(reached, newest, cut)) {
    return std::nullopt;
  }
  made.fingerprint = StateFingerprint(found);
  return made;
}

bool History::KeepsPromises(const Reached& reached, const Moment& newest, size_t cut) const {
  return std::all_of(promises_.begin(), promises_.end(), [&](const Promise& promise) {
    if (promise.events > cut) return true;
    return std::all_of(reached.begin(), reached.end(),
                       [&](const auto& disk) {
                         const bool meant = promise.disks.empty() ||
                                            std::find(promise.disks.begin(), promise.disks.end(),
                                                      disk.first) != promise.disks.end();
                         return !meant || disk.second.last->operation >= promise.operation;
                       }) &&
           promise.operation <= newest.operation;
  });
}

bool History::KeepsTransactionsWhole(const Reached& reached, const Moment& newest,
                                     size_t cut) const {
  return std::all_of(moments_.begin(), moments_.end(), [&](const Moment& moment) {
    if (moment.operation > newest.operation || !Possible(moment, cut)) return true;
    size_t with = 0, without = 0;
    for (const uint64_t disk : moment.changed) {
      const auto it = reached.find(disk);
      if (it == reached.end()) continue;
      with += it->second.first->operation >= moment.operation ? 1 : 0;
      without += it->second.last->operation < moment.operation ? 1 : 0;
    }
    return with == 0 || without == 0;
  });
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
    // Under whatever name the disk had then.
    std::set<uint64_t> ids;
    for (const Moment& moment : moments_) {
      const auto it = moment.state.find(name);
      if (it != moment.state.end()) ids.insert(it->second.id());
    }
    std::vector<uint64_t> at;
    for (const Moment& moment : moments_) {
      if (!Possible(moment, cut)) continue;
      for (const auto& [then, content] : moment.state) {
        if (ids.contains(content.id()) && moment.disks.at(then) == disk) {
          at.push_back(moment.operation);
        }
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
