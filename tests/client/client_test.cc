#include "client/api/client.h"

#include <gmock/gmock.h>

#include "core/base/status.h"
#include "tests/client/client_fixture.h"

namespace h2bd::client {
namespace {

using testing::HasSubstr;

using ClientTest = ClientFixture;

TEST_F(ClientTest, DisksComeAndGo) {
  const absl::StatusOr<DiskInfo> made = client_->CreateDisk(Disk("a%b"), 1000);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->name, (DiskName{.pfs = "DATA", .path = "a%b"}));
  EXPECT_EQ(made->size_bytes, 1000u);
  EXPECT_EQ(made->create_time, absl::FromUnixSeconds(1'700'000'000));
  EXPECT_EQ(made->modify_time, absl::InfinitePast());
  EXPECT_EQ(made->compression, Compression::kLz4);
  EXPECT_EQ(made->check_code, CheckCode::kXxhash64);
  EXPECT_EQ(client_->ResizeDisk(Disk("a%b"), 500)->size_bytes, 500u);
  EXPECT_EQ(client_->RenameDisk(Disk("a%b"), "c")->name.path, "c");
  EXPECT_TRUE(absl::IsNotFound(client_->GetDisk(Disk("a%b")).status()));
  EXPECT_TRUE(client_->DeleteDisk(Disk("c")).ok());
  EXPECT_TRUE(absl::IsNotFound(client_->DeleteDisk(Disk("c"))));
}

TEST_F(ClientTest, TheListIsWholeAndOrdered) {
  for (const char* name : {"e", "b", "d", "a"}) server_.AddDisk(name, 1);
  const absl::StatusOr<std::vector<DiskInfo>> disks = client_->ListDisks("");
  ASSERT_TRUE(disks.ok());
  std::string names;
  for (const DiskInfo& disk : *disks) names += disk.name.path + " ";
  EXPECT_EQ(names, "a b d e vm1 ");
  EXPECT_EQ(server_.calls("ListDisks"), 3);
}

TEST_F(ClientTest, ErrorsCarryReasonAndCall) {
  server_.FailNext("ResizeDisk", 1,
                   ErrorWithReason(grpc::StatusCode::FAILED_PRECONDITION, "no", "READ_ONLY"));
  const absl::Status status = client_->ResizeDisk(Disk("vm1"), 1).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_EQ(ReasonOf(status), "READ_ONLY");
  EXPECT_THAT(std::string(status.message()), HasSubstr("resize disk vm1: no"));
  // A reason that only repeats the code is left out.
  const absl::Status taken = client_->CreateDisk(Disk("vm1"), 1).status();
  EXPECT_TRUE(absl::IsAlreadyExists(taken));
  EXPECT_EQ(ReasonOf(taken), "");
}

TEST_F(ClientTest, AMutationThatIsSentAgainTakesEffectOnce) {
  server_.LoseNextAnswer("CreateDisk");
  const absl::StatusOr<DiskInfo> disk = client_->CreateDisk(Disk("new"), 10);
  ASSERT_TRUE(disk.ok()) << disk.status();
  const std::vector<std::string> ids = server_.request_ids();
  ASSERT_EQ(ids.size(), 2u);
  EXPECT_EQ(ids[0], ids[1]);
  EXPECT_EQ(ids[0].size(), 32u);
  ASSERT_TRUE(client_->CreateDisk(Disk("other"), 10).ok());
  EXPECT_NE(server_.request_ids()[2], ids[0]);
}

TEST_F(ClientTest, WhatIsSafeIsTriedAgain) {
  for (const char* method : {"Read", "Write", "WriteZeroes", "Discard", "Sync", "GetDisk",
                             "ListDisks", "GetVolume", "DeleteDisk"}) {
    server_.FailNext(method, 2, kUnavailable);
  }
  std::string bytes(4, ' ');
  EXPECT_TRUE(client_->Write(Disk("vm1"), 3, AsBytes("abcd")).ok());
  EXPECT_TRUE(client_->WriteZeroes(Disk("vm1"), 4, 1).ok());
  EXPECT_TRUE(client_->Discard(Disk("vm1"), 5, 1).ok());
  EXPECT_TRUE(
      client_
          ->Read(Disk("vm1"), 3, ByteSpan(reinterpret_cast<std::byte*>(bytes.data()), bytes.size()))
          .ok());
  EXPECT_EQ(bytes, std::string("a\0\0d", 4));
  EXPECT_TRUE(client_->Sync(Disk("vm1")).ok());
  EXPECT_TRUE(client_->GetDisk(Disk("vm1")).ok());
  EXPECT_TRUE(client_->ListDisks("").ok());
  EXPECT_TRUE(client_->GetVolume().ok());
  EXPECT_TRUE(client_->DeleteDisk(Disk("vm1")).ok());
  EXPECT_EQ(server_.calls("Write"), 3);
}

TEST_F(ClientTest, OtherErrorsAreNot) {
  server_.FailNext("Write", 1, {grpc::StatusCode::RESOURCE_EXHAUSTED, "full"});
  const absl::Status status = client_->Write(Disk("vm1"), 8, AsBytes("abcd")).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("write vm1, 4 bytes at offset 8: full"));
  EXPECT_EQ(server_.calls("Write"), 1);
}

TEST_F(ClientTest, ADurableWriteNeedsNoSync) {
  ASSERT_TRUE(client_->Write(Disk("vm1"), 0, AsBytes("abcd"), Durability::kDurable).ok());
  EXPECT_EQ(server_.DurableContent("vm1").substr(0, 4), "abcd");
  server_.Restart();
  EXPECT_TRUE(client_->SyncAll().ok());
}

TEST_F(ClientTest, ASyncAfterARestartDoesNotHideTheLoss) {
  ASSERT_TRUE(client_->Write(Disk("vm1"), 0, AsBytes("abcd")).ok());
  server_.Restart();
  ASSERT_NE(server_.Content("vm1").substr(0, 4), "abcd");
  const absl::Status status = client_->Sync(Disk("vm1")).status();
  EXPECT_TRUE(absl::IsAborted(status)) << status;
  EXPECT_EQ(ReasonOf(status), kReasonServerRestarted);
  EXPECT_TRUE(Connect()->SyncAll().ok());
}

TEST_F(ClientTest, TheNumbersTellOfARestartWhenTheServerSaysNothing) {
  server_.SendInstance(false);
  ASSERT_TRUE(client_->Write(Disk("vm1"), 0, AsBytes("abcd")).ok());
  server_.Restart();
  EXPECT_EQ(ReasonOf(client_->SyncAll().status()), kReasonServerRestarted);
}

TEST_F(ClientTest, ADeadlineEndsTheTries) {
  ConnectOptions options;
  options.target = "unix:/nonexistent/socket";
  options.retry.attempts_max = 1'000'000;
  const std::unique_ptr<Client> nobody = *Client::Connect(options);
  const absl::Status status = nobody->GetVolume({.timeout = absl::Milliseconds(200)}).status();
  EXPECT_TRUE(absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status)) << status;
}

TEST_F(ClientTest, VolumeAndPfsAreTranslated) {
  const absl::StatusOr<VolumeInfo> volume = client_->GetVolume();
  ASSERT_TRUE(volume.ok());
  EXPECT_EQ(volume->default_pfs, "DATA");
  EXPECT_EQ(volume->space.free_bytes, 5 * kGiB);
  EXPECT_TRUE(absl::IsUnavailable(volume->failure));
  const absl::StatusOr<std::vector<PfsInfo>> pfs = client_->ListPfs();
  ASSERT_TRUE(pfs.ok());
  ASSERT_EQ(pfs->size(), 2u);
  EXPECT_EQ((*pfs)[1].label, "LOCAL");
  const absl::StatusOr<std::vector<FlushCycleInfo>> cycles = client_->ListFlushCycles();
  ASSERT_TRUE(cycles.ok());
  ASSERT_EQ(cycles->size(), 2u);
  EXPECT_EQ((*cycles)[0].number, 4u);
  EXPECT_EQ((*cycles)[0].reason, FlushReason::kAge);
  EXPECT_EQ((*cycles)[0].took, absl::Microseconds(2500));
  EXPECT_TRUE((*cycles)[0].failure.ok());
  EXPECT_TRUE(absl::IsDataLoss((*cycles)[1].failure));
  EXPECT_EQ(client_->ListFlushCycles(1)->size(), 1u);
}

TEST(Connect, RefusesOptionsThatMakeNoSense) {
  EXPECT_TRUE(absl::IsInvalidArgument(Client::Connect({.target = ""}).status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(Client::Connect({.default_timeout = absl::ZeroDuration()}).status()));
  ConnectOptions half;
  half.tls = TlsOptions{.cert_file = "cert.pem"};
  EXPECT_TRUE(absl::IsInvalidArgument(Client::Connect(half).status()));
  ConnectOptions missing;
  missing.tls = TlsOptions{.ca_file = "/nonexistent/ca.pem"};
  EXPECT_TRUE(absl::IsNotFound(Client::Connect(missing).status()));
}

}  // namespace
}  // namespace h2bd::client
