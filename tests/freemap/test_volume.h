// A volume that consists of a freemap only: a device in memory, a header, and a ring of headers
// that are kept as values.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "core/device/device_set.h"
#include "core/dio/dio.h"
#include "core/freemap/freemap.h"
#include "core/media/freemap_data.h"
#include "core/media/volume_data.h"
#include "tests/support/memory_device.h"

namespace h2bd {

// The sizes of spec 02 section 3.7, Vector A: segments 6 to 15 are usable.
inline constexpr uint64_t kVectorABytes = 64 * kMiB;
inline constexpr uint64_t kVectorABeg = 0x1400C00;
inline constexpr uint64_t kVectorASize = 0x2C00000;

std::unique_ptr<VolumeData> FreemapHeader(uint64_t total_size, uint64_t allocator_beg,
                                          uint64_t allocator_size);

class TestVolume {
 public:
  explicit TestVolume(std::unique_ptr<VolumeData> header, int header_slots = 4);
  static TestVolume VectorA() {
    return TestVolume(FreemapHeader(kVectorABytes, kVectorABeg, kVectorASize));
  }

  Freemap& freemap() { return *freemap_; }
  Dio& dio() { return *dio_; }
  MemoryDevice& device() { return *device_; }
  const VolumeData& header() const { return *header_; }
  const std::vector<RingEntry>& ring() const { return ring_; }
  // For tests that play foul with it.
  VolumeData& header() { return *header_; }
  std::vector<RingEntry>& ring() { return ring_; }

  // Flush and drain under the next tid, without a header.
  absl::StatusOr<Freemap::Flushed> Flush();
  // Flush, and the header into the next slot.
  Freemap::Flushed Commit();
  // Opens the freemap of the last header again, with nothing in memory.
  absl::Status Reopen();
  // All I/O from the next Reopen on goes through `device`, which outlives this.
  void UseDevice(BlockDevice& device) { borrowed_ = &device; }

  // The leaf of `zone_base` as the last header names it; fails the test when there is none.
  Blockref LeafBref(uint64_t zone_base);
  std::unique_ptr<FreemapLeafData> Leaf(uint64_t zone_base);

 private:
  RingEntry NewestEntry(int slot) const;

  std::unique_ptr<MemoryDevice> device_;
  BlockDevice* borrowed_ = nullptr;
  std::unique_ptr<DeviceSet> devices_;
  std::unique_ptr<Dio> dio_;
  std::unique_ptr<VolumeData> header_;
  int header_slots_;
  int slot_ = 0;
  std::vector<RingEntry> ring_;
  uint64_t tid_ = kFormatTid.v;
  std::unique_ptr<Freemap> freemap_;
};

Blockref BlockAt(BrefType type, uint64_t address, unsigned radix);

}  // namespace h2bd
