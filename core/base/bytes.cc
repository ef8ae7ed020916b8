#include "core/base/bytes.h"

#include <cstdlib>
#include <new>

#include "core/base/status.h"

namespace h2bd {

AlignedBuffer::AlignedBuffer(size_t size) : size_(size) {
  if (size == 0) return;
  const size_t rounded = (size + kBufferAlignment - 1) & ~(kBufferAlignment - 1);
  bytes_.reset(static_cast<std::byte*>(std::aligned_alloc(kBufferAlignment, rounded)));
  if (bytes_ == nullptr) throw std::bad_alloc();
}

AlignedBuffer AlignedBuffer::Zeroed(size_t size) {
  AlignedBuffer buffer(size);
  if (size != 0) std::memset(buffer.data(), 0, size);
  return buffer;
}

AlignedBuffer AlignedBuffer::CopyOf(ConstByteSpan bytes) {
  AlignedBuffer buffer(bytes.size());
  if (!bytes.empty()) std::memcpy(buffer.data(), bytes.data(), bytes.size());
  return buffer;
}

void AlignedBuffer::Free::operator()(std::byte* p) const { std::free(p); }

bool IsAllZero(ConstByteSpan bytes) {
  if (bytes.empty()) return true;
  // The first byte is zero and every byte equals its neighbour; memcmp is the vectorised loop.
  return bytes[0] == std::byte{0} &&
         std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

}  // namespace h2bd
