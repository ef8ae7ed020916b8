// Volumes in memory: what is sent, and where it is received.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "client/stream/source_volume.h"
#include "client/stream/target_volume.h"
#include "core/base/random.h"

namespace h2bd::stream {

class FakeDisk {
 public:
  explicit FakeDisk(uint64_t size = 0) : size_(size) {}
  uint64_t size() const { return size_; }
  uint64_t blocks() const { return (size_ + kBlockBytes - 1) / kBlockBytes; }
  // As long as what the disk has of the block.
  std::string Block(uint64_t number) const;
  void SetBlock(uint64_t number, std::string bytes);
  void Write(uint64_t offset, ConstByteSpan bytes);  // one block
  void Punch(uint64_t offset, uint64_t bytes);
  void Resize(uint64_t size);
  Sha256Digest Attest() const;
  bool operator==(const FakeDisk& other) const {
    return size_ == other.size_ && blocks_ == other.blocks_;
  }

  uint64_t serial = 0;  // tells disks of one path apart, where that matters

 private:
  uint64_t size_;
  std::map<uint64_t, std::string> blocks_;  // without those that are zeros
};

using FakePfs = std::map<std::string, FakeDisk>;  // by path

Sha256Digest AttestOf(const FakePfs& pfs);

// A few disks of a few blocks with holes, and what users do to them between two snapshots. With
// `tiny` disks have less than a block and streams less than 2 KiB.
FakePfs RandomPfs(RandomSource& random, bool tiny);
void ChangeAtRandom(FakePfs& pfs, RandomSource& random, bool tiny);

struct FakeSnapshot {
  Uuid fsid{};
  FakePfs pfs;
};

class FakeSource final : public SourceVolume {
 public:
  // Of a PFS; `base` without a value: in full. Both must outlive it.
  FakeSource(const FakeSnapshot& snapshot, const FakeSnapshot* base)
      : snapshot_(snapshot), base_(base) {}
  // Of one disk, which a base has under the same name.
  FakeSource(const FakeSnapshot& snapshot, const FakeSnapshot* base, std::string disk)
      : snapshot_(snapshot), base_(base), disk_(std::move(disk)) {}

  // Unchanged blocks are given as changed, too, other ones each time: a server may do so.
  RandomSource* random = nullptr;
  bool without_attest = false;
  // Instead of the true ones.
  std::optional<std::vector<ChangedRange>> ranges;
  std::optional<Sha256Digest> attest;
  std::optional<size_t> piece_bytes;

  absl::StatusOr<Identity> Identify() override;
  absl::StatusOr<std::vector<SourceDisk>> Disks() override;
  absl::StatusOr<std::vector<ChangedRange>> Changes(const SourceDisk& disk,
                                                    uint64_t offset) override;
  absl::Status Read(const SourceDisk& disk, uint64_t offset, uint64_t length,
                    absl::FunctionRef<absl::Status(ConstByteSpan)> visit) override;
  absl::StatusOr<Sha256Digest> Attest() override;

 private:
  FakeDisk BaseOf(const SourceDisk& disk) const;
  Sha256Digest ValueOf(const FakeSnapshot& snapshot) const;

  const FakeSnapshot& snapshot_;
  const FakeSnapshot* const base_;
  const std::string disk_;  // empty: of a PFS
};

class FakeTarget final : public TargetVolume {
 public:
  FakePfs live;
  std::map<Uuid, std::pair<std::string, FakePfs>> snapshots;  // by fsid, with its name
  std::map<Uuid, std::string> states;

  // The change after so many fails, and all after it, until Crash.
  std::optional<uint64_t> changes_left;
  uint64_t changes = 0;                 // so far
  std::function<void()> before_attest;  // somebody else's work in between

  // What was not durable may be there, or not, block by block.
  void Crash(RandomSource& random);
  // Without disks that are being received.
  FakePfs Visible() const;

  absl::StatusOr<std::vector<std::string>> Disks() override;
  absl::StatusOr<std::vector<std::string>> DisksOf(const Uuid& snapshot) override;
  absl::StatusOr<bool> HasSnapshot(const Uuid& snapshot) override;
  absl::StatusOr<std::vector<std::string>> ChangedSince(const Uuid& snapshot) override;
  absl::Status Create(const std::string& path, uint64_t size_bytes,
                      const DiskSettings& settings) override;
  absl::Status Clone(const std::optional<Uuid>& snapshot, const std::string& from,
                     const std::string& path, const DiskSettings& settings) override;
  absl::Status Resize(const std::string& path, uint64_t size_bytes) override;
  absl::Status Write(const std::string& path, uint64_t offset, ConstByteSpan bytes) override;
  absl::Status Punch(const std::string& path, uint64_t offset, uint64_t bytes) override;
  absl::Status Sync() override;
  absl::Status Remove(const std::string& path) override;
  absl::Status Replace(const std::vector<Replacement>& replacements) override;
  absl::Status TakeSnapshot(const std::string& name, const Uuid& fsid) override;
  absl::StatusOr<Sha256Digest> Attest(const std::string& path) override;
  absl::StatusOr<std::optional<std::string>> LoadState(const Uuid& stream) override;
  absl::Status SaveState(const Uuid& stream, absl::string_view bytes) override;
  absl::Status DropState(const Uuid& stream) override;

 private:
  absl::Status CountChange();
  absl::StatusOr<FakeDisk*> Find(const std::string& path);

  FakePfs durable_;
  uint64_t next_serial_ = 1;
};

}  // namespace h2bd::stream
