// One 64 KiB device buffer: which of its bytes are known, which must still be written. Private to
// core/dio.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/device/block_device.h"
#include "core/media/constants.h"

namespace h2bd {

// The unit of a partial write: no smaller than the physical sector of any device that we serve, so
// that a write never makes the device read, and a torn one never touches a neighbour (F-229).
inline constexpr uint64_t kUnitBytes = kBufferAlignment;
inline constexpr unsigned kUnitsPerFrame = kPbufBytes / kUnitBytes;
static_assert(kUnitsPerFrame == 16, "UnitMask has a bit for each unit");
using UnitMask = uint16_t;  // bit i: bytes [i * kUnitBytes, (i + 1) * kUnitBytes) of the frame
inline constexpr UnitMask kAllUnits = 0xffff;

// The content of a frame. Not thread-safe. Its bytes are in one of three conditions: there are none
// yet; they are ours and may be changed; or they are frozen, because a write of them is in flight
// or because the caller of WriteBlock shares them, and then a change makes a copy first (F-228).
class FrameContent {
 public:
  // What a write of dirty units needs until it has completed.
  struct Flight {
    SharedBytes bytes;  // keeps the ranges alive and unchanged
    UnitMask units = 0;
    bool whole = false;  // one 64 KiB block
  };

  // Units that must be read before [off, off + bytes) can be read from, or written into, here.
  UnitMask MissingForRead(uint64_t off, uint64_t bytes) const;
  UnitMask MissingForWrite(uint64_t off, uint64_t bytes) const;

  // `media` is what the device holds: 64 KiB of it, of which `units` are taken where nothing is
  // known yet.
  void Learn(ConstByteSpan media, UnitMask units);
  // No block lives in what is not known yet of `units`: they read as zeros from now on.
  void LearnEmpty(UnitMask units);

  void Put(uint64_t off, ConstByteSpan block);  // MissingForWrite must be empty
  void PutWhole(SharedBytes block);
  void CopyOut(uint64_t off, ByteSpan into) const;  // MissingForRead must be empty

  bool dirty() const { return dirty_ != 0; }
  bool all_dirty() const { return dirty_ == kAllUnits; }
  // True while nothing but a single 64 KiB block is held.
  bool whole() const { return whole_; }

  // Hands out the dirty units, which are clean from then on, and freezes them until Landed.
  Flight TakeOff();
  // `units` left with a write that has ended, well or not: they are suspect until Confirmed, and
  // Redo makes them dirty again (spec 04 F-224).
  void Landed(UnitMask units);
  bool suspect() const { return suspect_ != 0; }
  void Redo() { dirty_ |= std::exchange(suspect_, UnitMask{0}); }
  void Confirmed() { suspect_ = 0; }

 private:
  ByteSpan Changeable();

  SharedBytes bytes_;
  std::shared_ptr<AlignedBuffer> own_;  // the same buffer, when it was made here
  bool shared_ = false;                 // the buffer belongs to others as well
  bool frozen_ = false;                 // must not change now
  bool whole_ = false;
  UnitMask valid_ = 0;
  UnitMask dirty_ = 0;
  UnitMask suspect_ = 0;  // handed to the device; no barrier has covered them
};

// A frame of the cache or of the queue. `mu` is taken before the lock of the table of frames.
struct Frame {
  explicit Frame(uint64_t at) : base(at) {}
  const uint64_t base;  // offset of the volume, a multiple of 64 KiB

  absl::Mutex mu;
  FrameContent content ABSL_GUARDED_BY(mu);
  bool queued ABSL_GUARDED_BY(mu) = false;  // in the write queue, or taken from it but not yet read
  bool writing ABSL_GUARDED_BY(mu) = false;   // never two writes of one frame in flight
  bool fetching ABSL_GUARDED_BY(mu) = false;  // somebody reads the media for it, without the lock
  uint64_t ticket ABSL_GUARDED_BY(mu) = 0;    // of the dirty units; 0 while clean
};

// Appends the writes of `flight`, one for each run of neighbouring units.
void AppendWrites(uint64_t base, const FrameContent::Flight& flight, std::vector<WriteOp>* ops);

}  // namespace h2bd
