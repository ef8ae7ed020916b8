#include "tests/bench/bench_device.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <utility>

#include "core/base/log.h"
#include "core/base/status.h"
#include "core/device/file_device.h"
#include "tests/bench/direct_file.h"

namespace h2bd::bench {
namespace {

constexpr uint64_t kZoneBytes = kGiB, kZoneHeadBytes = 4 * kMiB;
constexpr uint64_t kTouchedBytes = 2 * kGiB;
constexpr uint64_t kFormatBytes = 200 * kMiB;  // what a format writes on 4 GiB lies below
constexpr size_t kDataBytes = 64 * kKiB;

// Volume headers, freemap blocks and the blocks of a new volume must stay.
bool IsKept(uint64_t off) { return off < kFormatBytes || off % kZoneBytes < kZoneHeadBytes; }

}  // namespace

class DeviceSource::Memory {
 public:
  explicit Memory(uint64_t bytes) : bytes_(bytes) {
    void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    H2_ASSERT(mapped != MAP_FAILED);
    // What a benchmark fills is there from the start: page faults are not what it measures.
    H2_ASSERT(madvise(mapped, std::min(bytes, kTouchedBytes), MADV_POPULATE_WRITE) == 0);
    base_ = static_cast<std::byte*>(mapped);
  }
  ~Memory() { munmap(base_, bytes_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // Passes calls on to memory that outlives it.
  class Device final : public BlockDevice {
   public:
    Device(std::shared_ptr<Memory> memory, std::string name)
        : memory_(std::move(memory)), name_(std::move(name)), sink_(name_ == "sink") {}
    absl::Status Read(ByteOff off, ByteSpan into) override {
      H2_RETURN_IF_ERROR(CheckTransfer(off, into));
      std::memcpy(into.data(), memory_->base_ + off.v, into.size());
      return absl::OkStatus();
    }
    absl::Status Write(ByteOff off, ConstByteSpan from) override {
      H2_RETURN_IF_ERROR(CheckTransfer(off, from));
      if (sink_ && from.size() == kDataBytes && !IsKept(off.v)) return absl::OkStatus();
      std::memcpy(memory_->base_ + off.v, from.data(), from.size());
      return absl::OkStatus();
    }
    absl::Status Sync() override { return absl::OkStatus(); }
    uint64_t size_bytes() const override { return memory_->bytes_; }
    uint32_t sector_bytes() const override { return 4096; }
    bool read_only() const override { return false; }
    const std::string& name() const override { return name_; }

   private:
    const std::shared_ptr<Memory> memory_;
    const std::string name_;
    const bool sink_;
  };

 private:
  const uint64_t bytes_;
  std::byte* base_ = nullptr;
};

absl::StatusOr<DeviceSource> DeviceSource::Make(const std::string& name) {
  DeviceSource source(name);
  if (name == "memory" || name == "sink") {
    source.memory_ = std::make_shared<Memory>(kDeviceBytes);
  } else if (!std::filesystem::exists(name)) {
    H2_RETURN_IF_ERROR(MakeWrittenFile(name, kDeviceBytes));
  }
  return source;
}

absl::StatusOr<std::unique_ptr<BlockDevice>> DeviceSource::Open() const {
  if (memory_ != nullptr) return std::make_unique<Memory::Device>(memory_, name_);
  return OpenFileDevice(name_, {}, NullLogger());
}

}  // namespace h2bd::bench
