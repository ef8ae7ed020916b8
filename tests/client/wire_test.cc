#include "client/api/wire.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "core/base/random.h"
#include "core/base/status.h"

namespace h2bd::client {
namespace {

std::string Flatten(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(buffer.Dump(&slices).ok());
  std::string text;
  for (const grpc::Slice& slice : slices) {
    text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return text;
}

grpc::ByteBuffer Buffer(const std::string& text) {
  const grpc::Slice slice(text);
  return grpc::ByteBuffer(&slice, 1);
}

TEST(Wire, AFrameIsTheMessageThatProtobufWouldWrite) {
  v1::ChannelRequest request;
  request.set_id(300);
  request.set_op(v1::CHANNEL_OP_WRITE);
  request.set_handle(2);
  request.set_offset(uint64_t{1} << 40);
  const auto bytes = std::make_shared<const AlignedBuffer>(
      AlignedBuffer::CopyOf(AsBytes(std::string(70'000, 'x'))));
  const std::string frame = Flatten(EncodeFrame(request, bytes, bytes->span()));
  request.set_data(std::string(70'000, 'x'));
  EXPECT_EQ(frame, request.SerializeAsString());
}

TEST(Wire, TheFrameKeepsItsBytesAlive) {
  auto bytes =
      std::make_shared<const AlignedBuffer>(AlignedBuffer::CopyOf(AsBytes(std::string(5000, 'y'))));
  const std::weak_ptr<const AlignedBuffer> watch = bytes;
  {
    const grpc::ByteBuffer frame = EncodeFrame({}, bytes, bytes->span());
    bytes.reset();
    EXPECT_FALSE(watch.expired());
  }
  EXPECT_TRUE(watch.expired());
}

TEST(Wire, ReadsAnAnswer) {
  v1::ChannelResponse response;
  response.set_id(9);
  response.set_seq(77);
  response.set_cumulative(4);
  response.set_handle(3);
  response.set_size_bytes(1 << 20);
  response.set_data("payload");
  grpc::ByteBuffer buffer = Buffer(response.SerializeAsString());
  const absl::StatusOr<ChannelAnswer> answer = DecodeAnswer(buffer);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->id, 9u);
  EXPECT_TRUE(answer->status.ok());
  EXPECT_EQ(answer->seq, 77u);
  EXPECT_EQ(answer->cumulative, 4u);
  EXPECT_EQ(answer->handle, 3u);
  EXPECT_EQ(answer->size_bytes, uint64_t{1} << 20);
  EXPECT_EQ(AsText(answer->data.span()), "payload");
}

TEST(Wire, AnErrorHasItsReason) {
  v1::ChannelResponse response;
  response.set_code(grpc::StatusCode::FAILED_PRECONDITION);
  response.set_message("the volume has failed");
  response.set_reason("READ_ONLY_FAILSTOP");
  grpc::ByteBuffer buffer = Buffer(response.SerializeAsString());
  const absl::StatusOr<ChannelAnswer> answer = DecodeAnswer(buffer);
  ASSERT_TRUE(answer.ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(answer->status));
  EXPECT_EQ(answer->status.message(), "the volume has failed");
  EXPECT_EQ(ReasonOf(answer->status), "READ_ONLY_FAILSTOP");
}

TEST(Wire, FieldsOfALaterVersionAreSkipped) {
  v1::ChannelResponse response;
  response.set_id(5);
  const std::string later = std::string("\xa0\x06\x01", 3) + std::string("\xaa\x06\x02hi", 5);
  grpc::ByteBuffer buffer = Buffer(later + response.SerializeAsString());
  const absl::StatusOr<ChannelAnswer> answer = DecodeAnswer(buffer);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->id, 5u);
}

TEST(Wire, GarbageIsRefusedAndNeverReadPastItsEnd) {
  v1::ChannelResponse response;
  response.set_id(5);
  response.set_message("message");
  response.set_data("0123456789");
  const std::string whole = response.SerializeAsString();
  SeededRandom random(3);
  for (int round = 0; round < 3000; ++round) {
    std::string text = whole.substr(0, random.Next64() % (whole.size() + 1));
    for (int flips = static_cast<int>(random.Next64() % 4); flips > 0 && !text.empty(); --flips) {
      text[random.Next64() % text.size()] = static_cast<char>(random.Next64());
    }
    grpc::ByteBuffer buffer = Buffer(text);
    const absl::StatusOr<ChannelAnswer> answer = DecodeAnswer(buffer);
    EXPECT_TRUE(!answer.ok() || answer->data.size() <= text.size());
  }
  grpc::ByteBuffer cut = Buffer(whole.substr(0, whole.size() - 1));
  EXPECT_FALSE(DecodeAnswer(cut).ok());
}

}  // namespace
}  // namespace h2bd::client
