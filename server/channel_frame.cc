#include "server/channel_frame.h"

#include <limits>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "server/status_map.h"

namespace h2bd {
namespace {

using Request = v1::ChannelRequest;
using Response = v1::ChannelResponse;

absl::Status Garbled(absl::string_view message, uint32_t field) {
  return absl::InvalidArgumentError(
      absl::StrCat("not a ", message, ": the encoding is broken near field ", field));
}

// Decodes field after field. `read_field` gives nullopt for a field that it does not know.
absl::Status DecodeFields(
    absl::string_view name, const ReceivedMessage& message,
    absl::FunctionRef<std::optional<bool>(WireReader&, uint32_t field, uint32_t type)> read_field) {
  WireReader reader(message);
  uint32_t field = 0, type = 0;
  while (!reader.AtEnd()) {
    if (!reader.ReadTag(&field, &type)) return Garbled(name, field);
    std::optional<bool> read = read_field(reader, field, type);
    if (!read.has_value()) read = reader.Skip(type);
    if (!*read) return Garbled(name, field);
  }
  return absl::OkStatus();
}

bool ReadNumber(WireReader& reader, uint32_t type, uint64_t* value) {
  return type == WireReader::kVarint && reader.ReadVarint(value);
}
// An enum: numbers that do not fit become one that no enum has.
bool ReadEnum(WireReader& reader, uint32_t type, int* value) {
  uint64_t number = 0;
  if (!ReadNumber(reader, type, &number)) return false;
  *value = number <= static_cast<uint64_t>(std::numeric_limits<int>::max())
               ? static_cast<int>(number)
               : -1;
  return true;
}
bool ReadName(WireReader& reader, uint32_t type, std::string* text) {
  return type == WireReader::kBytes && reader.ReadText(kMaxNameField, text);
}
bool ReadPayload(WireReader& reader, uint32_t type, Payload* data) {
  return type == WireReader::kBytes && reader.ReadPieces(&data->pieces, &data->size);
}

// Which fields each operation uses, besides id and op.
struct Uses {
  bool handle, range, data, disk, change;
};

std::optional<Uses> UsesOf(int op) {
  switch (op) {
    case v1::CHANNEL_OP_OPEN:
      return Uses{.disk = true};
    case v1::CHANNEL_OP_CLOSE:
    case v1::CHANNEL_OP_SYNC:
      return Uses{.handle = true};
    case v1::CHANNEL_OP_READ:
      return Uses{.handle = true, .range = true};
    case v1::CHANNEL_OP_WRITE:
      return Uses{.handle = true, .range = true, .data = true, .change = true};
    case v1::CHANNEL_OP_WRITE_ZEROES:
    case v1::CHANNEL_OP_DISCARD:
      return Uses{.handle = true, .range = true, .change = true};
    default:
      return std::nullopt;
  }
}

absl::Status CheckFields(const ChannelFrame& frame) {
  const std::optional<Uses> uses = UsesOf(frame.op);
  if (!uses.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat("op: ", frame.op, "; legal: 1 to 7"));
  }
  const auto refuse = [&frame](absl::string_view field) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, ": set, but operation ", frame.op, " does not use it"));
  };
  if (!uses->handle && frame.handle != 0) return refuse("handle");
  if (!uses->range && frame.offset != 0) return refuse("offset");
  if (!uses->range && frame.length != 0) return refuse("length");
  if (!uses->disk && !frame.disk.empty()) return refuse("disk");
  if (!uses->range && !frame.transaction.empty()) return refuse("transaction");
  if (!uses->change && frame.durability != 0) return refuse("durability");
  if (!uses->data && frame.data.size != 0) return refuse("data");
  if (uses->data && frame.length != 0 && frame.length != frame.data.size) {
    return absl::InvalidArgumentError(absl::StrCat("length: ", frame.length, ", but data has ",
                                                   frame.data.size, " bytes; legal: 0 or equal"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status DecodeChannelRequest(grpc::ByteBuffer& buffer, ChannelFrame& frame) {
  if (!frame.message.Take(buffer)) return Garbled("ChannelRequest", 0);
  H2_RETURN_IF_ERROR(DecodeFields(
      "ChannelRequest", frame.message,
      [&frame](WireReader& reader, uint32_t field, uint32_t type) -> std::optional<bool> {
        switch (field) {
          case Request::kIdFieldNumber:
            return ReadNumber(reader, type, &frame.id);
          case Request::kOpFieldNumber:
            return ReadEnum(reader, type, &frame.op);
          case Request::kHandleFieldNumber:
            return ReadNumber(reader, type, &frame.handle);
          case Request::kOffsetFieldNumber:
            return ReadNumber(reader, type, &frame.offset);
          case Request::kLengthFieldNumber:
            return ReadNumber(reader, type, &frame.length);
          case Request::kDiskFieldNumber:
            return ReadName(reader, type, &frame.disk);
          case Request::kTransactionFieldNumber:
            return ReadName(reader, type, &frame.transaction);
          case Request::kDurabilityFieldNumber:
            return ReadEnum(reader, type, &frame.durability);
          case Request::kDataFieldNumber:
            return ReadPayload(reader, type, &frame.data);
          default:
            return std::nullopt;
        }
      }));
  return CheckFields(frame);
}

grpc::ByteBuffer EncodeChannelResponse(const ChannelAnswer& answer) {
  WireWriter writer;
  writer.Varint(Response::kIdFieldNumber, answer.id);
  if (!answer.status.ok()) {
    writer.Varint(Response::kCodeFieldNumber, static_cast<uint64_t>(answer.status.raw_code()));
    writer.Text(Response::kMessageFieldNumber, WireMessage(answer.status));
    writer.Text(Response::kReasonFieldNumber, WireReason(answer.status));
  }
  writer.Varint(Response::kSeqFieldNumber, answer.seq);
  writer.Varint(Response::kCumulativeFieldNumber, answer.cumulative);
  writer.Varint(Response::kHandleFieldNumber, answer.handle);
  writer.Varint(Response::kSizeBytesFieldNumber, answer.size_bytes);
  if (!answer.data.has_value()) return writer.Finish(nullptr);
  writer.PayloadHead(Response::kDataFieldNumber, answer.data->size());
  return writer.Finish(&*answer.data);
}

absl::Status DecodeWriteRequest(const grpc::ByteBuffer& buffer, WriteCall& call) {
  grpc::ByteBuffer copy(buffer);  // of the references
  if (!call.message.Take(copy)) return Garbled("WriteRequest", 0);
  using Fields = v1::WriteRequest;
  return DecodeFields(
      "WriteRequest", call.message,
      [&call](WireReader& reader, uint32_t field, uint32_t type) -> std::optional<bool> {
        switch (field) {
          case Fields::kDiskFieldNumber:
            return ReadName(reader, type, &call.disk);
          case Fields::kOffsetFieldNumber:
            return ReadNumber(reader, type, &call.offset);
          case Fields::kTransactionFieldNumber:
            return ReadName(reader, type, &call.transaction);
          case Fields::kDurabilityFieldNumber:
            return ReadEnum(reader, type, &call.durability);
          case Fields::kDataFieldNumber:
            return ReadPayload(reader, type, &call.data);
          default:
            return std::nullopt;
        }
      });
}

grpc::ByteBuffer EncodeReadResponse(const grpc::Slice& data) {
  WireWriter writer;
  if (data.size() == 0) return writer.Finish(nullptr);
  writer.PayloadHead(v1::ReadResponse::kDataFieldNumber, data.size());
  return writer.Finish(&data);
}

}  // namespace h2bd
