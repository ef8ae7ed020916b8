#include "client/api/stream.h"

#include <gmock/gmock.h>

#include <set>

#include "client/api/client.h"
#include "core/base/random.h"
#include "core/base/status.h"
#include "tests/client/client_fixture.h"

namespace h2bd::client {
namespace {

using testing::HasSubstr;

class StreamTest : public ClientFixture {
 protected:
  // Everything that the reader gives.
  static absl::StatusOr<std::string> ReadAll(DiskReader& reader) {
    std::string all;
    while (true) {
      H2_ASSIGN_OR_RETURN(const DiskReader::Piece piece, reader.Next());
      if (piece.bytes.empty()) return all;
      all += std::string(AsText(piece.bytes.span()));
    }
  }
  int FramesOf(v1::ChannelOp op) {
    int count = 0;
    for (const v1::ChannelRequest& frame : server_.frames()) count += frame.op() == op;
    return count;
  }
};

TEST_F(StreamTest, WhatIsWrittenIsRead) {
  const std::string data = Pattern(3 * kMiB + 777, 'a');
  const auto writer = client_->OpenWriter(Disk("vm1"), {.piece_bytes = 64 * kKiB});
  ASSERT_TRUE(writer->Write(12'345, AsBytes(data)).ok());
  ASSERT_TRUE(writer->Flush().ok());
  EXPECT_EQ(writer->totals().acknowledged_bytes, data.size());
  EXPECT_EQ(server_.Content("vm1").substr(12'345, data.size()), data);
  // Cut at multiples of the piece, not of the start.
  EXPECT_EQ(FramesOf(v1::CHANNEL_OP_WRITE), 49);

  const auto reader = client_->OpenReader(
      Disk("vm1"), {.offset = 12'345, .length = data.size(), .piece_bytes = 64 * kKiB});
  EXPECT_EQ(*ReadAll(*reader), data);
  EXPECT_EQ(*ReadAll(*client_->OpenReader(Disk("vm1"))), server_.Content("vm1"));
}

TEST_F(StreamTest, ATinyWindowIsEnough) {
  const std::string data = Pattern(kMiB, 'b');
  const StreamWindow window{.bytes = 1, .operations = 1};
  const auto writer =
      client_->OpenWriter(Disk("vm1"), {.window = window, .piece_bytes = 64 * kKiB});
  ASSERT_TRUE(writer->Write(0, AsBytes(data)).ok());
  ASSERT_TRUE(writer->Flush().ok());
  const auto reader = client_->OpenReader(
      Disk("vm1"), {.length = data.size(), .window = window, .piece_bytes = 64 * kKiB});
  EXPECT_EQ(*ReadAll(*reader), data);
}

TEST_F(StreamTest, ZerosTravelAsWriteZeroes) {
  ASSERT_TRUE(client_->Write(Disk("vm1"), 0, AsBytes(std::string(kMiB, 'x'))).ok());
  std::string data(kMiB, '\0');
  data[0] = 'a';
  data[kMiB - 1] = 'z';
  const auto writer = client_->OpenWriter(Disk("vm1"));
  ASSERT_TRUE(writer->Write(0, AsBytes(data)).ok());
  ASSERT_TRUE(writer->Flush().ok());
  EXPECT_EQ(server_.Content("vm1").substr(0, kMiB), data);
  EXPECT_EQ(writer->totals().data_bytes, 128 * kKiB);
  EXPECT_EQ(writer->totals().zero_bytes, kMiB - 128 * kKiB);
  // One run, although the write was cut into pieces.
  EXPECT_EQ(FramesOf(v1::CHANNEL_OP_WRITE_ZEROES), 1);
}

TEST_F(StreamTest, ZerosAreSkippedOnAFreshDisk) {
  const auto writer = client_->OpenWriter(Disk("vm1"), {.skip_zeroes = true});
  ASSERT_TRUE(writer->Write(0, AsBytes(std::string(kMiB, '\0') + "end")).ok());
  ASSERT_TRUE(writer->WriteZeroes(2 * kMiB, kMiB).ok());
  ASSERT_TRUE(writer->Flush().ok());
  EXPECT_EQ(FramesOf(v1::CHANNEL_OP_WRITE_ZEROES), 0);
  EXPECT_EQ(FramesOf(v1::CHANNEL_OP_WRITE), 1);
  EXPECT_EQ(writer->totals().acknowledged_bytes, 2 * kMiB + 3);
}

TEST_F(StreamTest, WhereWritesOverlapTheLaterCallWins) {
  for (const bool shuffled : {false, true}) {
    SeededRandom random(11);
    std::string model(kMiB, '\0');
    server_.AddDisk("vm1", kDiskBytes);
    const int streams = server_.calls("Channel");
    if (shuffled) {
      server_.ApplyInAnyOrder(11);
    } else {
      server_.BreakNextChannel(40, 7);
    }
    const auto writer = client_->OpenWriter(Disk("vm1"), {.piece_bytes = 4 * kKiB});
    for (int i = 0; i < 300; ++i) {
      const uint64_t offset = random.Next64() % (kMiB - 30'000);
      const std::string data = i % 5 == 0
                                   ? std::string(20'000, '\0')
                                   : Pattern(1 + random.Next64() % 20'000, static_cast<char>(i));
      model.replace(offset, data.size(), data);
      if (i % 5 == 0) {
        ASSERT_TRUE(writer->WriteZeroes(offset, data.size()).ok());
      } else {
        ASSERT_TRUE(writer->Write(offset, AsBytes(data)).ok());
      }
    }
    ASSERT_TRUE(writer->Flush().ok());
    EXPECT_TRUE(server_.Content("vm1").substr(0, kMiB) == model) << shuffled;
    EXPECT_EQ(server_.calls("Channel") - streams, shuffled ? 1 : 2);
  }
}

TEST_F(StreamTest, AnswersInAnyOrder) {
  server_.ApplyInAnyOrder(12);
  const std::string data = Pattern(3 * kMiB, 'k');
  const auto writer = client_->OpenWriter(Disk("vm1"), {.piece_bytes = 64 * kKiB});
  ASSERT_TRUE(writer->Write(0, AsBytes(data)).ok());
  ASSERT_TRUE(writer->Flush().ok());
  const auto reader =
      client_->OpenReader(Disk("vm1"), {.length = data.size(), .piece_bytes = 64 * kKiB});
  EXPECT_TRUE(*ReadAll(*reader) == data);
}

TEST_F(StreamTest, ABrokenStreamIsOpenedAgainAndWhatWasNotAnsweredIsSentAgain) {
  const std::string data = Pattern(2 * kMiB, 'c');
  for (int unanswered : {0, 1, 9}) {
    server_.BreakNextChannel(20, unanswered);
    const auto writer = client_->OpenWriter(Disk("vm1"), {.piece_bytes = 64 * kKiB});
    ASSERT_TRUE(writer->Write(0, AsBytes(data)).ok());
    const absl::Status status = writer->Flush();
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(server_.Content("vm1").substr(0, data.size()), data);
    server_.BreakNextChannel(11, unanswered);
    const auto reader =
        client_->OpenReader(Disk("vm1"), {.length = data.size(), .piece_bytes = 64 * kKiB});
    const absl::StatusOr<std::string> read = ReadAll(*reader);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_TRUE(*read == data);
  }
}

TEST_F(StreamTest, ARestartInTheMiddleIsToldByTheSync) {
  const auto writer = client_->OpenWriter(Disk("vm1"), {.piece_bytes = 64 * kKiB});
  ASSERT_TRUE(writer->Write(0, AsBytes(Pattern(kMiB, 'd'))).ok());
  ASSERT_TRUE(writer->Flush().ok());
  server_.Restart();
  EXPECT_EQ(ReasonOf(client_->Sync(Disk("vm1")).status()), kReasonServerRestarted);
}

TEST_F(StreamTest, ManyAnswersInOneFrame) {
  server_.AnswerCumulatively(8);
  const std::string data = Pattern(kMiB, 'e');
  const auto writer = client_->OpenWriter(Disk("vm1"), {.piece_bytes = 64 * kKiB});
  ASSERT_TRUE(writer->Write(0, AsBytes(data)).ok());
  ASSERT_TRUE(writer->Flush().ok());
  EXPECT_EQ(writer->totals().acknowledged_bytes, data.size());
}

TEST_F(StreamTest, TheFirstErrorStaysAndNamesItsOffset) {
  server_.FailFramesAt(128 * kKiB, 1, {grpc::StatusCode::RESOURCE_EXHAUSTED, "no space"}, "");
  const auto writer = client_->OpenWriter(Disk("vm1"), {.piece_bytes = 64 * kKiB});
  writer->Write(0, AsBytes(Pattern(kMiB, 'f'))).IgnoreError();
  const absl::Status status = writer->Flush();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("write vm1, 65536 bytes at offset 131072: no space"));
  const int frames = FramesOf(v1::CHANNEL_OP_WRITE);
  EXPECT_EQ(writer->Write(3 * kMiB, AsBytes("more")), status);
  EXPECT_EQ(FramesOf(v1::CHANNEL_OP_WRITE), frames);
}

TEST_F(StreamTest, AnOperationThatIsUnavailableIsTriedAgainButNotForEver) {
  server_.FailFramesAt(64 * kKiB, 3, kUnavailable, "");
  const std::string data = Pattern(kMiB, 'g');
  const auto writer = client_->OpenWriter(Disk("vm1"), {.piece_bytes = 64 * kKiB});
  ASSERT_TRUE(writer->Write(0, AsBytes(data)).ok());
  const absl::Status status = writer->Flush();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(server_.Content("vm1").substr(0, kMiB), data);

  server_.FailFramesAt(64 * kKiB, 1000, kUnavailable, "");
  writer->Write(0, AsBytes(data)).IgnoreError();
  EXPECT_TRUE(absl::IsUnavailable(writer->Flush()));
}

TEST_F(StreamTest, ADiskThatIsNotThere) {
  EXPECT_TRUE(absl::IsNotFound(client_->OpenWriter(Disk("nix"))->Flush()));
  EXPECT_TRUE(absl::IsNotFound(client_->OpenReader(Disk("nix"))->Next().status()));
  const auto writer = client_->OpenWriter(Disk("nix"));
  writer->Write(0, AsBytes("x")).IgnoreError();
  EXPECT_TRUE(absl::IsNotFound(writer->Flush()));
}

TEST_F(StreamTest, AServerThatIsNotThere) {
  ConnectOptions options;
  options.target = "unix:/nonexistent/socket";
  options.retry.delay_first = options.retry.delay_max = absl::Milliseconds(1);
  const std::unique_ptr<Client> nobody = *Client::Connect(options);
  const auto writer = nobody->OpenWriter(Disk("vm1"));
  writer->Write(0, AsBytes("x")).IgnoreError();
  EXPECT_TRUE(absl::IsUnavailable(writer->Flush()));
}

TEST_F(StreamTest, ReadingGoesOnBehindDamage) {
  ASSERT_TRUE(client_->Write(Disk("vm1"), 0, AsBytes(Pattern(256 * kKiB, 'h'))).ok());
  server_.FailFramesAt(64 * kKiB, 1, {grpc::StatusCode::DATA_LOSS, "check code"}, "DATA_LOSS");
  const auto reader =
      client_->OpenReader(Disk("vm1"), {.length = 256 * kKiB, .piece_bytes = 64 * kKiB});
  std::vector<uint64_t> read;
  int damaged = 0;
  while (true) {
    const absl::StatusOr<DiskReader::Piece> piece = reader->Next();
    if (!piece.ok()) {
      EXPECT_TRUE(absl::IsDataLoss(piece.status()));
      EXPECT_THAT(std::string(piece.status().message()), HasSubstr("offset 65536"));
      ++damaged;
      continue;
    }
    if (piece->bytes.empty()) break;
    read.push_back(piece->offset);
  }
  EXPECT_EQ(damaged, 1);
  EXPECT_EQ(read, (std::vector<uint64_t>{0, 128 * kKiB, 192 * kKiB}));
}

TEST_F(StreamTest, LeavingInTheMiddleDoesNotHang) {
  for (int i = 0; i < 20; ++i) {
    const auto writer = client_->OpenWriter(Disk("vm1"), {.piece_bytes = 4 * kKiB});
    for (int piece = 0; piece < i; ++piece) {
      ASSERT_TRUE(writer->Write(static_cast<uint64_t>(piece) * 8192, AsBytes("data")).ok());
    }
    client_->OpenReader(Disk("vm1"))->Next().IgnoreError();
  }
}

}  // namespace
}  // namespace h2bd::client
