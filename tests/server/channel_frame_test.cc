#include "server/channel_frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "absl/strings/str_cat.h"
#include "server/status_map.h"
#include "server/utf8.h"
#include "tests/support/fixtures.h"

namespace h2bd {
namespace {

using testing::HasSubstr;
using Rng = std::mt19937_64;

// `bytes` as a message of slices cut at random places, empty ones among them.
grpc::ByteBuffer Cut(const std::string& bytes, Rng& rng) {
  std::vector<grpc::Slice> slices;
  for (size_t at = 0; at < bytes.size();) {
    const size_t size = std::min<size_t>(bytes.size() - at, rng() % 40);
    slices.emplace_back(bytes.data() + at, size);
    at += size;
  }
  return grpc::ByteBuffer(slices.data(), slices.size());
}

std::string Gathered(const Payload& data) {
  std::string bytes;
  for (const ConstByteSpan piece : data.pieces) bytes += std::string(AsText(piece));
  EXPECT_EQ(bytes.size(), data.size);
  return bytes;
}

std::string Gathered(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(buffer.Dump(&slices).ok());
  std::string bytes;
  for (const grpc::Slice& slice : slices) bytes.append(slice.begin(), slice.end());
  return bytes;
}

absl::Status Decode(const std::string& bytes, ChannelFrame& frame, Rng& rng) {
  grpc::ByteBuffer buffer = Cut(bytes, rng);
  return DecodeChannelRequest(buffer, frame);
}

std::string RandomBytes(Rng& rng, size_t max) {
  std::string bytes(rng() % (max + 1), '\0');
  for (char& c : bytes) c = static_cast<char>(rng());
  return bytes;
}

// A number of any size.
uint64_t RandomNumber(Rng& rng) { return rng() >> (rng() % 64); }

v1::ChannelRequest RandomWrite(Rng& rng) {
  v1::ChannelRequest request;
  request.set_id(RandomNumber(rng));
  request.set_op(v1::CHANNEL_OP_WRITE);
  request.set_handle(static_cast<uint32_t>(RandomNumber(rng)));
  request.set_offset(RandomNumber(rng));
  if (rng() % 2 == 0) request.set_transaction(absl::StrCat("transactions/", rng() % 100));
  request.set_durability(static_cast<v1::Durability>(rng() % 3));
  request.set_data(RandomBytes(rng, 300));
  return request;
}

TEST(ChannelFrame, DecodesWhatTheGeneratedClassWrites) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(absl::StrCat("H2BD_SEED=", seed));
  Rng rng(seed);
  for (int i = 0; i < 2000; ++i) {
    const v1::ChannelRequest request = RandomWrite(rng);
    ChannelFrame frame;
    ASSERT_EQ(Decode(request.SerializeAsString(), frame, rng), absl::OkStatus());
    const ChannelFrame moved = std::move(frame);
    EXPECT_EQ(moved.id, request.id());
    EXPECT_EQ(moved.op, request.op());
    EXPECT_EQ(moved.handle, request.handle());
    EXPECT_EQ(moved.offset, request.offset());
    EXPECT_EQ(moved.transaction, request.transaction());
    EXPECT_EQ(moved.durability, request.durability());
    EXPECT_EQ(Gathered(moved.data), request.data());
  }
}

TEST(ChannelFrame, WhatIsAcceptedIsAcceptedByTheGeneratedClassToo) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(absl::StrCat("H2BD_SEED=", seed));
  Rng rng(seed);
  int accepted = 0, refused = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = RandomWrite(rng).SerializeAsString();
    for (uint64_t flips = rng() % 4; flips > 0 && !bytes.empty(); --flips) {
      bytes[rng() % bytes.size()] = static_cast<char>(rng());
    }
    if (rng() % 4 == 0) bytes.resize(rng() % (bytes.size() + 1));
    ChannelFrame frame;
    const absl::Status status = Decode(bytes, frame, rng);
    if (!status.ok()) {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      ++refused;
      continue;
    }
    ++accepted;
    v1::ChannelRequest request;
    const bool text = ReplaceInvalidUtf8(frame.transaction) == frame.transaction;
    if (!text) continue;  // refused later, as a name that does not exist
    ASSERT_TRUE(request.ParseFromString(bytes));
    EXPECT_EQ(frame.id, request.id());
    EXPECT_EQ(Gathered(frame.data), request.data());
  }
  EXPECT_GT(accepted, 0);
  EXPECT_GT(refused, 0);
}

TEST(ChannelFrame, UnknownFieldsAreSkipped) {
  Rng rng(1);
  v1::ChannelRequest request;
  request.set_id(7);
  request.set_op(v1::CHANNEL_OP_SYNC);
  std::string bytes = "\xA0\x06\x01";  // field 100, varint
  bytes += std::string(
      "\xA1\x06"
      "12345678",
      10);  // field 100, fixed64
  bytes += std::string(
      "\xA5\x06"
      "1234",
      6);  // field 100, fixed32
  bytes += std::string(
      "\xA2\x06\x03"
      "abc",
      6);  // field 100, bytes
  ChannelFrame frame;
  EXPECT_EQ(Decode(bytes + request.SerializeAsString(), frame, rng), absl::OkStatus());
  EXPECT_EQ(frame.id, 7u);
}

TEST(ChannelFrame, GarbledFramesKeepTheIdThatCameBefore) {
  Rng rng(1);
  v1::ChannelRequest request;
  request.set_id(300);
  const std::string id = request.SerializeAsString();
  struct Case {
    std::string tail;
    const char* why;
  };
  for (const Case& c : {Case{"\x10", "varint missing"}, Case{"\x10\x80", "varint cut"},
                        Case{"\x10\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F", "more than 64 bits"},
                        Case{"\x7A\x05"
                             "abc",
                             "payload cut"},
                        Case{"\x78\x05", "payload as varint"}, Case{"\x32\x7F", "name cut"},
                        Case{std::string("\x00", 1), "field 0"}, Case{"\x0B", "group"},
                        Case{"\x12\x01x", "op as bytes"},
                        Case{"\xA1\x06"
                             "123",
                             "fixed64 cut"}}) {
    ChannelFrame frame;
    const absl::Status status = Decode(id + c.tail, frame, rng);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.why;
    EXPECT_EQ(frame.id, 300u) << c.why;
  }
}

TEST(ChannelFrame, FieldsThatTheOperationDoesNotUseAreRefused) {
  Rng rng(1);
  const auto check = [&rng](const v1::ChannelRequest& request) {
    ChannelFrame frame;
    return std::string(Decode(request.SerializeAsString(), frame, rng).message());
  };
  v1::ChannelRequest request;
  EXPECT_THAT(check(request), HasSubstr("op: 0"));
  request.set_op(static_cast<v1::ChannelOp>(99));
  EXPECT_THAT(check(request), HasSubstr("op: 99"));
  request.set_op(v1::CHANNEL_OP_OPEN);
  request.set_disk("pfs/-/disks/x");
  EXPECT_EQ(check(request), "");
  request.set_handle(1);
  EXPECT_THAT(check(request), HasSubstr("handle"));
  request.clear_handle();
  request.set_op(v1::CHANNEL_OP_READ);
  EXPECT_THAT(check(request), HasSubstr("disk"));
  request.clear_disk();
  request.set_data("x");
  EXPECT_THAT(check(request), HasSubstr("data"));
  request.clear_data();
  request.set_durability(v1::DURABILITY_DURABLE);
  EXPECT_THAT(check(request), HasSubstr("durability"));
  request.clear_durability();
  request.set_op(v1::CHANNEL_OP_SYNC);
  request.set_offset(1);
  EXPECT_THAT(check(request), HasSubstr("offset"));
  request.set_op(v1::CHANNEL_OP_WRITE);
  request.set_data("four");
  request.set_length(3);
  EXPECT_THAT(check(request), HasSubstr("length: 3"));
  request.set_length(4);
  EXPECT_EQ(check(request), "");
}

TEST(ChannelFrame, AnEmptyMessageIsAFrame) {
  grpc::ByteBuffer none;
  ChannelFrame frame;
  EXPECT_THAT(std::string(DecodeChannelRequest(none, frame).message()), HasSubstr("op: 0"));
}

TEST(ChannelAnswer, IsWhatTheGeneratedClassReads) {
  const std::string payload(100'000, 'p');
  ChannelAnswer answer{.id = 1ull << 63,
                       .seq = 300,
                       .cumulative = 7,
                       .handle = 4'000'000'000u,
                       .size_bytes = 1ull << 40,
                       .data = grpc::Slice(payload)};
  v1::ChannelResponse response;
  ASSERT_TRUE(response.ParseFromString(Gathered(EncodeChannelResponse(answer))));
  EXPECT_EQ(response.id(), 1ull << 63);
  EXPECT_EQ(response.code(), 0);
  EXPECT_EQ(response.seq(), 300u);
  EXPECT_EQ(response.cumulative(), 7u);
  EXPECT_EQ(response.handle(), 4'000'000'000u);
  EXPECT_EQ(response.size_bytes(), 1ull << 40);
  EXPECT_EQ(response.data(), payload);

  const ChannelAnswer failed{
      .id = 5, .status = WithReason(absl::FailedPreconditionError("no\xFF"), kReasonReadOnly)};
  ASSERT_TRUE(response.ParseFromString(Gathered(EncodeChannelResponse(failed))));
  EXPECT_EQ(response.code(), 9);
  EXPECT_EQ(response.message(), "no\xEF\xBF\xBD");
  EXPECT_EQ(response.reason(), "READ_ONLY");
}

TEST(UnaryMessages, AgreeWithTheGeneratedClasses) {
  Rng rng(1);
  v1::WriteRequest request;
  request.set_disk("pfs/DATA/disks/vm1");
  request.set_offset(12345);
  request.set_transaction("transactions/9");
  request.set_durability(v1::DURABILITY_DURABLE);
  request.set_data(std::string(1000, 'd'));
  WriteCall call;
  ASSERT_EQ(DecodeWriteRequest(Cut(request.SerializeAsString(), rng), call), absl::OkStatus());
  EXPECT_EQ(call.disk, request.disk());
  EXPECT_EQ(call.offset, 12345u);
  EXPECT_EQ(call.transaction, request.transaction());
  EXPECT_EQ(call.durability, v1::DURABILITY_DURABLE);
  EXPECT_EQ(Gathered(call.data), request.data());

  v1::ReadResponse response;
  ASSERT_TRUE(response.ParseFromString(Gathered(EncodeReadResponse(grpc::Slice("bytes")))));
  EXPECT_EQ(response.data(), "bytes");
  ASSERT_TRUE(response.ParseFromString(Gathered(EncodeReadResponse(grpc::Slice()))));
  EXPECT_EQ(response.data(), "");
}

}  // namespace
}  // namespace h2bd
