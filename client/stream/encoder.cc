#include "client/stream/encoder.h"

#include <lz4.h>

#include "core/base/status.h"
#include "core/digest/checksum.h"

namespace h2bd::stream {

Encoder::Encoder(ByteSink& sink, const Prelude& start, const EncoderOptions& options)
    : sink_(sink),
      identity_(start.identity),
      options_(options),
      position_(start.position),
      compressed_(kBlockBytes) {
  link_.Add(position_.chain);
}

absl::Status Encoder::Begin() {
  sent_bytes_ += kPreludeBytes;
  return sink_.Write(EncodePrelude({.identity = identity_, .position = position_}));
}

absl::Status Encoder::Disk(const DiskRecord& disk) {
  H2_ASSERT(CheckPath(disk.path).ok());
  H2_ASSERT(!disk.base_path.has_value() || CheckPath(*disk.base_path).ok());
  H2_RETURN_IF_ERROR(CheckpointWhenDue());
  return Put({.type = RecordType::kDisk, .disk = disk.number, .bytes = disk.size_bytes},
             AsBytes(EncodeDiskPayload(disk)));
}

absl::Status Encoder::Data(uint64_t offset, ConstByteSpan bytes) {
  H2_RETURN_IF_ERROR(CheckpointWhenDue());
  RecordHeader header{
      .type = RecordType::kData, .disk = position_.disk, .offset = offset, .bytes = bytes.size()};
  if (options_.compress && bytes.size() > 1) {
    const int made = LZ4_compress_default(
        reinterpret_cast<const char*>(bytes.data()), reinterpret_cast<char*>(compressed_.data()),
        static_cast<int>(bytes.size()), static_cast<int>(bytes.size() - 1));
    if (made > 0) {
      header.encoding = Encoding::kLz4;
      return Put(header, ConstByteSpan(compressed_).first(static_cast<size_t>(made)));
    }
  }
  return Put(header, bytes);
}

absl::Status Encoder::Hole(uint64_t offset, uint64_t bytes) {
  H2_RETURN_IF_ERROR(CheckpointWhenDue());
  return Put({.type = RecordType::kHole, .disk = position_.disk, .offset = offset, .bytes = bytes},
             {});
}

absl::Status Encoder::Remove(absl::string_view base_path) {
  H2_ASSERT(CheckPath(base_path).ok());
  H2_RETURN_IF_ERROR(CheckpointWhenDue());
  return Put({.type = RecordType::kRemove, .disk = position_.disk + 1}, AsBytes(base_path));
}

absl::Status Encoder::End(const Sha256Digest& attest) {
  const EndRecord end{.attest = attest, .chain = link_.Finish()};
  H2_RETURN_IF_ERROR(
      Put({.type = RecordType::kEnd, .disk = position_.disk, .bytes = position_.data_bytes},
          EncodeEndPayload(end, position_.hole_bytes)));
  return sink_.Flush();
}

absl::Status Encoder::CheckpointWhenDue() {
  if (since_checkpoint_ < options_.checkpoint_bytes) return absl::OkStatus();
  const Sha256Digest chain = link_.Finish();
  H2_RETURN_IF_ERROR(Put({.type = RecordType::kCheckpoint,
                          .disk = position_.disk,
                          .offset = position_.offset,
                          .bytes = position_.data_bytes},
                         chain));
  position_.chain = chain;
  link_.Add(chain);
  since_checkpoint_ = 0;
  return sink_.Flush();
}

absl::Status Encoder::Put(RecordHeader header, ConstByteSpan payload) {
  header.sequence = position_.sequence;
  header.length = static_cast<uint32_t>(payload.size());
  header.payload_xxh64 = Xxh64(payload);
  const absl::Status fits = Advance(identity_, header, position_);
  H2_ASSERT(fits.ok());
  const std::array<std::byte, kHeaderBytes> bytes = EncodeHeader(header, identity_.stream);
  if (IsChained(header.type)) {
    link_.Add(bytes);
    link_.Add(payload);
  }
  since_checkpoint_ += bytes.size() + payload.size();
  sent_bytes_ += bytes.size() + payload.size();
  H2_RETURN_IF_ERROR(sink_.Write(bytes));
  return payload.empty() ? absl::OkStatus() : sink_.Write(payload);
}

}  // namespace h2bd::stream
