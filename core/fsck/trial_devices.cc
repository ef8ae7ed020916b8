#include "core/fsck/trial_devices.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace h2bd {
namespace {

constexpr uint64_t kPage = 4096;

// A device of somebody else, for those who own their devices.
class Handle final : public BlockDevice {
 public:
  explicit Handle(BlockDevice& inner) : inner_(inner) {}
  absl::Status Read(ByteOff off, ByteSpan into) override { return inner_.Read(off, into); }
  absl::Status Write(ByteOff off, ConstByteSpan from) override { return inner_.Write(off, from); }
  absl::Status Sync() override { return inner_.Sync(); }
  uint64_t size_bytes() const override { return inner_.size_bytes(); }
  uint32_t sector_bytes() const override { return inner_.sector_bytes(); }
  bool read_only() const override { return inner_.read_only(); }
  const std::string& name() const override { return inner_.name(); }

 private:
  BlockDevice& inner_;
};

}  // namespace

class TrialDevices::Disk final : public BlockDevice {
 public:
  Disk(BlockDevice& inner, size_t number, std::vector<Event>& log)
      : inner_(inner), number_(number), log_(log) {}

  absl::Status Read(ByteOff off, ByteSpan into) override {
    H2_RETURN_IF_ERROR(inner_.Read(off, into));
    ForEachPiece(off, into.size(), [&](uint64_t page, uint64_t in_page, uint64_t at, uint64_t n) {
      if (const auto it = pages_.find(page); it != pages_.end()) {
        std::memcpy(into.data() + at, it->second.span().data() + in_page, n);
      }
    });
    return absl::OkStatus();
  }

  absl::Status Write(ByteOff off, ConstByteSpan from) override {
    H2_RETURN_IF_ERROR(CheckTransfer(off, from));
    absl::Status status;
    ForEachPiece(off, from.size(), [&](uint64_t page, uint64_t in_page, uint64_t at, uint64_t n) {
      auto it = pages_.find(page);
      if (it == pages_.end()) {
        AlignedBuffer image(kPage);
        if (n < kPage) status.Update(inner_.Read(ByteOff(page * kPage), image.span()));
        it = pages_.emplace(page, std::move(image)).first;
      }
      std::memcpy(it->second.span().data() + in_page, from.data() + at, n);
    });
    log_.push_back({number_, off, AlignedBuffer::CopyOf(from)});
    return status;
  }

  absl::Status Sync() override {
    log_.push_back({number_, ByteOff(0), AlignedBuffer()});
    return absl::OkStatus();
  }

  uint64_t size_bytes() const override { return inner_.size_bytes(); }
  uint32_t sector_bytes() const override { return inner_.sector_bytes(); }
  bool read_only() const override { return false; }
  const std::string& name() const override { return inner_.name(); }

 private:
  template <class Visit>
  static void ForEachPiece(ByteOff off, uint64_t bytes, Visit visit) {
    for (uint64_t at = 0; at < bytes;) {
      const uint64_t in_page = (off.v + at) % kPage;
      const uint64_t n = std::min(kPage - in_page, bytes - at);
      visit((off.v + at) / kPage, in_page, at, n);
      at += n;
    }
  }

  BlockDevice& inner_;
  const size_t number_;
  std::vector<Event>& log_;
  std::map<uint64_t, AlignedBuffer> pages_;  // what was written, by number
};

TrialDevices::TrialDevices(std::span<BlockDevice* const> devices)
    : inner_(devices.begin(), devices.end()) {
  for (BlockDevice* device : inner_) {
    disks_.push_back(std::make_unique<Disk>(*device, disks_.size(), log_));
  }
}

TrialDevices::~TrialDevices() = default;

std::vector<BlockDevice*> TrialDevices::devices() const {
  std::vector<BlockDevice*> devices;
  for (const auto& disk : disks_) devices.push_back(disk.get());
  return devices;
}

std::vector<std::unique_ptr<BlockDevice>> TrialDevices::Handles() const {
  std::vector<std::unique_ptr<BlockDevice>> handles;
  for (const auto& disk : disks_) handles.push_back(std::make_unique<Handle>(*disk));
  return handles;
}

absl::Status TrialDevices::Replay() const {
  for (const Event& event : log_) {
    BlockDevice& device = *inner_[event.device];
    H2_RETURN_IF_ERROR(event.bytes.size() == 0 ? device.Sync()
                                               : device.Write(event.off, event.bytes.span()));
  }
  return absl::OkStatus();
}

}  // namespace h2bd
