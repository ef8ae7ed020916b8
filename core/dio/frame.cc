#include "core/dio/frame.h"

#include <utility>

namespace h2bd {
namespace {

// Units that [off, off + bytes) touches.
UnitMask Touched(uint64_t off, uint64_t bytes) {
  const uint64_t first = off / kUnitBytes;
  const uint64_t end = (off + bytes + kUnitBytes - 1) / kUnitBytes;
  return static_cast<UnitMask>((uint64_t{1} << end) - (uint64_t{1} << first));
}

// Units that [off, off + bytes) covers entirely.
UnitMask Covered(uint64_t off, uint64_t bytes) {
  const uint64_t first = (off + kUnitBytes - 1) / kUnitBytes;
  const uint64_t end = (off + bytes) / kUnitBytes;
  return end <= first ? UnitMask{0}
                      : static_cast<UnitMask>((uint64_t{1} << end) - (uint64_t{1} << first));
}

template <class Body>
void ForEachUnit(UnitMask units, Body body) {
  for (unsigned i = 0; i < kUnitsPerFrame; ++i) {
    if ((units >> i & 1) != 0) body(i * kUnitBytes);
  }
}

}  // namespace

UnitMask FrameContent::MissingForRead(uint64_t off, uint64_t bytes) const {
  return Touched(off, bytes) & ~valid_;
}

UnitMask FrameContent::MissingForWrite(uint64_t off, uint64_t bytes) const {
  return Touched(off, bytes) & ~Covered(off, bytes) & ~valid_;
}

ByteSpan FrameContent::Changeable() {
  if (own_ == nullptr || frozen_) {
    own_ = bytes_ == nullptr
               ? std::make_shared<AlignedBuffer>(AlignedBuffer::Zeroed(kPbufBytes))
               : std::make_shared<AlignedBuffer>(AlignedBuffer::CopyOf(bytes_->span()));
    bytes_ = own_;
    shared_ = frozen_ = false;
  }
  return own_->span();
}

void FrameContent::Learn(ConstByteSpan media, UnitMask units) {
  if ((units & ~valid_) == 0) return;
  const ByteSpan to = Changeable();
  ForEachUnit(units & ~valid_,
              [&](uint64_t at) { std::memcpy(to.data() + at, media.data() + at, kUnitBytes); });
  valid_ |= units;
}

void FrameContent::LearnEmpty(UnitMask units) {
  const bool was_empty = bytes_ == nullptr;
  const ByteSpan to = Changeable();  // zeroed when it is new
  if (!was_empty) {
    ForEachUnit(static_cast<UnitMask>(units & ~valid_),
                [&](uint64_t at) { std::memset(to.data() + at, 0, kUnitBytes); });
  }
  valid_ |= units;
}

void FrameContent::Put(uint64_t off, ConstByteSpan block) {
  H2_ASSERT(MissingForWrite(off, block.size()) == 0);
  std::memcpy(Changeable().data() + off, block.data(), block.size());
  valid_ |= Touched(off, block.size());
  dirty_ |= Touched(off, block.size());
  whole_ = false;
}

void FrameContent::PutWhole(SharedBytes block) {
  bytes_ = std::move(block);
  own_.reset();
  shared_ = frozen_ = whole_ = true;
  valid_ = dirty_ = kAllUnits;
}

void FrameContent::CopyOut(uint64_t off, ByteSpan into) const {
  H2_ASSERT(MissingForRead(off, into.size()) == 0);
  std::memcpy(into.data(), bytes_->data() + off, into.size());
}

FrameContent::Flight FrameContent::TakeOff() {
  frozen_ = true;
  return {bytes_, std::exchange(dirty_, UnitMask{0}), whole_};
}

void FrameContent::Landed(UnitMask units) {
  frozen_ = shared_;
  suspect_ |= units;
}

void AppendWrites(uint64_t base, const FrameContent::Flight& flight, std::vector<WriteOp>* ops) {
  for (unsigned i = 0; i < kUnitsPerFrame;) {
    unsigned end = i;
    while (end < kUnitsPerFrame && (flight.units >> end & 1) != 0) ++end;
    if (end > i) {
      ops->push_back({ByteOff(base + i * kUnitBytes),
                      flight.bytes->span().subspan(i * kUnitBytes, (end - i) * kUnitBytes)});
    }
    i = end + 1;
  }
}

}  // namespace h2bd
