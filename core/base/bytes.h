// Byte spans and aligned buffers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <type_traits>

#include "absl/strings/string_view.h"

namespace h2bd {

using ByteSpan = std::span<std::byte>;
using ConstByteSpan = std::span<const std::byte>;

// Alignment of buffers that reach a device: enough for O_DIRECT on 512-byte and 4 KiB sectors.
inline constexpr size_t kBufferAlignment = 4096;

// An owned, aligned, fixed-size run of bytes. Not initialised unless made by Zeroed.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t size);
  static AlignedBuffer Zeroed(size_t size);
  static AlignedBuffer CopyOf(ConstByteSpan bytes);

  std::byte* data() { return bytes_.get(); }
  const std::byte* data() const { return bytes_.get(); }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  ByteSpan span() { return {bytes_.get(), size_}; }
  ConstByteSpan span() const { return {bytes_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* p) const;
  };
  std::unique_ptr<std::byte, Free> bytes_;
  size_t size_ = 0;
};

// Immutable bytes that several owners share, e.g. a cached block.
using SharedBytes = std::shared_ptr<const AlignedBuffer>;

inline ConstByteSpan AsBytes(absl::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline absl::string_view AsText(ConstByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Media structs go in and out of buffers by memcpy only.
template <class T>
T LoadAs(ConstByteSpan bytes, size_t at = 0) {
  static_assert(std::is_trivially_copyable_v<T>);
  T value;
  std::memcpy(&value, bytes.subspan(at, sizeof value).data(), sizeof value);
  return value;
}
template <class T>
void StoreAs(ByteSpan bytes, const T& value, size_t at = 0) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::memcpy(bytes.subspan(at, sizeof value).data(), &value, sizeof value);
}

bool IsAllZero(ConstByteSpan bytes);

}  // namespace h2bd
