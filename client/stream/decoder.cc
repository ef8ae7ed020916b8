#include "client/stream/decoder.h"

#include <lz4.h>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "core/digest/checksum.h"

namespace h2bd::stream {
namespace {

constexpr size_t kMagicBytes = 16;

}  // namespace

Decoder::Decoder(ByteSource& source)
    : source_(source), payload_(kPayloadMax), block_(kBlockBytes) {}

absl::StatusOr<Prelude> Decoder::Begin() {
  std::array<std::byte, kPreludeBytes> bytes;
  const ByteSpan all(bytes);
  const auto read = [&]() -> absl::StatusOr<Prelude> {
    // A later version may be shorter: it is to be told by its number, not as a cut.
    H2_RETURN_IF_ERROR(Fill(all.first(kMagicBytes)));
    H2_RETURN_IF_ERROR(CheckMagic(all.first(kMagicBytes)));
    H2_RETURN_IF_ERROR(Fill(all.subspan(kMagicBytes)));
    return DecodePrelude(all);
  };
  absl::StatusOr<Prelude> prelude = read();
  if (!prelude.ok()) {
    error_ = prelude.status();
    return prelude;
  }
  identity_ = prelude->identity;
  position_ = prelude->position;
  link_.Add(position_.chain);
  return prelude;
}

absl::StatusOr<Record> Decoder::Next() {
  H2_ASSERT(!ended_);
  if (!error_.ok()) return error_;
  const uint64_t sequence = position_.sequence;
  absl::StatusOr<Record> record = ReadRecord();
  if (record.ok()) return record;
  error_ = Annotate(record.status(), absl::StrCat("the stream, at record ", sequence));
  return error_;
}

absl::Status Decoder::Fill(ByteSpan into) {
  while (!into.empty()) {
    H2_ASSIGN_OR_RETURN(const size_t read, source_.Read(into));
    if (read == 0) {
      return WithReason(absl::UnavailableError("it was cut: it ends before its END record"),
                        kReasonStreamCut);
    }
    into = into.subspan(read);
  }
  return absl::OkStatus();
}

absl::StatusOr<Record> Decoder::ReadRecord() {
  std::array<std::byte, kHeaderBytes> bytes;
  H2_RETURN_IF_ERROR(Fill(bytes));
  H2_ASSIGN_OR_RETURN(const RecordHeader header, DecodeHeader(bytes, identity_.stream));
  Position next = position_;
  H2_RETURN_IF_ERROR(Advance(identity_, header, next));  // bounds the length
  H2_ASSERT(header.length <= payload_.size());
  const ByteSpan payload = ByteSpan(payload_).first(header.length);
  H2_RETURN_IF_ERROR(Fill(payload));
  if (Xxh64(payload) != header.payload_xxh64) {
    return absl::DataLossError("its payload is damaged: the XXH64 is wrong");
  }
  if (IsChained(header.type)) {
    link_.Add(bytes);
    link_.Add(payload);
  }
  position_ = next;
  return Interpret(header, payload);
}

absl::StatusOr<Record> Decoder::Interpret(const RecordHeader& header, ConstByteSpan payload) {
  switch (header.type) {
    case RecordType::kDisk:
      return Disk(header, payload);
    case RecordType::kData:
      return Data(header, payload);
    case RecordType::kHole:
      return HoleRecord{.disk = header.disk, .offset = header.offset, .bytes = header.bytes};
    case RecordType::kRemove: {
      RemoveRecord remove{.number = header.disk, .base_path = std::string(AsText(payload))};
      H2_RETURN_IF_ERROR(CheckPath(remove.base_path));
      return remove;
    }
    case RecordType::kCheckpoint:
      return Checkpoint(header, payload);
    case RecordType::kEnd:
      return End(header, payload);
  }
  H2_ASSERT(!"Advance lets no other type pass");
  return absl::InternalError("unreachable");
}

absl::StatusOr<Record> Decoder::Disk(const RecordHeader& header, ConstByteSpan payload) {
  H2_ASSIGN_OR_RETURN(DiskRecord disk, DecodeDiskPayload(payload));
  if (disk.base_path.has_value() && !identity_.incremental()) {
    return absl::DataLossError("a disk of a base, in a stream that has none");
  }
  disk.number = header.disk;
  disk.size_bytes = header.bytes;
  return disk;
}

absl::StatusOr<Record> Decoder::Data(const RecordHeader& header, ConstByteSpan payload) {
  DataRecord data{.disk = header.disk, .offset = header.offset, .bytes = payload};
  if (header.encoding == Encoding::kRaw) return data;
  const int made = LZ4_decompress_safe(
      reinterpret_cast<const char*>(payload.data()), reinterpret_cast<char*>(block_.data()),
      static_cast<int>(payload.size()), static_cast<int>(header.bytes));
  if (made < 0 || static_cast<uint64_t>(made) != header.bytes) {
    return absl::DataLossError(
        absl::StrCat("its LZ4 payload does not decode to ", header.bytes, " bytes"));
  }
  data.bytes = ConstByteSpan(block_).first(header.bytes);
  return data;
}

absl::StatusOr<Record> Decoder::Checkpoint(const RecordHeader&, ConstByteSpan payload) {
  const Sha256Digest chain = link_.Finish();
  if (LoadAs<Sha256Digest>(payload) != chain) {
    return absl::DataLossError("the SHA-256 of the records before it is wrong");
  }
  position_.chain = chain;
  link_.Add(chain);
  return CheckpointRecord{.position = position_};
}

absl::StatusOr<Record> Decoder::End(const RecordHeader&, ConstByteSpan payload) {
  const EndPayload end = DecodeEndPayload(payload);
  if (end.end.chain != link_.Finish()) {
    return absl::DataLossError("the SHA-256 of the records before it is wrong");
  }
  if (end.hole_bytes != position_.hole_bytes) {
    return absl::DataLossError(absl::StrCat(
        "it counts ", end.hole_bytes, " bytes of holes, the stream had ", position_.hole_bytes));
  }
  ended_ = true;
  return end.end;
}

}  // namespace h2bd::stream
