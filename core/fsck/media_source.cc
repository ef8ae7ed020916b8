#include "core/fsck/media_source.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "core/media/check_code.h"
#include "core/media/decode.h"

namespace h2bd {
namespace {

constexpr size_t kFrames = 256;

}  // namespace

MediaSource::MediaSource(std::vector<Part> parts) : parts_(std::move(parts)), frames_(kFrames) {}

MediaSource MediaSource::Of(VolumeSet& set) {
  std::vector<Part> parts;
  const uint64_t total = set.header->address_space();
  for (size_t i = 0; i < set.devices->size(); ++i) {
    const uint64_t start =
        set.header->version >= kVolumeVersionMulti ? set.header->volu_loff[i] : 0;
    const uint64_t end = i + 1 < set.devices->size() ? set.header->volu_loff[i + 1] : total;
    parts.push_back({&set.devices->device(i), start, end - start});
  }
  return MediaSource(std::move(parts));
}

absl::StatusOr<const MediaSource::Part*> MediaSource::Find(ByteOff off, uint64_t bytes) const {
  for (const Part& part : parts_) {
    if (off.v >= part.start && bytes <= part.bytes && off.v - part.start <= part.bytes - bytes) {
      return &part;
    }
  }
  return absl::OutOfRangeError(
      absl::StrFormat("[0x%x, +%d) lies outside every device of the volume", off.v, bytes));
}

absl::StatusOr<MediaBlock> MediaSource::ReadExactly(const Part& part, ByteOff off, uint64_t bytes) {
  const uint64_t sector = part.device->sector_bytes();
  const uint64_t begin = RoundDown(off.v - part.start, sector);
  const uint64_t end = RoundUp(off.v - part.start + bytes, sector);
  auto buffer = std::make_shared<AlignedBuffer>(end - begin);
  H2_RETURN_IF_ERROR(part.device->Read(ByteOff(begin), buffer->span()));
  bytes_read_ += end - begin;
  const ConstByteSpan view =
      std::as_const(*buffer).span().subspan(off.v - part.start - begin, bytes);
  return MediaBlock{std::move(buffer), view};
}

absl::StatusOr<MediaBlock> MediaSource::Read(ByteOff off, uint64_t bytes) {
  const uint64_t base = RoundDown(off.v, kPbufBytes);
  H2_ASSERT(bytes > 0 && bytes <= kPbufBytes && off.v - base + bytes <= kPbufBytes);
  H2_ASSIGN_OR_RETURN(const Part* part, Find(off, bytes));
  // Whole device buffers are data, as a rule: caching them would push the tables out.
  if (bytes == kPbufBytes) return ReadExactly(*part, off, bytes);
  Frame& frame = frames_[(base >> kPbufRadix) % kFrames];
  if (frame.off != base) {
    absl::StatusOr<MediaBlock> whole = Find(ByteOff(base), kPbufBytes).ok()
                                           ? ReadExactly(*part, ByteOff(base), kPbufBytes)
                                           : absl::OutOfRangeError("");
    // One bad sector must not take the other blocks of its device buffer with it.
    if (!whole.ok()) return ReadExactly(*part, off, bytes);
    frame = Frame{base, whole->owner};
  }
  return MediaBlock{frame.bytes, frame.bytes->span().subspan(off.v - base, bytes)};
}

absl::StatusOr<MediaBlock> MediaSource::ReadBlock(const Blockref& bref) {
  const uint64_t bytes = bref.data_off.bytes();
  if (bytes == 0 || bref.data_off.radix() > kRadixMax ||
      bref.data_off.offset().v % kPbufBytes + bytes > kPbufBytes) {
    return absl::DataLossError(
        absl::StrFormat("%s: no block that lies within one device buffer", Describe(bref)));
  }
  absl::StatusOr<MediaBlock> block = Read(bref.data_off.offset(), bytes);
  if (!block.ok()) return Annotate(block.status(), Describe(bref));
  H2_RETURN_IF_ERROR(VerifyCheck(bref, block->bytes));
  return block;
}

}  // namespace h2bd
