#include "core/device/block_device.h"

#include "absl/strings/str_format.h"

namespace h2bd {

absl::Status BlockDevice::ReadBatch(std::span<const ReadOp> ops) {
  absl::Status first;
  for (const ReadOp& op : ops) first.Update(Read(op.off, op.into));
  return first;
}

absl::Status BlockDevice::WriteBatch(std::span<const WriteOp> ops) {
  absl::Status first;
  for (const WriteOp& op : ops) first.Update(Write(op.off, op.from));
  return first;
}

absl::Status BlockDevice::CheckTransfer(ByteOff off, ConstByteSpan buffer) const {
  if (off.v % sector_bytes() != 0 || buffer.size() % sector_bytes() != 0 ||
      reinterpret_cast<uintptr_t>(buffer.data()) % kBufferAlignment != 0) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: misaligned transfer at %#x, %d bytes, buffer %p; legal: multiples of %d, buffer of %d",
        name(), off.v, buffer.size(), buffer.data(), sector_bytes(), kBufferAlignment));
  }
  if (off.v > size_bytes() || buffer.size() > size_bytes() - off.v) {
    return absl::OutOfRangeError(absl::StrFormat("%s: [%#x, +%d) is past its %d bytes", name(),
                                                 off.v, buffer.size(), size_bytes()));
  }
  return absl::OkStatus();
}

absl::Status BlockDevice::Extend(uint64_t bytes) {
  return absl::FailedPreconditionError(absl::StrFormat(
      "%s has %d bytes and cannot be made %d bytes long from here", name(), size_bytes(), bytes));
}

}  // namespace h2bd
