// The volume's address space over one or several devices (spec 01 section 2.6).
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "core/device/block_device.h"

namespace h2bd {

// Concatenates devices: device i serves logical [start_i, start_i + bytes_i). Offsets are logical.
// Thread safety, alignment and errors as BlockDevice; a transfer must lie within one device (no
// HAMMER2 block crosses a volume).
class DeviceSet {
 public:
  struct Member {
    std::unique_ptr<BlockDevice> device;
    uint64_t start = 0;  // logical
    uint64_t bytes = 0;  // served of the device, at most its size
  };
  // Members ascending and contiguous from 0; the first is the root volume.
  explicit DeviceSet(std::vector<Member> members);

  absl::Status Read(ByteOff off, ByteSpan into);
  absl::Status Write(ByteOff off, ConstByteSpan from);
  absl::Status ReadBatch(std::span<const ReadOp> ops);
  absl::Status WriteBatch(std::span<const WriteOp> ops);
  // Barrier on every device; all are tried, the first error is returned (F-116, F-118, F-221).
  absl::Status SyncAll();
  // The same, and says how long each took.
  using BarrierReport = absl::FunctionRef<void(size_t device, absl::Duration took)>;
  absl::Status SyncAll(BarrierReport report);

  BlockDevice& root() { return *members_.front().device; }
  size_t size() const { return members_.size(); }
  BlockDevice& device(size_t i) { return *members_[i].device; }
  uint64_t start(size_t i) const { return members_[i].start; }  // logical
  // Which device serves the byte at `off`, which lies within the volume.
  size_t DeviceAt(ByteOff off) const;
  uint64_t total_bytes() const;
  // The last member serves `bytes` from now on: more than before, and no more than its device has.
  // Any thread; transfers that begin later may use the new part.
  void GrowLast(uint64_t bytes);
  uint32_t sector_bytes() const { return sector_bytes_; }  // largest of the members
  bool read_only() const;

 private:
  // The member that holds [off, off + bytes), or kOutOfRange.
  absl::StatusOr<const Member*> Find(ByteOff off, uint64_t bytes) const;
  // Calls run(device, ops) for each run of neighbours in `ops` that one member serves, offsets made
  // local. All runs are tried; the first error in the order of `ops` is returned.
  template <class Op, class Run>
  absl::Status ForEachRun(std::span<const Op> ops, Run run) const;

  uint64_t BytesOf(const Member& member) const {
    return &member == &members_.back() ? last_bytes_.load(std::memory_order_relaxed) : member.bytes;
  }

  std::vector<Member> members_;
  std::atomic<uint64_t> last_bytes_{0};  // served of the last member, which may grow
  uint32_t sector_bytes_ = 0;
};

}  // namespace h2bd
