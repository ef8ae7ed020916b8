#include "client/api/wire.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/impl/codegen/proto_buffer_reader.h>

#include <array>
#include <utility>

#include "core/base/status.h"

namespace h2bd::client {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;
using Answer = v1::ChannelResponse;

// No answer is as large; a length above it is nonsense.
constexpr uint32_t kFieldBytesMax = 64 << 20;

void ReleaseOwner(void* owner) { delete static_cast<SharedBytes*>(owner); }

bool ReadData(CodedInputStream& in, AlignedBuffer* into) {
  uint32_t length = 0;
  if (!in.ReadVarint32(&length) || length > kFieldBytesMax) return false;
  *into = AlignedBuffer(length);
  return in.ReadRaw(into->data(), static_cast<int>(length));
}

bool ReadText(CodedInputStream& in, std::string* into) {
  uint32_t length = 0;
  return in.ReadVarint32(&length) && length <= kFieldBytesMax &&
         in.ReadString(into, static_cast<int>(length));
}

// The tag of a field of the varint (0) or length-delimited (2) wire type.
constexpr uint32_t Varint(int field) { return static_cast<uint32_t>(field) << 3; }
constexpr uint32_t Bytes(int field) { return static_cast<uint32_t>(field) << 3 | 2; }

struct Raw {
  uint32_t code = 0;
  std::string message, reason;
};

bool ReadField(CodedInputStream& in, uint32_t tag, ChannelAnswer& answer, Raw& raw) {
  switch (tag) {
    case Varint(Answer::kIdFieldNumber):
      return in.ReadVarint64(&answer.id);
    case Varint(Answer::kCodeFieldNumber):
      return in.ReadVarint32(&raw.code);
    case Bytes(Answer::kMessageFieldNumber):
      return ReadText(in, &raw.message);
    case Bytes(Answer::kReasonFieldNumber):
      return ReadText(in, &raw.reason);
    case Varint(Answer::kSeqFieldNumber):
      return in.ReadVarint64(&answer.seq);
    case Varint(Answer::kCumulativeFieldNumber):
      return in.ReadVarint64(&answer.cumulative);
    case Varint(Answer::kHandleFieldNumber):
      return in.ReadVarint32(&answer.handle);
    case Varint(Answer::kSizeBytesFieldNumber):
      return in.ReadVarint64(&answer.size_bytes);
    case Bytes(Answer::kDataFieldNumber):
      return ReadData(in, &answer.data);
    default:
      return WireFormatLite::SkipField(&in, tag);
  }
}

}  // namespace

grpc::ByteBuffer EncodeFrame(const v1::ChannelRequest& request, const SharedBytes& owner,
                             ConstByteSpan data) {
  std::string head = request.SerializeAsString();
  if (data.empty()) {
    const grpc::Slice slice(head);
    return grpc::ByteBuffer(&slice, 1);
  }
  std::array<uint8_t, 16> prefix;
  uint8_t* end = CodedOutputStream::WriteVarint32ToArray(
      Bytes(v1::ChannelRequest::kDataFieldNumber), prefix.data());
  end = CodedOutputStream::WriteVarint64ToArray(data.size(), end);
  head.append(prefix.begin(), prefix.begin() + (end - prefix.data()));
  const std::array<grpc::Slice, 2> slices = {
      grpc::Slice(head), grpc::Slice(const_cast<std::byte*>(data.data()), data.size(), ReleaseOwner,
                                     new SharedBytes(owner))};
  return grpc::ByteBuffer(slices.data(), slices.size());
}

absl::StatusOr<ChannelAnswer> DecodeAnswer(grpc::ByteBuffer& buffer) {
  const absl::Status bad =
      absl::InternalError("the server sent a frame that is no ChannelResponse");
  ChannelAnswer answer;
  Raw raw;
  grpc::ProtoBufferReader reader(&buffer);
  if (!reader.status().ok()) return bad;
  CodedInputStream in(&reader);
  while (const uint32_t tag = in.ReadTag()) {
    if (!ReadField(in, tag, answer, raw)) return bad;
  }
  if (!in.ConsumedEntireMessage()) return bad;
  if (raw.code != 0) {
    answer.status = absl::Status(static_cast<absl::StatusCode>(raw.code), raw.message);
    if (raw.reason != absl::StatusCodeToString(answer.status.code()) && !raw.reason.empty()) {
      answer.status = WithReason(std::move(answer.status), raw.reason);
    }
  }
  return answer;
}

}  // namespace h2bd::client
