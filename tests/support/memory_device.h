// A sparse device in memory. Pages are shared between copies of an image until one of them changes,
// so that a test volume of many GiB with all four header slots costs what it holds.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/device/block_device.h"

namespace h2bd {

// Sparse bytes; what was never written reads as zeros. Copyable in O(pages). Not thread-safe.
class SparseImage {
 public:
  static constexpr uint64_t kPage = 65536;
  explicit SparseImage(uint64_t size) : size_(size) {}
  uint64_t size() const { return size_; }
  void Read(uint64_t off, ByteSpan into) const;
  void Write(uint64_t off, ConstByteSpan from);
  void Grow(uint64_t size) {
    H2_ASSERT(size >= size_);
    size_ = size;
  }
  // Pages that were ever written, by page number.
  const std::map<uint64_t, std::shared_ptr<AlignedBuffer>>& pages() const { return pages_; }
  friend bool operator==(const SparseImage& a, const SparseImage& b);

 private:
  uint64_t size_;
  std::map<uint64_t, std::shared_ptr<AlignedBuffer>> pages_;
};

// Thread-safe.
class MemoryDevice final : public BlockDevice {
 public:
  explicit MemoryDevice(uint64_t size, uint32_t sector_bytes = 512, std::string name = "memory")
      : MemoryDevice(SparseImage(size), sector_bytes, std::move(name)) {}
  explicit MemoryDevice(SparseImage image, uint32_t sector_bytes = 512, std::string name = "memory")
      : image_(std::move(image)),
        size_(image_.size()),
        sector_bytes_(sector_bytes),
        name_(std::move(name)) {}

  absl::Status Read(ByteOff off, ByteSpan into) override;
  absl::Status Write(ByteOff off, ConstByteSpan from) override;
  absl::Status Sync() override { return absl::OkStatus(); }
  uint64_t size_bytes() const override { return size_; }
  // As a file.
  absl::Status Extend(uint64_t bytes) override;
  uint32_t sector_bytes() const override { return sector_bytes_; }
  bool read_only() const override { return read_only_; }
  const std::string& name() const override { return name_; }

  bool volatile_cache() const override { return volatile_cache_; }

  void set_read_only(bool read_only) { read_only_ = read_only; }
  void set_volatile_cache(bool is_volatile) { volatile_cache_ = is_volatile; }
  SparseImage Snapshot() const;

 private:
  absl::Status CheckCall(ByteOff off, size_t bytes, const void* buffer) const;
  mutable absl::Mutex mu_;
  SparseImage image_ ABSL_GUARDED_BY(mu_);
  std::atomic<uint64_t> size_;
  const uint32_t sector_bytes_;
  const std::string name_;
  bool read_only_ = false;
  bool volatile_cache_ = true;
};

// Passes every call on to `inner`, which outlives it. Devices that misbehave override what they
// change.
class ForwardingDevice : public BlockDevice {
 public:
  ForwardingDevice(const ForwardingDevice&) = delete;
  absl::Status Read(ByteOff off, ByteSpan into) override { return inner_.Read(off, into); }
  absl::Status Write(ByteOff off, ConstByteSpan from) override { return inner_.Write(off, from); }
  absl::Status Sync() override { return inner_.Sync(); }
  uint64_t size_bytes() const override { return inner_.size_bytes(); }
  absl::StatusOr<uint64_t> RefreshSize() override { return inner_.RefreshSize(); }
  absl::Status Extend(uint64_t bytes) override { return inner_.Extend(bytes); }
  uint32_t sector_bytes() const override { return inner_.sector_bytes(); }
  bool read_only() const override { return inner_.read_only(); }
  bool volatile_cache() const override { return inner_.volatile_cache(); }
  std::string write_cache() const override { return inner_.write_cache(); }
  const std::string& name() const override { return inner_.name(); }

 protected:
  explicit ForwardingDevice(BlockDevice& inner) : inner_(inner) {}
  BlockDevice& inner_;
};

// Lends a device, so that a test keeps its MemoryDevice when a Volume that owned the wrapper is
// gone.
class BorrowedDevice final : public ForwardingDevice {
 public:
  explicit BorrowedDevice(BlockDevice& inner) : ForwardingDevice(inner) {}
};

}  // namespace h2bd
