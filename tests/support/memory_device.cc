#include "tests/support/memory_device.h"

#include <algorithm>

#include "absl/strings/str_format.h"

namespace h2bd {

void SparseImage::Read(uint64_t off, ByteSpan into) const {
  while (!into.empty()) {
    const uint64_t in_page = off % kPage;
    const size_t n = std::min<uint64_t>(into.size(), kPage - in_page);
    const auto it = pages_.find(off / kPage);
    if (it == pages_.end()) {
      std::memset(into.data(), 0, n);
    } else {
      std::memcpy(into.data(), it->second->data() + in_page, n);
    }
    into = into.subspan(n);
    off += n;
  }
}

void SparseImage::Write(uint64_t off, ConstByteSpan from) {
  while (!from.empty()) {
    const uint64_t in_page = off % kPage;
    const size_t n = std::min<uint64_t>(from.size(), kPage - in_page);
    std::shared_ptr<AlignedBuffer>& page = pages_[off / kPage];
    if (page == nullptr) {
      page = std::make_shared<AlignedBuffer>(AlignedBuffer::Zeroed(kPage));
    } else if (page.use_count() > 1) {
      page = std::make_shared<AlignedBuffer>(AlignedBuffer::CopyOf(page->span()));
    }
    std::memcpy(page->data() + in_page, from.data(), n);
    from = from.subspan(n);
    off += n;
  }
}

bool operator==(const SparseImage& a, const SparseImage& b) {
  if (a.size_ != b.size_) return false;
  const auto covered = [](const SparseImage& x, const SparseImage& y) {
    for (const auto& [number, page] : x.pages_) {
      const auto it = y.pages_.find(number);
      if (it == y.pages_.end() ? !IsAllZero(page->span())
                               : page != it->second && std::memcmp(page->data(), it->second->data(),
                                                                   SparseImage::kPage) != 0) {
        return false;
      }
    }
    return true;
  };
  return covered(a, b) && covered(b, a);
}

absl::Status MemoryDevice::CheckCall(ByteOff off, size_t bytes, const void* buffer) const {
  if (off.v % sector_bytes_ != 0 || bytes % sector_bytes_ != 0 ||
      reinterpret_cast<uintptr_t>(buffer) % kBufferAlignment != 0) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: misaligned call at %#x, %d bytes, buffer %p", name_, off.v, bytes, buffer));
  }
  if (off.v > size_ || bytes > size_ - off.v) {
    return absl::OutOfRangeError(
        absl::StrFormat("%s: [%#x, +%d) is past its %d bytes", name_, off.v, bytes, size_.load()));
  }
  return absl::OkStatus();
}

absl::Status MemoryDevice::Extend(uint64_t bytes) {
  absl::MutexLock lock(&mu_);
  if (bytes > size_) image_.Grow(bytes);
  size_ = image_.size();
  return absl::OkStatus();
}

absl::Status MemoryDevice::Read(ByteOff off, ByteSpan into) {
  H2_RETURN_IF_ERROR(CheckCall(off, into.size(), into.data()));
  absl::MutexLock lock(&mu_);
  image_.Read(off.v, into);
  return absl::OkStatus();
}

absl::Status MemoryDevice::Write(ByteOff off, ConstByteSpan from) {
  H2_RETURN_IF_ERROR(CheckCall(off, from.size(), from.data()));
  if (read_only_) return absl::FailedPreconditionError(absl::StrFormat("%s is read-only", name_));
  absl::MutexLock lock(&mu_);
  image_.Write(off.v, from);
  return absl::OkStatus();
}

SparseImage MemoryDevice::Snapshot() const {
  absl::MutexLock lock(&mu_);
  return image_;
}

}  // namespace h2bd
