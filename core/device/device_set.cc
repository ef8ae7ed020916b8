#include "core/device/device_set.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/base/clock.h"

namespace h2bd {
namespace {

template <class Op>
uint64_t SizeOf(const Op& op) {
  if constexpr (std::is_same_v<Op, ReadOp>) {
    return op.into.size();
  } else {
    return op.from.size();
  }
}

}  // namespace

DeviceSet::DeviceSet(std::vector<Member> members) : members_(std::move(members)) {
  H2_ASSERT(!members_.empty());
  uint64_t next = 0;
  for (const Member& member : members_) {
    H2_ASSERT(member.device != nullptr && member.start == next);
    H2_ASSERT(member.bytes <= member.device->size_bytes());
    next += member.bytes;
    sector_bytes_ = std::max(sector_bytes_, member.device->sector_bytes());
  }
  last_bytes_ = members_.back().bytes;
}

uint64_t DeviceSet::total_bytes() const { return members_.back().start + last_bytes_; }

void DeviceSet::GrowLast(uint64_t bytes) {
  H2_ASSERT(bytes >= last_bytes_ && bytes <= members_.back().device->size_bytes());
  last_bytes_ = bytes;
}

bool DeviceSet::read_only() const {
  return std::any_of(members_.begin(), members_.end(),
                     [](const Member& member) { return member.device->read_only(); });
}

size_t DeviceSet::DeviceAt(ByteOff off) const {
  const auto after =
      std::upper_bound(members_.begin(), members_.end(), off.v,
                       [](uint64_t value, const Member& member) { return value < member.start; });
  return static_cast<size_t>(after - members_.begin()) - 1;
}

absl::StatusOr<const DeviceSet::Member*> DeviceSet::Find(ByteOff off, uint64_t bytes) const {
  const Member& member = members_[DeviceAt(off)];
  const uint64_t served = BytesOf(member);
  if (off.v - member.start > served || bytes > served - (off.v - member.start)) {
    return absl::OutOfRangeError(
        absl::StrFormat("[%#x, +%d) does not lie within %s, which serves [%#x, +%d) of the volume",
                        off.v, bytes, member.device->name(), member.start, served));
  }
  return &member;
}

absl::Status DeviceSet::Read(ByteOff off, ByteSpan into) {
  H2_ASSIGN_OR_RETURN(const Member* member, Find(off, into.size()));
  return member->device->Read(ByteOff(off.v - member->start), into);
}

absl::Status DeviceSet::Write(ByteOff off, ConstByteSpan from) {
  H2_ASSIGN_OR_RETURN(const Member* member, Find(off, from.size()));
  return member->device->Write(ByteOff(off.v - member->start), from);
}

template <class Op, class Run>
absl::Status DeviceSet::ForEachRun(std::span<const Op> ops, Run run) const {
  absl::Status first;
  std::vector<Op> local;
  const Member* owner = nullptr;
  const auto finish_run = [&] {
    if (!local.empty()) first.Update(run(*owner->device, local));
    local.clear();
  };
  for (const Op& op : ops) {
    const absl::StatusOr<const Member*> member = Find(op.off, SizeOf(op));
    if (!member.ok() || *member != owner) finish_run();
    if (!member.ok()) {
      first.Update(member.status());
      continue;
    }
    owner = *member;
    local.push_back(op);
    local.back().off = ByteOff(op.off.v - owner->start);
  }
  finish_run();
  return first;
}

absl::Status DeviceSet::ReadBatch(std::span<const ReadOp> ops) {
  return ForEachRun(ops, [](BlockDevice& device, const std::vector<ReadOp>& local) {
    return device.ReadBatch(local);
  });
}

absl::Status DeviceSet::WriteBatch(std::span<const WriteOp> ops) {
  return ForEachRun(ops, [](BlockDevice& device, const std::vector<WriteOp>& local) {
    return device.WriteBatch(local);
  });
}

absl::Status DeviceSet::SyncAll() {
  return SyncAll([](size_t, absl::Duration) {});
}

absl::Status DeviceSet::SyncAll(BarrierReport report) {
  absl::Status first;
  for (size_t i = 0; i < members_.size(); ++i) {
    const absl::Duration began = SystemClock().MonotonicNow();
    first.Update(members_[i].device->Sync());
    report(i, SystemClock().MonotonicNow() - began);
  }
  return first;
}

}  // namespace h2bd
