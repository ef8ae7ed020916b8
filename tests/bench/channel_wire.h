// IoService.Channel frames as raw bytes, so that payloads are never copied into a protobuf message.
// Wire compatible with proto/h2bd/v1/io_service.proto; both the null server and the load generator
// speak it.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <optional>
#include <string>

#include "core/base/bytes.h"

namespace h2bd::bench {

enum class Op : uint32_t { kOpen = 1, kRead = 3, kWrite = 4, kSync = 7 };

struct Request {
  uint64_t id = 0;
  Op op = Op::kOpen;
  uint32_t handle = 0;
  uint64_t offset = 0, length = 0;
  std::string disk;    // kOpen
  ConstByteSpan data;  // kWrite; must outlive the transfer. Empty after ParseRequest
};

struct Response {
  uint64_t id = 0;
  uint32_t code = 0;
  std::string message;
  uint64_t cumulative = 0;
  uint32_t handle = 0;
  ConstByteSpan data;       // as Request::data
  uint64_t data_bytes = 0;  // of a parsed frame
};

grpc::ByteBuffer EncodeRequest(const Request& request);
grpc::ByteBuffer EncodeResponse(const Response& response);
// nullopt for what is no such frame. The payload is not looked at.
std::optional<Request> ParseRequest(grpc::ByteBuffer& buffer);
std::optional<Response> ParseResponse(grpc::ByteBuffer& buffer);

}  // namespace h2bd::bench
