// ChannelRequest and ChannelResponse, WriteRequest and ReadResponse as they travel. Decoded by
// hand, because the generated classes would copy the payload (proto/h2bd/v1/io_service.proto says
// what the fields mean).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "h2bd/v1/io_service.pb.h"
#include "server/wire_reader.h"

namespace h2bd {

inline constexpr size_t kMaxNameField = 64 * 1024;  // bytes of a resource name on the wire

// Bytes of a received message, in order. They live as long as the frame that holds them.
struct Payload {
  std::vector<ConstByteSpan> pieces;
  uint64_t size = 0;
};

// Movable; `data` stays valid.
struct ChannelFrame {
  uint64_t id = 0;
  int op = 0;  // v1::ChannelOp, or a number that is none
  uint64_t handle = 0;
  uint64_t offset = 0;
  uint64_t length = 0;
  std::string disk;
  std::string transaction;
  int durability = 0;
  Payload data;
  ReceivedMessage message;
};

// Takes `buffer`. kInvalidArgument for what is no ChannelRequest, and for fields that the operation
// does not use; `frame.id` is set when it could be read.
absl::Status DecodeChannelRequest(grpc::ByteBuffer& buffer, ChannelFrame& frame);

struct ChannelAnswer {
  uint64_t id = 0;
  absl::Status status;
  uint64_t seq = 0;
  uint64_t cumulative = 0;
  uint32_t handle = 0;
  uint64_t size_bytes = 0;
  std::optional<grpc::Slice> data;
};
grpc::ByteBuffer EncodeChannelResponse(const ChannelAnswer& answer);

// Movable; `data` stays valid.
struct WriteCall {
  std::string disk;
  uint64_t offset = 0;
  std::string transaction;
  int durability = 0;
  Payload data;
  ReceivedMessage message;
};
absl::Status DecodeWriteRequest(const grpc::ByteBuffer& buffer, WriteCall& call);
grpc::ByteBuffer EncodeReadResponse(const grpc::Slice& data);

}  // namespace h2bd
