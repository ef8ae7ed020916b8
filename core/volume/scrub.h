// Reads every block that a header leads to, verifies its check code, decodes it, and compares the
// freemap with what is in use (spec 04 I-06).
#pragma once

#include <array>
#include <bitset>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/metrics.h"
#include "core/chain/block_store.h"
#include "core/device/device_set.h"
#include "core/freemap/freemap.h"
#include "core/media/decode.h"
#include "core/volhdr/volume_set.h"
#include "core/volume/operations.h"
#include "core/volume/scrub_types.h"

namespace h2bd {

// The last scrub of a volume, and what all of them found. Thread-safe.
class ScrubLog {
 public:
  void Begin(absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);
  void Count(uint64_t blocks, uint64_t bytes) ABSL_LOCKS_EXCLUDED(mu_);
  void Add(ScrubFinding finding) ABSL_LOCKS_EXCLUDED(mu_);
  void End(absl::Time now, bool complete) ABSL_LOCKS_EXCLUDED(mu_);
  ScrubReport report() const ABSL_LOCKS_EXCLUDED(mu_);
  void Describe(MetricVisitor& visitor) const;

 private:
  mutable absl::Mutex mu_;
  ScrubReport report_ ABSL_GUARDED_BY(mu_);
  absl::Time last_success_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  std::array<Counter, kScrubKinds> errors_;
};

struct ScrubParts {
  DeviceSet& devices;
  BlockStore& store;
  Freemap* freemap;  // null on a volume that is open read-only: then nothing is put right
  ScrubLog& log;
  Clock& clock;
  // The name of a disk in the root directory of a PFS; "" when it has none. Any thread.
  std::function<std::string(const std::string& pfs, Inum inum)> disk_name;
};

// Walks what the headers on the media lead to, the newest first, from the media alone: what is
// cached does not hide what has rotted. Each block is read once, however many trees share it. What
// is damaged is told and passed over. A block that cannot be read because its header was
// overwritten meanwhile is no damage: the headers that are there then are walked for what is new.
// Memory: 128 MiB per TiB in use, 32 MiB per TiB of freemap.
class Scrub final : public LongOperation {
 public:
  explicit Scrub(ScrubParts parts) : parts_(std::move(parts)) {}

  OperationKind kind() const override { return OperationKind::kScrub; }
  std::string what() const override { return "volume"; }
  std::string unit() const override { return "bytes"; }
  absl::StatusOr<OperationProgress> Step(StepBudget& budget) override;
  void Cancelled() override { parts_.log.End(parts_.clock.WallNow(), /*complete=*/false); }

 private:
  // A blockref that is still to be looked at, and whose it is.
  struct Item {
    Blockref bref;
    TableKind kind{};
    int pfs = -1;  // in pfses_
    Inum inum;
    uint64_t size = 0;  // of the inode
  };
  struct Generation {
    int slot = 0;
    bool older = false;
    std::unique_ptr<VolumeData> header;
  };
  // Blocks by the KiB in which they begin.
  class Visited {
   public:
    bool Insert(ByteOff off);  // whether it is new

   private:
    static constexpr size_t kGranules = kSegBytes / kAllocMin;
    absl::flat_hash_map<uint64_t, std::unique_ptr<std::bitset<kGranules>>> segments_;
  };

  void ReadHeaders();
  bool NextGeneration();
  bool StillOnMedia(const Generation& generation);
  void Look(const Item& item, StepBudget& budget);
  absl::StatusOr<AlignedBuffer> ReadMedia(const Blockref& bref);
  absl::Status LookAt(const Item& item, ConstByteSpan block);
  absl::Status LookAtTable(const Item& item, ConstByteSpan raw, Key key, unsigned keybits);
  absl::Status LookAtInode(const Item& item, ConstByteSpan block);
  void CompareWithFreemap(const Item& item);
  void Report(const Item& item, ScrubKind kind, const absl::Status& error);
  ScrubKind KindOf(const Item& item) const;
  void Push(std::span<const Blockref> brefs, TableKind kind);

  const ScrubParts parts_;
  bool begun_ = false;
  bool again_ = false;                   // a header has gone: look at those that are there now
  std::vector<Generation> generations_;  // to come, the newest last
  Generation current_;
  std::vector<Item> stack_;
  std::vector<std::string> pfses_;
  Visited visited_;
  absl::flat_hash_map<uint64_t, std::unique_ptr<FreemapLeafData>> leaves_;  // of the newest header
  std::array<absl::Status, kVolumeHeaderSlots> told_;  // of slots that do not validate
  AlignedBuffer logical_ = AlignedBuffer(kLogicalBytes);
  uint64_t done_ = 0, total_ = 0;
};

}  // namespace h2bd
