// What the clients know: every disk and every byte, after each operation that was acknowledged.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/types.h"

namespace h2bd {

// PFS label and name.
using SimDiskName = std::pair<std::string, std::string>;

// 0 for zeros; of a block of 64 KiB, filled up with zeros behind the end of a disk.
uint64_t BlockFingerprint(ConstByteSpan block);
// Of a disk: its size and the fingerprints of its blocks.
uint64_t DiskFingerprint(uint64_t size, std::span<const uint64_t> blocks);
// Of a volume: its disks' names and fingerprints.
using DiskFingerprints = std::map<SimDiskName, uint64_t>;
uint64_t StateFingerprint(const DiskFingerprints& disks);

// Copies share their blocks.
class ModelDisk {
 public:
  explicit ModelDisk(uint64_t size) { Resize(size); }
  uint64_t size() const { return size_; }
  uint64_t fingerprint() const;
  void Write(uint64_t offset, ConstByteSpan bytes);
  void Zero(uint64_t offset, uint64_t length);
  void Resize(uint64_t size);
  // Whether [offset, + bytes.size()) holds these bytes.
  bool Holds(uint64_t offset, ConstByteSpan bytes) const;

 private:
  struct Block {
    SharedBytes bytes;  // null: zeros
    uint64_t fingerprint = 0;
  };
  // Calls part(block, begin, end, done) for the part of each block in [offset, + length).
  template <class Part>
  static void ForEachPart(uint64_t offset, uint64_t length, Part part);
  static void Change(Block& block, uint64_t begin, uint64_t end, const std::byte* from);

  uint64_t size_ = 0;
  std::vector<Block> blocks_;
};

using ModelState = std::map<SimDiskName, ModelDisk>;
DiskFingerprints FingerprintsOf(const ModelState& state);

// The state after one operation. Operations count from 0, the state in which the record began.
struct Moment {
  uint64_t operation = 0;
  ModelState state;
  DiskFingerprints disks;
  uint64_t fingerprint = 0;
  OpSeq opseq;
  // The operation began when this many device events had happened...
  size_t began = 0;
  // ...and a killed server forgot it when this many had.
  size_t forgotten = SIZE_MAX;
};

// All moments of one record of device events, and what was promised when. A server that is killed
// forgets the moments behind the one that is found on its devices.
class History {
 public:
  explicit History(ModelState first);

  const Moment& now() const { return moments_.at(live_.back()); }
  void Acknowledged(ModelState state, OpSeq opseq, size_t began);
  // Everything up to `operation` must survive from event `events` on.
  void Promised(size_t events, uint64_t operation);
  uint64_t PromisedAt(size_t cut) const;
  // The operation with this number, or the last one before it, of the server that runs now.
  uint64_t OperationOf(OpSeq opseq) const;
  // The server is gone; what is on its devices is `survivor`.
  void ServerEnded(size_t events, const Moment& survivor);

  // The newest moment that a crash at `cut` may leave, with this fingerprint; null when there is
  // none.
  const Moment* Find(size_t cut, uint64_t fingerprint) const;
  // What is wrong with a state that Find does not know.
  std::string Explain(size_t cut, const DiskFingerprints& found) const;

 private:
  struct Promise {
    size_t events = 0;
    uint64_t operation = 0;
  };
  static bool Possible(const Moment& moment, size_t cut) {
    return moment.began <= cut && cut <= moment.forgotten;
  }
  std::vector<Moment> moments_;
  std::vector<size_t> live_;  // indexes of those that the running server knows, ascending
  std::vector<Promise> promises_;
};

}  // namespace h2bd
