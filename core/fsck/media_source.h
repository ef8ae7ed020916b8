// Blocks straight from the devices: the only way in which core/fsck touches media.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/status.h"
#include "core/device/block_device.h"
#include "core/media/blockref.h"
#include "core/volhdr/volume_set.h"

namespace h2bd {

// One block and what keeps its bytes alive. Cheap to copy.
struct MediaBlock {
  SharedBytes owner;
  ConstByteSpan bytes;
};

// The address space of a volume, read-only, over devices that somebody else owns and that outlive
// it. Offsets are logical (spec 01 section 2.6). Keeps the last device buffers (at most 16 MiB).
// For one thread.
class MediaSource {
 public:
  struct Part {
    BlockDevice* device = nullptr;
    uint64_t start = 0;  // logical, ascending from part to part
    uint64_t bytes = 0;  // served of the device, at most its size
  };
  explicit MediaSource(std::vector<Part> parts);
  // The devices of an assembled volume.
  static MediaSource Of(VolumeSet& set);

  // [off, off + bytes), which must not cross a 64 KiB boundary: a HAMMER2 block never does.
  // kOutOfRange outside every part, kUnavailable for I/O errors.
  absl::StatusOr<MediaBlock> Read(ByteOff off, uint64_t bytes);
  // The block of `bref`, its check code verified: kDataLoss when that does not match, when the
  // block crosses a device buffer or has no size.
  absl::StatusOr<MediaBlock> ReadBlock(const Blockref& bref);

  uint64_t bytes_read() const { return bytes_read_; }

 private:
  struct Frame {
    uint64_t off = UINT64_MAX;
    SharedBytes bytes;
  };
  absl::StatusOr<const Part*> Find(ByteOff off, uint64_t bytes) const;
  absl::StatusOr<MediaBlock> ReadExactly(const Part& part, ByteOff off, uint64_t bytes);

  std::vector<Part> parts_;
  std::vector<Frame> frames_;  // by number of the device buffer, the newest wins
  uint64_t bytes_read_ = 0;
};

}  // namespace h2bd
