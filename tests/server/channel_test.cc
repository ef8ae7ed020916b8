// IoService.Channel against a real volume.
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <map>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/server/test_server.h"

namespace h2bd {
namespace {

using testing::HasSubstr;

constexpr int kInvalidArgument = 3;
constexpr int kNotFound = 5;
constexpr int kOutOfRange = 11;

// Receives until `count` operations are answered: id -> the answer, those of cumulative frames
// spelled out.
std::map<uint64_t, v1::ChannelResponse> Gather(TestChannel& channel, size_t count) {
  std::map<uint64_t, v1::ChannelResponse> answers;
  while (answers.size() < count) {
    const std::optional<v1::ChannelResponse> response = channel.Receive();
    if (!response.has_value()) {
      ADD_FAILURE() << "the stream ended after " << answers.size() << " of " << count << " answers";
      break;
    }
    for (uint64_t id = response->id() - response->cumulative(); id <= response->id(); ++id) {
      EXPECT_TRUE(answers.emplace(id, *response).second) << id << " was answered twice";
    }
  }
  return answers;
}

TEST(Channel, OpensWritesReadsSyncsCloses) {
  TestServer server;
  const std::string disk = server.CreateDisk("vm1", kMiB);
  TestChannel channel(server.io());
  v1::ChannelRequest open = PlainFrame(1, v1::CHANNEL_OP_OPEN, 0);
  open.set_disk("pfs/-/disks/vm1");
  const v1::ChannelResponse opened = channel.Call(open);
  EXPECT_EQ(opened.size_bytes(), kMiB);
  const uint32_t handle = opened.handle();

  const v1::ChannelResponse written = channel.Call(WriteFrame(2, handle, 65'000, "over a border"));
  EXPECT_EQ(written.code(), 0) << written.message();
  EXPECT_GT(written.seq(), 0u);
  EXPECT_EQ(channel.Call(ReadFrame(3, handle, 65'000, 13)).data(), "over a border");
  EXPECT_EQ(server.Read(disk, 65'000, 13), "over a border") << "seen by every front end (P1)";
  const v1::ChannelResponse synced = channel.Call(PlainFrame(4, v1::CHANNEL_OP_SYNC, handle));
  EXPECT_GE(synced.seq(), written.seq());
  EXPECT_EQ(channel.Call(PlainFrame(5, v1::CHANNEL_OP_SYNC, 0)).code(), 0) << "the whole volume";

  v1::ChannelRequest durable = WriteFrame(6, handle, 0, "durable");
  durable.set_durability(v1::DURABILITY_DURABLE);
  const v1::ChannelResponse kept = channel.Call(durable);
  EXPECT_EQ(kept.code(), 0);
  EXPECT_GE(server.volume().GetStatus().durable_opseq.v, kept.seq());

  v1::ChannelRequest zeroes = PlainFrame(7, v1::CHANNEL_OP_WRITE_ZEROES, handle);
  zeroes.set_offset(1);
  zeroes.set_length(3);
  EXPECT_EQ(channel.Call(zeroes).code(), 0);
  zeroes.set_id(8);
  zeroes.set_op(v1::CHANNEL_OP_DISCARD);
  zeroes.set_offset(5);
  zeroes.set_length(1);
  EXPECT_EQ(channel.Call(zeroes).code(), 0);
  EXPECT_EQ(server.Read(disk, 0, 7), std::string("d\0\0\0b\0e", 7));

  EXPECT_EQ(channel.Call(PlainFrame(9, v1::CHANNEL_OP_CLOSE, handle)).code(), 0);
  EXPECT_EQ(channel.Call(ReadFrame(10, handle, 0, 1)).code(), kInvalidArgument);
  EXPECT_TRUE(channel.Finish().ok());
}

TEST(Channel, PipelinedWritesAllArriveAndAcksAreGathered) {
  TestServer server;
  const std::string disk = server.CreateDisk("vm1", 64 * kMiB);
  TestChannel channel(server.io());
  const uint32_t handle = channel.Open(disk);
  constexpr uint64_t kWrites = 3000;
  constexpr uint64_t kBytes = 4096;
  std::thread sender([&] {
    for (uint64_t i = 0; i < kWrites; ++i) {
      const std::string data(kBytes, static_cast<char>('a' + i % 26));
      EXPECT_TRUE(channel.Send(WriteFrame(i, handle, i * kBytes, data)));
    }
  });
  const auto answers = Gather(channel, kWrites);
  sender.join();
  EXPECT_EQ(answers.size(), kWrites);
  EXPECT_EQ(answers.begin()->first, 0u);
  EXPECT_EQ(answers.rbegin()->first, kWrites - 1);
  for (const auto& [id, answer] : answers) EXPECT_EQ(answer.code(), 0) << id << answer.message();
  for (uint64_t i = 0; i < kWrites; i += 97) {
    EXPECT_EQ(server.Read(disk, i * kBytes, kBytes),
              std::string(kBytes, static_cast<char>('a' + i % 26)));
  }
  EXPECT_TRUE(channel.Finish().ok());
}

TEST(Channel, PipelinedReadsAreAnsweredById) {
  TestServer server;
  const std::string disk = server.CreateDisk("vm1", 16 * kMiB);
  for (int i = 0; i < 16; ++i) {
    server.Write(disk, i * kMiB, std::string(kMiB, static_cast<char>('A' + i)));
  }
  TestChannel channel(server.io());
  const uint32_t handle = channel.Open(disk);
  for (uint64_t i = 0; i < 16; ++i) {
    ASSERT_TRUE(channel.Send(ReadFrame(100 + i, handle, i * kMiB, 65'536)));
  }
  const auto answers = Gather(channel, 16);
  for (uint64_t i = 0; i < 16; ++i) {
    ASSERT_TRUE(answers.contains(100 + i));
    EXPECT_EQ(answers.at(100 + i).data(), std::string(65'536, static_cast<char>('A' + i)));
  }
}

TEST(Channel, OneOperationMayBeLargerThanTheWindow) {
  TestServer server([](ServerConfig& config) {
    config.limits.stream_window_bytes = kMiB;
    config.limits.stream_window_ops = 4;
  });
  const std::string disk = server.CreateDisk("vm1", 64 * kMiB);
  TestChannel channel(server.io());
  const uint32_t handle = channel.Open(disk);
  std::thread sender([&] {
    for (uint64_t i = 0; i < 12; ++i) {
      EXPECT_TRUE(
          channel.Send(WriteFrame(2 * i, handle, i * 4 * kMiB, std::string(4 * kMiB, 'w'))));
      EXPECT_TRUE(channel.Send(ReadFrame(2 * i + 1, handle, 0, 2 * kMiB)));
    }
  });
  EXPECT_EQ(Gather(channel, 24).size(), 24u);
  sender.join();
}

TEST(Channel, WrongOperationsAreAnsweredAndTheStreamGoesOn) {
  TestServer server([](ServerConfig& config) { config.limits.max_message_bytes = kMiB; });
  const std::string disk = server.CreateDisk("vm1", kMiB);
  TestChannel channel(server.io());
  const uint32_t handle = channel.Open(disk);
  struct Case {
    v1::ChannelRequest request;
    int code;
    const char* reason;
  };
  v1::ChannelRequest open_none = PlainFrame(1, v1::CHANNEL_OP_OPEN, 0);
  open_none.set_disk("pfs/DATA/disks/none");
  v1::ChannelRequest open_bad = PlainFrame(2, v1::CHANNEL_OP_OPEN, 0);
  open_bad.set_disk("none");
  v1::ChannelRequest unknown_txn = WriteFrame(3, handle, 0, "x");
  unknown_txn.set_transaction("transactions/99");
  v1::ChannelRequest durable_txn = unknown_txn;
  durable_txn.set_id(4);
  durable_txn.set_durability(v1::DURABILITY_DURABLE);
  for (const Case& c :
       {Case{open_none, kNotFound, "NOT_FOUND"},
        Case{open_bad, kInvalidArgument, "INVALID_ARGUMENT"},
        Case{unknown_txn, kNotFound, "NOT_FOUND"},
        Case{durable_txn, kInvalidArgument, "INVALID_ARGUMENT"},
        Case{PlainFrame(5, v1::CHANNEL_OP_UNSPECIFIED, 0), kInvalidArgument, "INVALID_ARGUMENT"},
        Case{PlainFrame(6, static_cast<v1::ChannelOp>(77), 0), kInvalidArgument,
             "INVALID_ARGUMENT"},
        Case{WriteFrame(7, handle + 1, 0, "x"), kInvalidArgument, "INVALID_ARGUMENT"},
        Case{PlainFrame(8, v1::CHANNEL_OP_CLOSE, 12345), kInvalidArgument, "INVALID_ARGUMENT"},
        Case{PlainFrame(9, v1::CHANNEL_OP_SYNC, 12345), kInvalidArgument, "INVALID_ARGUMENT"},
        Case{WriteFrame(10, handle, kMiB, "x"), kOutOfRange, "OUT_OF_RANGE"},
        Case{WriteFrame(11, handle, UINT64_MAX, "xy"), kOutOfRange, "OUT_OF_RANGE"},
        Case{ReadFrame(12, handle, kMiB, 1), kOutOfRange, "OUT_OF_RANGE"},
        Case{ReadFrame(13, handle, 0, UINT64_MAX), kInvalidArgument, "INVALID_ARGUMENT"},
        Case{ReadFrame(14, handle, 0, kMiB), kInvalidArgument, "INVALID_ARGUMENT"}}) {
    const v1::ChannelResponse response = channel.Call(c.request);
    EXPECT_EQ(response.code(), c.code) << c.request.ShortDebugString();
    EXPECT_EQ(response.reason(), c.reason) << c.request.ShortDebugString();
    EXPECT_NE(response.message(), "") << c.request.ShortDebugString();
  }
  EXPECT_EQ(channel.Call(WriteFrame(20, handle, 0, "still alive")).code(), 0);
  EXPECT_TRUE(channel.Finish().ok());
}

// A stream of raw bytes, for frames that the generated classes cannot make.
class RawChannel {
 public:
  explicit RawChannel(const std::shared_ptr<grpc::Channel>& channel)
      : stub_(channel),
        stream_(stub_.PrepareCall(&context_, "/h2bd.v1.IoService/Channel", &queue_)) {
    stream_->StartCall(this);
    Wait();
  }
  void Send(const std::string& bytes) {
    const grpc::Slice slice(bytes);
    stream_->Write(grpc::ByteBuffer(&slice, 1), this);
    Wait();
  }
  v1::ChannelResponse Receive() {
    grpc::ByteBuffer buffer;
    stream_->Read(&buffer, this);
    v1::ChannelResponse response;
    if (!Wait()) ADD_FAILURE() << "the stream has ended";
    EXPECT_TRUE(
        grpc::SerializationTraits<v1::ChannelResponse>::Deserialize(&buffer, &response).ok());
    return response;
  }
  grpc::Status Finish() {
    stream_->WritesDone(this);
    Wait();
    grpc::Status status;
    stream_->Finish(&status, this);
    Wait();
    return status;
  }

 private:
  bool Wait() {
    void* tag = nullptr;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }
  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
};

TEST(Channel, GarbledFramesAreAnsweredAndTheStreamGoesOn) {
  TestServer server;
  server.CreateDisk("vm1", kMiB);
  RawChannel channel(server.channel());
  channel.Send("\xFF\xFF\xFF garbage");
  v1::ChannelResponse response = channel.Receive();
  EXPECT_EQ(response.code(), kInvalidArgument);
  EXPECT_EQ(response.id(), 0u);
  EXPECT_THAT(response.message(), HasSubstr("ChannelRequest"));
  channel.Send(
      std::string("\x08\x2A\x7A\x7F"
                  "cut"));
  response = channel.Receive();
  EXPECT_EQ(response.code(), kInvalidArgument);
  EXPECT_EQ(response.id(), 42u) << "the id stood before the damage";
  channel.Send("");
  EXPECT_EQ(channel.Receive().code(), kInvalidArgument);
  v1::ChannelRequest open = PlainFrame(7, v1::CHANNEL_OP_OPEN, 0);
  open.set_disk("pfs/-/disks/vm1");
  channel.Send(open.SerializeAsString());
  EXPECT_EQ(channel.Receive().code(), 0);
  EXPECT_TRUE(channel.Finish().ok());
}

TEST(Channel, OversizedMessagesEndTheStream) {
  TestServer server([](ServerConfig& config) { config.limits.max_message_bytes = kMiB; });
  const std::string disk = server.CreateDisk("vm1", 4 * kMiB);
  TestChannel channel(server.io());
  const uint32_t handle = channel.Open(disk);
  channel.Send(WriteFrame(1, handle, 0, std::string(2 * kMiB, 'x')));
  EXPECT_FALSE(channel.Receive().has_value());
  EXPECT_EQ(channel.Status().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(server.Read(disk, 0, 1), std::string(1, '\0'));
}

TEST(Channel, HandlesAreBounded) {
  TestServer server;
  const std::string disk = server.CreateDisk("vm1", kMiB);
  TestChannel channel(server.io());
  for (int i = 0; i < 1024; ++i) channel.Open(disk);
  v1::ChannelRequest open = PlainFrame(1, v1::CHANNEL_OP_OPEN, 0);
  open.set_disk(disk);
  const v1::ChannelResponse refused = channel.Call(open);
  EXPECT_EQ(refused.code(), static_cast<int>(grpc::StatusCode::RESOURCE_EXHAUSTED));
  EXPECT_EQ(refused.reason(), "TOO_MANY_HANDLES");
  EXPECT_EQ(channel.Call(PlainFrame(2, v1::CHANNEL_OP_CLOSE, 1)).code(), 0);
  EXPECT_NE(channel.Open(disk), 0u);
}

TEST(Channel, DeletedDisksGiveNotFound) {
  TestServer server;
  const std::string disk = server.CreateDisk("vm1", kMiB);
  TestChannel channel(server.io());
  const uint32_t handle = channel.Open(disk);
  grpc::ClientContext context;
  v1::DeleteDiskRequest request;
  v1::DeleteDiskResponse response;
  request.set_name(disk);
  ASSERT_TRUE(server.disks().DeleteDisk(&context, request, &response).ok());
  EXPECT_EQ(channel.Call(WriteFrame(1, handle, 0, "x")).code(), kNotFound);
  EXPECT_EQ(channel.Call(ReadFrame(2, handle, 0, 1)).code(), kNotFound);
}

TEST(Channel, TransactionsSpanStreamsAndUnaryCalls) {
  TestServer server;
  const std::string disk = server.CreateDisk("vm1", kMiB);
  grpc::ClientContext begin_context, commit_context;
  v1::BeginTransactionResponse begun;
  ASSERT_TRUE(server.transactions()
                  .BeginTransaction(&begin_context, v1::BeginTransactionRequest(), &begun)
                  .ok());
  TestChannel channel(server.io());
  const uint32_t handle = channel.Open(disk);
  v1::ChannelRequest write = WriteFrame(1, handle, 0, "staged");
  write.set_transaction(begun.transaction().name());
  const v1::ChannelResponse staged = channel.Call(write);
  EXPECT_EQ(staged.code(), 0) << staged.message();
  EXPECT_EQ(staged.seq(), 0u);
  v1::ChannelRequest read = ReadFrame(2, handle, 0, 6);
  EXPECT_EQ(channel.Call(read).data(), std::string(6, '\0'));
  read.set_id(3);
  read.set_transaction(begun.transaction().name());
  EXPECT_EQ(channel.Call(read).data(), "staged");
  v1::CommitTransactionRequest commit;
  v1::CommitTransactionResponse committed;
  commit.set_name(begun.transaction().name());
  ASSERT_TRUE(server.transactions().CommitTransaction(&commit_context, commit, &committed).ok());
  EXPECT_EQ(channel.Call(ReadFrame(4, handle, 0, 6)).data(), "staged");
}

// Dirty data at its limit and a barrier that hangs: from here on writes wait.
uint64_t FillUntilAWriteWaits(TestServer& server, TestChannel& channel, uint32_t handle) {
  server.device().Hold(true);
  uint64_t id = 0;
  while (!server.NextWriteWaits(512 * kKiB)) {
    EXPECT_EQ(
        channel.Call(WriteFrame(id, handle, id % 64 * 512 * kKiB, std::string(512 * kKiB, 'w')))
            .code(),
        0);
    ++id;
  }
  return id;
}

TEST(Channel, ReadsPassWritesThatWait) {
  TestServer server([](ServerConfig& config) { config.options.dirty_limit_bytes = 4 * kMiB; });
  const std::string disk = server.CreateDisk("vm1", 32 * kMiB);
  TestChannel channel(server.io());
  const uint32_t handle = channel.Open(disk);
  const uint64_t next = FillUntilAWriteWaits(server, channel, handle);
  ASSERT_TRUE(channel.Send(WriteFrame(next, handle, 0, std::string(512 * kKiB, 'z'))));
  EXPECT_EQ(channel.Call(ReadFrame(next + 1, handle, 0, 3)).data(), "www")
      << "answered first, although it was sent later";
  server.device().Hold(false);
  const std::optional<v1::ChannelResponse> written = channel.Receive();
  ASSERT_TRUE(written.has_value());
  EXPECT_EQ(written->id(), next);
  EXPECT_EQ(written->code(), 0) << written->message();
  EXPECT_TRUE(channel.Finish().ok());
}

TEST(Channel, CancellationFreesWhatTheStreamHolds) {
  TestServer server([](ServerConfig& config) {
    config.options.dirty_limit_bytes = 4 * kMiB;
    config.limits.max_channels = 2;
  });
  const std::string disk = server.CreateDisk("vm1", 32 * kMiB);
  {
    TestChannel channel(server.io());
    TestChannel second(server.io());
    const uint32_t handle = channel.Open(disk);
    second.Open(disk);
    TestChannel refused(server.io());
    EXPECT_FALSE(refused.Receive().has_value());
    const grpc::Status status = refused.Status();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_EQ(ReasonOf(status), "SERVER_BUSY");

    const uint64_t next = FillUntilAWriteWaits(server, channel, handle);
    ASSERT_TRUE(channel.Send(WriteFrame(next, handle, 0, std::string(512 * kKiB, 'z'))));
    channel.context().TryCancel();
    EXPECT_EQ(channel.Finish().error_code(), grpc::StatusCode::CANCELLED);
    EXPECT_TRUE(second.Finish().ok());
  }
  // The waiting write notices, while the barrier still hangs, and the places of the streams are
  // free again.
  bool open = false;
  while (!open) {
    TestChannel a(server.io());
    TestChannel b(server.io());
    v1::ChannelRequest request = PlainFrame(1, v1::CHANNEL_OP_OPEN, 0);
    request.set_disk(disk);
    a.Send(request);
    b.Send(request);
    const bool first = a.Receive().has_value();
    open = b.Receive().has_value() && first;
    a.Finish();
    b.Finish();
  }
  server.device().Hold(false);
}

TEST(Channel, TheDeadlineOfTheStreamEndsIt) {
  TestServer server([](ServerConfig& config) { config.options.dirty_limit_bytes = 4 * kMiB; });
  const std::string disk = server.CreateDisk("vm1", 32 * kMiB);
  TestChannel filler(server.io());
  FillUntilAWriteWaits(server, filler, filler.Open(disk));
  TestChannel channel(server.io(), absl::ToChronoTime(absl::Now() + absl::Milliseconds(500)));
  v1::ChannelRequest open = PlainFrame(1, v1::CHANNEL_OP_OPEN, 0);
  open.set_disk(disk);
  channel.Send(open);
  channel.Send(PlainFrame(2, v1::CHANNEL_OP_SYNC, 0));
  while (channel.Receive().has_value()) {
  }
  EXPECT_EQ(channel.Status().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  server.device().Hold(false);
}

TEST(Channel, ManyStreamsAtOnce) {
  TestServer server;
  const std::string disk = server.CreateDisk("vm1", 64 * kMiB);
  std::vector<std::thread> clients;
  for (uint64_t c = 0; c < 8; ++c) {
    clients.emplace_back([&server, &disk, c] {
      const auto stub = v1::IoService::NewStub(server.Connect());
      TestChannel channel(*stub);
      const uint32_t handle = channel.Open(disk);
      const std::string mine(4096, static_cast<char>('0' + c));
      for (uint64_t i = 0; i < 200; ++i) {
        const uint64_t at = (i * 8 + c) * 4096;
        EXPECT_EQ(channel.Call(WriteFrame(3 * i, handle, at, mine)).code(), 0);
        EXPECT_EQ(channel.Call(ReadFrame(3 * i + 1, handle, at, 4096)).data(), mine);
        if (i % 50 == 0) {
          EXPECT_EQ(channel.Call(PlainFrame(3 * i + 2, v1::CHANNEL_OP_SYNC, handle)).code(), 0);
        }
      }
      EXPECT_TRUE(channel.Finish().ok());
    });
  }
  for (std::thread& client : clients) client.join();
}

}  // namespace
}  // namespace h2bd
