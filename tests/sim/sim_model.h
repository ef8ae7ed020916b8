// What the clients know: every disk and every byte, after each operation that was acknowledged.
#pragma once

#include <cstdint>
#include <deque>
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
  // `id` tells it from every other disk, whatever it is called.
  ModelDisk(uint64_t id, uint64_t size) : id_(id) { Resize(size); }
  uint64_t id() const { return id_; }
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

  uint64_t id_;
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
  // Disks that the operation changed, as one.
  std::vector<uint64_t> changed;
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
  void Acknowledged(ModelState state, std::vector<uint64_t> changed, OpSeq opseq, size_t began);
  // Everything up to `operation` must survive from event `events` on; of these disks only, when any
  // are named and disks may lag.
  void Promised(size_t events, uint64_t operation, std::vector<uint64_t> disks = {});
  uint64_t PromisedAt(size_t cut) const;
  // The operation with this number, or the last one before it, of the server that runs now.
  uint64_t OperationOf(OpSeq opseq) const;
  // The server is gone; what is on its devices is `survivor`.
  void ServerEnded(size_t events, const Moment& survivor);

  // A read of the record failed: a disk that cannot be flushed for it is held back while the others
  // go on, and with it all that it shares a transaction with. Content only; names never lag.
  void LetDisksLag() { disks_may_lag_ = true; }
  // The newest moment that a crash at `cut` may leave with these disks, or one made of several when
  // disks may lag; null when there is none.
  const Moment* Find(size_t cut, const DiskFingerprints& found);
  // What is wrong with a state that Find does not know.
  std::string Explain(size_t cut, const DiskFingerprints& found) const;

 private:
  struct Promise {
    size_t events = 0;
    uint64_t operation = 0;
    std::vector<uint64_t> disks;  // empty: all
  };
  // Up to which operation each disk of a state goes, by its id: one of a range that left the disk
  // as it is.
  struct Range {
    const Moment* first = nullptr;
    const Moment* last = nullptr;
  };
  using Reached = std::map<uint64_t, Range>;
  const Moment* FindExact(size_t cut, uint64_t fingerprint) const;
  std::optional<Moment> LaggingBehind(const Moment& newest, size_t cut,
                                      const DiskFingerprints& found) const;
  Range RangeOf(uint64_t disk, uint64_t fingerprint, const Moment& newest, size_t cut) const;
  bool KeepsPromises(const Reached& reached, const Moment& newest, size_t cut) const;
  bool KeepsTransactionsWhole(const Reached& reached, const Moment& newest, size_t cut) const;
  static bool Possible(const Moment& moment, size_t cut) {
    return moment.began <= cut && cut <= moment.forgotten;
  }
  std::deque<Moment> moments_;
  std::vector<size_t> live_;  // indexes of those that the running server knows, ascending
  std::vector<Promise> promises_;
  bool disks_may_lag_ = false;
};

}  // namespace h2bd
