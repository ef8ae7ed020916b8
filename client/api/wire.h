// Frames of IoService.Channel as raw gRPC buffers: the payload of a write is not copied on its way
// out, that of a read once. Not for users of the library.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/bytes.h"
#include "h2bd/v1/io_service.pb.h"

namespace h2bd::client {

// `request` without data, followed by `data`, which `owner` keeps alive until gRPC has sent it.
grpc::ByteBuffer EncodeFrame(const v1::ChannelRequest& request, const SharedBytes& owner,
                             ConstByteSpan data);

struct ChannelAnswer {
  uint64_t id = 0;
  absl::Status status;  // with its reason
  uint64_t seq = 0;
  uint64_t cumulative = 0;
  uint32_t handle = 0;
  uint64_t size_bytes = 0;
  AlignedBuffer data;
};

// kInternal for what is no ChannelResponse. Fields that are not known are skipped.
absl::StatusOr<ChannelAnswer> DecodeAnswer(grpc::ByteBuffer& buffer);

}  // namespace h2bd::client
