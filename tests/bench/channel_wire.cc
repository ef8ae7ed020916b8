#include "tests/bench/channel_wire.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <grpcpp/impl/codegen/proto_buffer_reader.h>
#include <grpcpp/support/slice.h>

#include <functional>

namespace h2bd::bench {
namespace {

using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;
using google::protobuf::io::StringOutputStream;

constexpr uint32_t kVarint = 0, kBytes = 2;
constexpr uint32_t Tag(uint32_t field, uint32_t type) { return field << 3 | type; }
constexpr uint32_t kDataField = 15;

void PutNumber(CodedOutputStream& out, uint32_t field, uint64_t value) {
  if (value == 0) return;
  out.WriteTag(Tag(field, kVarint));
  out.WriteVarint64(value);
}

void PutText(CodedOutputStream& out, uint32_t field, const std::string& text) {
  if (text.empty()) return;
  out.WriteTag(Tag(field, kBytes));
  out.WriteVarint32(static_cast<uint32_t>(text.size()));
  out.WriteString(text);
}

// The fields that `fill` writes, then the payload by reference.
grpc::ByteBuffer Frame(ConstByteSpan data, const std::function<void(CodedOutputStream&)>& fill) {
  std::string head;
  {
    StringOutputStream stream(&head);
    CodedOutputStream out(&stream);
    fill(out);
    if (!data.empty()) {
      out.WriteTag(Tag(kDataField, kBytes));
      out.WriteVarint32(static_cast<uint32_t>(data.size()));
    }
  }
  const grpc::Slice slices[] = {grpc::Slice(head),
                                grpc::Slice(data.data(), data.size(), grpc::Slice::STATIC_SLICE)};
  return grpc::ByteBuffer(slices, data.empty() ? 1 : 2);
}

// Calls on_number(field, value) and on_text(field, text) for each field but the payload; gives the
// payload's size, nullopt for a malformed frame.
std::optional<uint64_t> ParseFrame(grpc::ByteBuffer& buffer,
                                   const std::function<void(uint32_t, uint64_t)>& on_number,
                                   const std::function<void(uint32_t, std::string)>& on_text) {
  grpc::ProtoBufferReader reader(&buffer);
  if (!reader.status().ok()) return std::nullopt;
  CodedInputStream in(&reader);
  uint64_t data_bytes = 0;
  while (const uint32_t tag = in.ReadTag()) {
    const uint32_t field = tag >> 3;
    uint64_t number = 0;
    uint32_t size = 0;
    std::string text;
    if ((tag & 7) == kVarint) {
      if (!in.ReadVarint64(&number)) return std::nullopt;
      on_number(field, number);
    } else if ((tag & 7) != kBytes || !in.ReadVarint32(&size)) {
      return std::nullopt;
    } else if (field == kDataField) {
      data_bytes = size;
      if (!in.Skip(static_cast<int>(size))) return std::nullopt;
    } else {
      if (!in.ReadString(&text, static_cast<int>(size))) return std::nullopt;
      on_text(field, std::move(text));
    }
  }
  return data_bytes;
}

}  // namespace

grpc::ByteBuffer EncodeRequest(const Request& request) {
  return Frame(request.data, [&](CodedOutputStream& out) {
    PutNumber(out, 1, request.id);
    PutNumber(out, 2, static_cast<uint32_t>(request.op));
    PutNumber(out, 3, request.handle);
    PutNumber(out, 4, request.offset);
    PutNumber(out, 5, request.length);
    PutText(out, 6, request.disk);
  });
}

grpc::ByteBuffer EncodeResponse(const Response& response) {
  return Frame(response.data, [&](CodedOutputStream& out) {
    PutNumber(out, 1, response.id);
    PutNumber(out, 2, response.code);
    PutText(out, 3, response.message);
    PutNumber(out, 6, response.cumulative);
    PutNumber(out, 7, response.handle);
  });
}

std::optional<Request> ParseRequest(grpc::ByteBuffer& buffer) {
  Request request;
  const auto on_number = [&](uint32_t field, uint64_t value) {
    if (field == 1) request.id = value;
    if (field == 2) request.op = static_cast<Op>(value);
    if (field == 3) request.handle = static_cast<uint32_t>(value);
    if (field == 4) request.offset = value;
    if (field == 5) request.length = value;
  };
  const auto on_text = [&](uint32_t field, std::string text) {
    if (field == 6) request.disk = std::move(text);
  };
  if (!ParseFrame(buffer, on_number, on_text)) return std::nullopt;
  return request;
}

std::optional<Response> ParseResponse(grpc::ByteBuffer& buffer) {
  Response response;
  const auto on_number = [&](uint32_t field, uint64_t value) {
    if (field == 1) response.id = value;
    if (field == 2) response.code = static_cast<uint32_t>(value);
    if (field == 6) response.cumulative = value;
    if (field == 7) response.handle = static_cast<uint32_t>(value);
  };
  const auto on_text = [&](uint32_t field, std::string text) {
    if (field == 3) response.message = std::move(text);
  };
  const std::optional<uint64_t> data_bytes = ParseFrame(buffer, on_number, on_text);
  if (!data_bytes.has_value()) return std::nullopt;
  response.data_bytes = *data_bytes;
  return response;
}

}  // namespace h2bd::bench
